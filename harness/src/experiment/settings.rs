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
    /// Where it is set, a step takes as many sequences as fit so many tokens, and `batch_size` is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Numbers that the matrix products of training are computed in.
    #[serde(skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
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

/// Numbers to compute in; parameters and sums are `f32` in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of `f32`: faster where the machine has instructions for them.
    Bf16,
}

impl Precision {
    /// Left out of specs then, so that runs made before there was a choice keep their fingerprint.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{name}` is not a precision; use `f32` or `bf16`")),
        }
    }
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
            batch_tokens: None,
            precision: Precision::F32,
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
            ("batch_tokens", self.batch_tokens.unwrap_or(1), 1..=10_000_000),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that is not set is not written, so it is not in the fingerprint of a run either.
    #[test]
    fn new_fields_change_no_fingerprint_unless_they_are_set() {
        let written = |settings: &TrainSettings| serde_json::to_value(settings).unwrap().as_object().unwrap().clone();
        let plain = written(&TrainSettings::default());
        let fields = [
            "batch_size",
            "epochs",
            "learning_rate",
            "max_grad_norm",
            "max_length",
            "patience",
            "stride",
            "warmup",
            "weight_decay",
        ];
        assert_eq!(plain.keys().collect::<Vec<_>>(), fields);
        let set = TrainSettings { batch_tokens: Some(512), precision: Precision::Bf16, ..TrainSettings::default() };
        assert_eq!((&written(&set)["batch_tokens"], &written(&set)["precision"]), (&512.into(), &"bf16".into()));
        assert_eq!(serde_json::from_value::<TrainSettings>(written(&set).into()).unwrap(), set);
        assert_eq!(serde_json::from_value::<TrainSettings>(plain.into()).unwrap(), TrainSettings::default());
    }
}
