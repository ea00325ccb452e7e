//! One cell of an experiment: (task, method, student, seed), and what a method may do in it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stepsynth_datasets::Example;

use crate::method::Row;
use crate::student::Prediction;
use crate::teacher::Teacher;

/// The gold data a method may see. The test split is not reachable from a [`Cell`].
#[derive(Clone, Debug, Default)]
pub struct Gold {
    /// Mined for errors (the paper's `D_gold_eval`), and the source of contexts.
    pub mine: Vec<Example>,
    /// Chooses the best epoch.
    pub select: Vec<Example>,
}

/// What training a student left behind for the method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Predictions on `gold.mine`, in its order.
    pub mine: Vec<Prediction>,
}

/// One cell.
pub struct Cell<'a> {
    /// Task of this cell.
    pub task: &'a stepsynth_datasets::TaskSpec,
    /// Gold data that the method may read.
    pub gold: &'a Gold,
    /// Teacher.
    pub teacher: &'a dyn Teacher,
    /// Seed of the cell.
    pub seed: u64,
    /// Final training-set sizes of cells of the same task, student and seed that are done, by method variant.
    pub sizes: BTreeMap<String, usize>,
}

impl Cell<'_> {
    /// Runs `work` once in the life of the run: the result is journaled, and a resumed run reads it back.
    pub fn step<T: Serialize + DeserializeOwned>(&self, _name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work()
    }

    /// Trains a re-initialised student on `rows`, records its measurements for `round` and, if `last`, has the final
    /// evaluator score it on the test split. A journaled step.
    pub fn train(&self, _round: usize, _rows: &[Row], _last: bool) -> Result<Trained> {
        anyhow::bail!("not wired")
    }
}
