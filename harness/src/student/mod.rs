//! The student as experiments see it: something that is trained from scratch on examples and then predicts.

mod build;
mod device;
mod dump;
mod encode;
mod encoder;
mod reader;
mod saved;
mod score;
mod shape;
mod training;

use std::path::Path;

use stepsynth_core::train::Progress;
use stepsynth_datasets::{Example, Input};

pub use build::{Origin, build};
pub use device::{Device, cuda, isa};
pub use encoder::EncoderStudent;
pub use saved::{Saved, open};
pub use score::score;
pub use shape::{SHAPES, Shape};
pub use training::{TrainedOn, TrainingRecord};

/// Everything one training run depends on.
pub struct FitJob<'a> {
    /// Seeds initialisation, order and dropout.
    pub seed: u64,
    /// Training examples.
    pub train: &'a [Example],
    /// Examples that choose the best epoch; empty = the last epoch is kept.
    pub select: &'a [Example],
    /// Counts optimizer steps.
    pub progress: Progress<'a>,
    /// Counts the select rows read after an epoch.
    pub reading: Progress<'a>,
    /// Folder that gets the initial model and all steps before training begins, for another trainer to follow.
    pub dump: Option<&'a Path>,
    /// Told, in a line each, what else a user should know before training begins.
    pub notice: &'a dyn Fn(&str),
}

/// What one epoch gave.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Mean training loss over the epoch.
    pub train_loss: f64,
    /// Share of the training rows answered right (questions: of their windows, both ends), measured during the epoch (dropout
    /// on).
    pub train_metric: f64,
    /// The task's metric on `select`, if there is one.
    pub select_metric: Option<f64>,
}

/// What training consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FitCost {
    /// Real tokens trained on, over all epochs.
    pub train_tokens: u64,
    /// Floating-point operations, by the formula in the documentation of the student.
    pub train_flops: f64,
}

/// A prediction for one input.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// Classification.
    Label {
        /// Index into the task's label names: the largest logit.
        label: usize,
        /// One value per label.
        logits: Vec<f32>,
    },
    /// Question answering.
    Span {
        /// The answer's text.
        answer: String,
        /// First character in the context.
        start: usize,
        /// One past the last character.
        end: usize,
        /// Start logit + end logit.
        score: f32,
    },
}

/// A kind of student for one task, ready to be trained any number of times.
pub trait Student: Send + Sync {
    /// Trains a freshly initialised student.
    ///
    /// # Errors
    /// `stepsynth_core::Error::Interrupted` (downcast from `anyhow::Error`) if `progress` returned false.
    fn fit(&self, job: &FitJob<'_>) -> anyhow::Result<Fitted>;
    /// Name of the device and precision, for results.
    fn device(&self) -> String;
}

/// A trained student.
pub trait Predict: Send {
    /// Predicts every input, in order; `progress` counts sequences.
    ///
    /// # Errors
    /// `stepsynth_core::Error::Interrupted` (downcast from `anyhow::Error`) if `progress` returned false, and a device's fault.
    fn predict(&self, inputs: &[Input], progress: Progress<'_>) -> anyhow::Result<Vec<Prediction>>;
    /// Writes a Hugging Face model directory (`config.json`, `model.safetensors`, `tokenizer.json`, `vocab.txt`), each file
    /// atomically.
    fn save(&self, directory: &Path) -> anyhow::Result<()>;
}

/// What training gave.
pub struct Fitted {
    /// The student of the best epoch.
    pub model: Box<dyn Predict>,
    /// One record per epoch trained.
    pub history: Vec<EpochRecord>,
    /// Epoch whose weights were kept.
    pub best_epoch: usize,
    /// What training consumed.
    pub cost: FitCost,
}
