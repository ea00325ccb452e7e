//! From names on the command line to a student.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use stepsynth_core::config::{EncoderConfig, Head, parameter_layout};
use stepsynth_core::tokenize::Tokenizer;
use stepsynth_datasets::hub::{ModelId, Settings, cached_model};
use stepsynth_datasets::{Kind, TaskSpec};

use super::device::{Device, cpu, gpu, reference};
use super::{EncoderStudent, SHAPES, Shape, Student};
use crate::experiment::settings::TrainSettings;
use crate::failure::Failure;

/// Where a student's parameters come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// Random parameters, and a vocabulary learned from the training rows.
    Scratch(Shape),
    /// A Hugging Face directory (`config.json`, `model.safetensors`, `tokenizer.json` or `vocab.txt`).
    Directory(PathBuf),
}

impl Origin {
    /// `tiny`, `small`, a model directory, or a model of the hub (`name`, `org/name`, `org/name@revision`) that is in the
    /// cache. There is no network here.
    ///
    /// # Errors
    /// If it is none of them, with the command that fetches a model.
    pub fn parse(name: &str) -> Result<Self> {
        if let Some(shape) = Shape::find(name) {
            return Ok(Self::Scratch(shape.clone()));
        }
        let directory = Path::new(name);
        if directory.join("config.json").is_file() {
            return Ok(Self::Directory(directory.to_path_buf()));
        }
        let names = SHAPES.map(|shape| shape.name).join(", ");
        let neither = format!("student: `{name}` is neither a built-in student ({names}) nor a directory with a config.json");
        // A path that is there, or no name of the hub at all.
        let Some(id) = name.parse::<ModelId>().ok().filter(|_| !directory.exists()) else { bail!(neither) };
        let settings = Settings::from_environment()?;
        cached_model(&settings, &id).map(Self::Directory).map_err(|error| anyhow!("{neither}; as a model of the hub: {error}"))
    }

    /// Longest sequence that the model reads; `None` if that is not fixed, or cannot be found out.
    pub fn max_positions(&self) -> Option<usize> {
        match self {
            Self::Scratch(_) => None,
            Self::Directory(directory) => Some(EncoderConfig::load(directory).ok()?.max_positions),
        }
    }

    /// Parameters of the model for `task`, as far as they are known before the vocabulary is: a scratch student is counted
    /// with its largest vocabulary.
    pub fn parameters(&self, task: &TaskSpec, max_length: usize) -> Option<u64> {
        let config = match self {
            Self::Scratch(shape) => shape.config(shape.vocab_size, 0, max_length, vec!["a".into()]),
            Self::Directory(directory) => EncoderConfig::load(directory).ok()?,
        };
        let layout = parameter_layout(&config, head(task));
        Some(layout.iter().map(|spec| (spec.rows * spec.columns) as u64).sum())
    }
}

/// The head that a task needs.
pub(super) fn head(task: &TaskSpec) -> Head {
    match task.kind {
        Kind::Single | Kind::Pair => Head::Classification { labels: task.labels.len() },
        Kind::Qa => Head::QuestionAnswering,
    }
}

/// A student for `task`; `threads` is how many one training run may use.
///
/// # Errors
/// [`Failure::Usage`] if a model directory does not fit the settings; otherwise if the backend cannot start.
pub fn build(
    origin: Origin,
    device: Device,
    threads: usize,
    task: &TaskSpec,
    settings: &TrainSettings,
) -> Result<Box<dyn Student>> {
    if let Origin::Directory(directory) = &origin {
        check_directory(directory, "`train.max_length`", settings.max_length)?;
    }
    let (task, settings) = (task.clone(), settings.clone());
    let device = device.resolve();
    let tokens = device.inference_tokens();
    Ok(match device {
        Device::Auto | Device::Cpu => {
            Box::new(EncoderStudent::new(Arc::new(cpu(threads, settings.precision)?), origin, task, settings, tokens))
        }
        Device::Cuda(ordinal) => Box::new(EncoderStudent::new(gpu(ordinal, settings.precision)?, origin, task, settings, tokens)),
        Device::Reference => {
            Box::new(EncoderStudent::new(Arc::new(reference(settings.precision)?), origin, task, settings, tokens))
        }
    })
}

/// Finds before anything is paid for what would end the first step with a model directory. `setting` names the length in
/// messages.
pub(super) fn check_directory(directory: &Path, setting: &str, max_length: usize) -> Result<()> {
    let usage = |message: String| Failure::usage(format!("student {}: {message}", directory.display()));
    let config = EncoderConfig::load(directory).map_err(|error| usage(error.to_string()))?;
    let tokenizer = Tokenizer::load(directory).map_err(|error| usage(error.to_string()))?;
    if max_length > config.max_positions {
        let most = config.max_positions;
        return Err(usage(format!("{setting} is {max_length}, the model reads at most {most} tokens; use {most} or less")));
    }
    if tokenizer.vocab_size() > config.vocab_size {
        let (tokens, rows) = (tokenizer.vocab_size(), config.vocab_size);
        return Err(usage(format!("its tokenizer has {tokens} tokens, its config.json {rows}; they are of two models")));
    }
    Ok(())
}
