//! The tables of a spec that hold numbers: `[train]` and `[gold]`.

use serde::{Deserialize, Serialize};

use super::faults::{MOST_ROWS, out_of_range};

/// How a student is trained: `[train]`, with overrides for one task in `[train.TASK]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Passes over the training rows.
    pub epochs: usize,
    /// Sequences in an optimizer step.
    pub batch_size: usize,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Over how much of the training the learning rate rises linearly from 0; it falls linearly to 0 afterwards.
    pub warmup: Warmup,
    /// Longest sequence in tokens.
    pub max_length: usize,
    /// Question answering: tokens by which two windows of one context overlap.
    pub stride: usize,
    /// Gradients are scaled down to this global norm; 0 = never.
    pub max_grad_norm: f64,
    /// Training ends after this many epochs without a better `select` metric; 0 = never early.
    pub patience: usize,
}

/// Length of the warm-up: a number of optimizer steps, or below 1 a share of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Warmup(pub f64);

impl Warmup {
    /// Optimizer steps out of `all`.
    pub fn steps(self, all: usize) -> usize {
        if self.0 < 1.0 { (self.0 * all as f64).round() as usize } else { self.0 as usize }
    }
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 6,
            batch_size: 16,
            learning_rate: 5e-4,
            weight_decay: 0.01,
            warmup: Warmup(0.0),
            max_length: 128,
            stride: 32,
            max_grad_norm: 1.0,
            patience: 0,
        }
    }
}

impl TrainSettings {
    /// The first field that cannot be used, with the reason.
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        let ranges = [
            ("epochs", self.epochs, 1..=100_000),
            ("batch_size", self.batch_size, 1..=1_000_000),
            ("patience", self.patience, 0..=100_000),
        ];
        if let Some(fault) = out_of_range(&ranges) {
            return Some(fault);
        }
        if !(4..=8192).contains(&self.max_length) {
            return Some(("max_length", format!("is {}; use 4 to 8192 tokens", self.max_length)));
        }
        if self.stride >= self.max_length {
            return Some(("stride", format!("is {}; use less than max_length, {}", self.stride, self.max_length)));
        }
        if !(self.warmup.0 >= 0.0 && self.warmup.0.is_finite()) {
            return Some(("warmup", format!("is {}; use a number of steps, or a share of them below 1", self.warmup.0)));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Some(("learning_rate", format!("is {}; use more than 0 and at most 1", self.learning_rate)));
        }
        [("weight_decay", self.weight_decay), ("max_grad_norm", self.max_grad_norm)]
            .into_iter()
            .find(|(_, value)| !(value.is_finite() && *value >= 0.0))
            .map(|(field, value)| (field, format!("is {value}; use a finite number of at least 0")))
    }
}

/// How much gold data each role gets: `[gold]`, with overrides for one task in `[gold.TASK]`. Absent = all there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GoldSizes {
    /// Rows mined for errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mine: Option<usize>,
    /// Rows that choose the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<usize>,
    /// Test rows scored, drawn once for all cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Rows that the `gold` method trains on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Seeds the draws of all four, the same for every cell.
    pub seed: u64,
}

impl GoldSizes {
    /// The first field that cannot be used, with the reason.
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        [("mine", self.mine), ("select", self.select), ("test", self.test), ("train", self.train)]
            .into_iter()
            .find(|(_, rows)| rows.is_some_and(|rows| !(1..=MOST_ROWS).contains(&rows)))
            .map(|(field, rows)| {
                let rows = rows.unwrap_or_default();
                (field, format!("is {rows}; use 1 to {MOST_ROWS}, or leave it out for all rows"))
            })
    }
}
