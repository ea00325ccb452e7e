//! One cell of an experiment: (task, method, student, seed), and what a method may do in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stepsynth_datasets::{Example, TaskSpec};

use super::method_options::{MethodOptions, Size};
use crate::method::Row;
use crate::student::Prediction;
use crate::teacher::Teacher;

/// The gold data a method may see. The test split is not reachable from a [`Cell`].
#[derive(Clone, Debug, Default)]
pub struct Gold {
    /// Training rows of the `gold` baseline.
    pub train: Vec<Example>,
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

/// What stands behind a cell: in a run, the journal and the student; in a method's tests, something small.
pub trait Backing {
    /// Runs `work` once in the life of the run and keeps its result, a JSON text.
    ///
    /// # Errors
    /// Those of `work`, and "used twice" if this cell already had a step of this name.
    fn step(&self, name: &str, work: &mut dyn FnMut() -> Result<String>) -> Result<String>;
    /// Trains, measures and keeps, as [`Cell::train`] says.
    fn train(&self, round: usize, rows: &[Row], last: bool) -> Result<Trained>;
    /// Keeps a number that the method counted, as [`Cell::record`] says.
    ///
    /// # Errors
    /// If it cannot be kept.
    fn record(&self, round: usize, metric: &str, value: f64) -> Result<()>;
}

/// One cell.
pub struct Cell<'a> {
    /// Task of this cell.
    pub task: &'a TaskSpec,
    /// Gold data that the method may read.
    pub gold: &'a Gold,
    /// The method's settings.
    pub options: &'a MethodOptions,
    /// Teacher. Ask it inside a [`step`](Self::step) only: what it consumed is counted with the step.
    pub teacher: &'a dyn Teacher,
    /// Seed of the cell.
    pub seed: u64,
    /// Final training-set sizes of the finished cells of the same task, student and seed, by method label.
    pub sizes: BTreeMap<String, usize>,
    /// What stands behind it.
    pub backing: &'a dyn Backing,
}

impl Cell<'_> {
    /// Runs `work` once in the life of the run: the result is journaled, and a resumed run reads it back.
    ///
    /// `name` is unique within the cell. What `work` does may depend on the cell and on earlier steps' results alone. If a
    /// budget ran out or the run was interrupted during `work`, nothing is kept and the error ends the cell: pass it on.
    pub fn step<T: Serialize + DeserializeOwned>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut work = Some(work);
        let text = self.backing.step(name, &mut || {
            let work = work.take().context("a step's work runs at most once")?;
            let text = serde_json::to_string(&work()?)?;
            // What cannot be read back must not get into the journal.
            serde_json::from_str::<T>(&text).with_context(|| format!("step `{name}`: its result does not survive JSON"))?;
            Ok(text)
        })?;
        // The first run reads its own text back too, so that it sees exactly what a resumed run sees.
        serde_json::from_str(&text).with_context(|| format!("step `{name}`: the journal holds another shape of result"))
    }

    /// Trains a re-initialised student on `rows`, records its measurements for `round` and, if `last`, has the final
    /// evaluator score it on the test split. A journaled step named after the round, so once per round.
    pub fn train(&self, round: usize, rows: &[Row], last: bool) -> Result<Trained> {
        self.backing.train(round, rows, last)
    }

    /// A number that the method counted in `round`, for example `rejected_refusal`: a row of results.csv. It depends on
    /// journaled results alone, so a resumed run records the same number under the same name again.
    ///
    /// # Errors
    /// If it cannot be kept.
    pub fn record(&self, round: usize, metric: &str, value: f64) -> Result<()> {
        self.backing.record(round, metric, value)
    }

    /// Rows the final training set should have, if the method's options say so.
    ///
    /// # Errors
    /// If the size refers to a method whose cell is not done.
    pub fn wanted_rows(&self) -> Result<Option<usize>> {
        match &self.options.size {
            None => Ok(None),
            Some(Size::Rows(rows)) => Ok(Some(*rows)),
            Some(Size::As(label)) => self
                .sizes
                .get(label)
                .map(|&rows| Some(rows))
                .with_context(|| format!("size `as-{label}`: the cell of `{label}` did not finish")),
        }
    }
}
