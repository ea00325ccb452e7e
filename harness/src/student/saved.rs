//! A trained model in a directory, opened to predict.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;
use stepsynth_core::backend::Backend;
use stepsynth_core::config::{EncoderConfig, Head};
use stepsynth_core::model::Model;
use stepsynth_core::tokenize::Tokenizer;

use super::build::check_directory;
use super::device::{cpu, gpu, reference};
use super::encode::Lengths;
use super::reader::{Learned, Reader};
use super::{Device, Origin, Predict, TrainingRecord};
use crate::experiment::settings::Precision;
use crate::failure::Failure;

/// Tokens by which windows of one context overlap, where nothing else is known: transformers' question-answering example.
const STRIDE: usize = 128;

/// An opened model.
pub struct Saved {
    /// Names of its classes; none for question answering.
    pub labels: Vec<String>,
    /// What it answers.
    pub head: Head,
    /// Longest sequence it is given, in tokens.
    pub max_length: usize,
    /// How it came to be, where that is known.
    pub training: Option<TrainingRecord>,
    /// The device it runs on.
    pub device: String,
    /// The model.
    pub model: Box<dyn Predict>,
}

/// Opens the model in `directory`, or that of the hub with this name if it is in the cache, on all cores. Sequences are cut to `max_length` tokens; by default to what it was trained
/// with, and where that is not known, to what it can read.
///
/// # Errors
/// [`Failure::Usage`] if the directory holds no model with a trained head, or the length does not fit the model.
pub fn open(directory: &Path, device: Device, precision: Precision, max_length: Option<usize>) -> Result<Saved> {
    let directory = &*located(directory)?;
    let config = EncoderConfig::load(directory).map_err(|error| Failure::Usage(format!("model {error}")))?;
    let head = head(directory, &config)?;
    let training = TrainingRecord::load(directory)?;
    let trained_with = training.as_ref().map(|training| &training.settings);
    let longest = max_length.or(trained_with.map(|settings| settings.max_length)).unwrap_or(config.max_positions);
    let least = if head == Head::QuestionAnswering { 5 } else { 4 };
    if longest < least {
        return Err(Failure::usage(format!("--max-length is {longest}; use at least {least} tokens")));
    }
    check_directory(directory, "--max-length", longest)?;
    let stride = trained_with.map_or(STRIDE, |settings| settings.stride).min(longest / 2);
    let lengths = Lengths { max_length: longest, stride };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let device = device.resolve();
    let tokens = device.inference_tokens();
    let (model, device) = match device {
        Device::Auto | Device::Cpu => learned(Arc::new(cpu(threads, precision)?), directory, head, lengths, tokens)?,
        Device::Cuda(ordinal) => learned(gpu(ordinal, precision)?, directory, head, lengths, tokens)?,
        Device::Reference => learned(Arc::new(reference(precision)?), directory, head, lengths, tokens)?,
    };
    let labels = if head == Head::QuestionAnswering { Vec::new() } else { config.id2label };
    Ok(Saved { labels, head, max_length: longest, training, device, model })
}

fn located(name: &Path) -> Result<Cow<'_, Path>> {
    if name.join("config.json").is_file() {
        return Ok(name.into());
    }
    match name.to_str().map(Origin::parse) {
        Some(Ok(Origin::Directory(directory))) => Ok(directory.into()),
        _ => {
            let place = name.display();
            Err(Failure::usage(format!(
                "model {place}: neither a directory with a config.json nor a model of the hub in the cache"
            )))
        }
    }
}

fn learned<B: Backend + 'static>(
    backend: Arc<B>,
    directory: &Path,
    head: Head,
    lengths: Lengths,
    inference_tokens: usize,
) -> Result<(Box<dyn Predict>, String)> {
    let usage = |error: stepsynth_core::Error| Failure::Usage(format!("model {error}"));
    let tokenizer = Tokenizer::load(directory).map_err(usage)?;
    let (model, new_head) = Model::load(&*backend, directory, head, 0).map_err(usage)?;
    if let Some(new_head) = new_head {
        return Err(untrained(directory, &format!("its weights lack {}", new_head.missing.join(", "))));
    }
    let device = backend.name();
    let reader = Reader { tokenizer, head, lengths, inference_tokens };
    Ok((Box::new(Learned { backend, model, reader }), device))
}

/// What the model answers, as `architectures` in its `config.json` says.
fn head(directory: &Path, config: &EncoderConfig) -> Result<Head> {
    let path = directory.join("config.json");
    let unreadable = |error: String| Failure::Usage(format!("model {}: {error}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| unreadable(error.to_string()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let architectures: Vec<&str> = value["architectures"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is = |task: &str| architectures.iter().any(|name| name.ends_with(task));
    if is("ForSequenceClassification") {
        Ok(Head::Classification { labels: config.id2label.len() })
    } else if is("ForQuestionAnswering") {
        Ok(Head::QuestionAnswering)
    } else if architectures.is_empty() {
        Err(untrained(directory, "`architectures` in its config.json names none"))
    } else {
        Err(untrained(directory, &format!("it is a {}", architectures.join(", "))))
    }
}

fn untrained(directory: &Path, why: &str) -> anyhow::Error {
    let place = directory.display();
    Failure::usage(format!(
        "model {place}: has no trained head ({why}); train it first: stepsynth train --task TASK --model {place} --out DIR"
    ))
}
