//! Gold data in three roles: mine (errors are mined there), select (chooses the best epoch), test (scored only, sealed).

mod divide;
mod sealed;
mod stratify;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use divide::Division;
pub use sealed::{FinalEvaluator, Sealed};

use crate::load::{self, BadRow, FileRecord, ReadOptions};
use crate::{Example, Result, TaskSpec};

/// How mine, select and test come from the gold files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// As the released scripts: mine and select are both the whole gold training data, repeats and all.
    Paper,
    /// Mine, select and test share no content: training rows that repeat, or occur in the test data, are dropped (and
    /// counted), and mine and select are disjoint samples of the rest.
    Clean,
}

/// What a caller may decide about the splits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitOptions {
    /// Protocol.
    pub protocol: Protocol,
    /// Seed of the samples; the same seed, the same splits.
    pub seed: u64,
    /// Rows the gold baseline trains on; absent, all there are. Capped to what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Rows to mine; absent, the whole training data (`paper`) or the task's `[split]` size (`clean`). Capped to what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mine: Option<usize>,
    /// Rows that choose the best epoch; absent and capped as `mine`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<usize>,
    /// Rows of a sample of the test data; absent, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// How the files are read.
    #[serde(default)]
    pub read: ReadOptions,
}

impl SplitOptions {
    /// Sizes and reading as the protocol and the task have them.
    pub fn new(protocol: Protocol, seed: u64) -> Self {
        Self { protocol, seed, train: None, mine: None, select: None, test: None, read: ReadOptions::default() }
    }
}

/// The gold data of a cell. Rows stand in the order of their files.
#[derive(Debug)]
pub struct Splits {
    /// Training data of the gold baseline: under `paper` the gold training data, under `clean` all of it that is clean and not
    /// in select.
    pub train: Vec<Example>,
    /// Mined for errors (the paper's `D_gold_eval`).
    pub mine: Vec<Example>,
    /// Chooses the best epoch.
    pub select: Vec<Example>,
    /// Scored only, by the final evaluator.
    pub test: Sealed<Vec<Example>>,
}

/// Where splits came from, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldReport {
    /// Training and test files.
    pub files: Vec<FileRecord>,
    /// Rows that were left out as bad.
    pub bad_rows: Vec<BadRow>,
    /// How the rows were divided.
    pub division: Division,
}

/// Reads a task's gold files from the data folder and divides them.
///
/// # Errors
/// What [`load::read`] gives, [`crate::Error::NoGold`], and [`crate::Error::TooFewRows`].
pub fn load_splits(task: &TaskSpec, data: &Path, options: &SplitOptions) -> Result<(Splits, GoldReport)> {
    let gold = task.gold_in(data)?;
    let mut train = load::read(task, &gold.train, data, &options.read)?;
    let test = load::read(task, &gold.test, data, &options.read)?;
    let (splits, division) = divide::divide(task, train.examples, test.examples, options)?;
    train.files.extend(test.files);
    train.bad_rows.extend(test.bad_rows);
    Ok((splits, GoldReport { files: train.files, bad_rows: train.bad_rows, division }))
}

#[cfg(test)]
mod tests;
