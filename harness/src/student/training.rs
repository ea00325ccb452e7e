//! `training.json` in a model directory: how the model came to be.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use stepsynth_datasets::TaskSpec;
use stepsynth_datasets::load::FileRecord;

use super::{EpochRecord, FitCost};
use crate::experiment::files;
use crate::experiment::settings::TrainSettings;
use crate::failure::Failure;

/// Rows that a model was trained, chosen or tested on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainedOn {
    /// In words.
    pub source: String,
    /// Number of rows.
    pub rows: usize,
    /// SHA-256 (hex) of the rows; of test rows it is that of all gold data of the task.
    pub sha256: String,
    /// The files they were read from, if they are not the task's gold data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRecord>,
    /// Metrics of the model on them, each in `[0, 1]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// How a model came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The program and its version.
    pub program: String,
    /// The task.
    pub task: TaskSpec,
    /// What training began with: `tiny`, `small` or a model.
    pub base: String,
    /// SHA-256 (hex) of the files of that model, by name.
    pub base_files: BTreeMap<String, String>,
    /// Seeds initialisation, order and dropout.
    pub seed: u64,
    /// Settings.
    pub settings: TrainSettings,
    /// Device and precision.
    pub device: String,
    /// Rows trained on.
    pub train: TrainedOn,
    /// Rows that chose the epoch, if there were any.
    pub select: Option<TrainedOn>,
    /// Test rows, if the model was tested.
    pub test: Option<TrainedOn>,
    /// What each epoch gave.
    pub history: Vec<EpochRecord>,
    /// The epoch whose parameters these are.
    pub best_epoch: usize,
    /// What training consumed.
    pub cost: FitCost,
    /// Time that training took.
    pub seconds: f64,
}

impl TrainingRecord {
    /// Name of the file in a model directory.
    pub const FILE: &str = "training.json";

    /// Reads the record in a model directory, if there is one.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read.
    pub fn load(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(Self::FILE);
        let usage = |error: String| {
            let place = path.display();
            Failure::usage(format!("{place}: not a training record of this program ({error}); move the file away"))
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(usage(error.to_string())),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| usage(error.to_string()))
    }

    /// Writes it into a model directory.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        files::write_atomically(&directory.join(Self::FILE), |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            out.write_all(b"\n")?;
            Ok(())
        })
    }
}
