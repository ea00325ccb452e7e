//! The student proper: a tokeniser and an encoder, trained from scratch or from a Hugging Face directory.

use std::sync::Arc;

use anyhow::{Context, Result};
use stepsynth_core::Error;
use stepsynth_core::backend::Backend;
use stepsynth_core::config::Head;
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::tokenize::Tokenizer;
use stepsynth_core::train::{AdamWSettings, TrainSet, TrainSettings as CoreSettings, train};
use stepsynth_datasets::{Input, Kind, TaskSpec};

use super::build::{Origin, head};
use super::dump;
use super::encode::{self, Lengths};
use super::reader::{Learned, Reader};
use super::{EpochRecord, FitCost, FitJob, Fitted, Student, score};
use crate::experiment::settings::TrainSettings;

/// A word seen once tells little; pieces of it are learned instead.
const MIN_WORD_FREQUENCY: u64 = 2;

/// A student for one task on one backend.
pub struct EncoderStudent<B> {
    backend: Arc<B>,
    origin: Origin,
    task: TaskSpec,
    settings: TrainSettings,
    inference_tokens: usize,
}

impl<B: Backend> EncoderStudent<B> {
    /// A student of the given origin for `task`, which predicts in batches of `inference_tokens` tokens.
    pub fn new(backend: Arc<B>, origin: Origin, task: TaskSpec, settings: TrainSettings, inference_tokens: usize) -> Self {
        Self { backend, origin, task, settings, inference_tokens }
    }

    fn head(&self) -> Head {
        head(&self.task)
    }

    fn lengths(&self) -> Lengths {
        Lengths { max_length: self.settings.max_length, stride: self.settings.stride }
    }

    /// A fresh model and its tokeniser.
    fn fresh(&self, job: &FitJob<'_>) -> Result<(Tokenizer, Model<B>)> {
        let labels = match self.task.kind {
            Kind::Single | Kind::Pair => self.task.labels.clone(),
            Kind::Qa => vec!["start".into(), "end".into()],
        };
        match &self.origin {
            Origin::Scratch(shape) => {
                let texts = job.train.iter().flat_map(|example| encode::texts(&example.input));
                let tokenizer = Tokenizer::train(texts, shape.vocab_size, MIN_WORD_FREQUENCY)?;
                let config = shape.config(tokenizer.vocab_size(), tokenizer.pad_id(), self.settings.max_length, labels);
                Ok((tokenizer, Model::new(&*self.backend, config, self.head(), Initialisation::Scratch, job.seed)?))
            }
            Origin::Directory(directory) => {
                let tokenizer = Tokenizer::load(directory)?;
                let (model, new_head) = Model::load(&*self.backend, directory, self.head(), job.seed)?;
                if let Some(new_head) = new_head {
                    (job.notice)(&new_head.to_string());
                }
                Ok((tokenizer, model.with_labels(labels)))
            }
        }
    }

    fn core_settings(&self, seed: u64, set: &TrainSet) -> CoreSettings {
        let settings = &self.settings;
        let core = CoreSettings {
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            batch_tokens: settings.batch_tokens,
            learning_rate: settings.learning_rate,
            warmup_steps: 0,
            max_gradient_norm: (settings.max_grad_norm > 0.0).then_some(settings.max_grad_norm),
            adamw: AdamWSettings { weight_decay: settings.weight_decay, ..Default::default() },
            patience: (settings.patience > 0).then_some(settings.patience),
            seed,
        };
        CoreSettings { warmup_steps: settings.warmup.steps(core.steps(set)), ..core }
    }
}

impl<B: Backend + 'static> Student for EncoderStudent<B> {
    fn fit(&self, job: &FitJob<'_>) -> Result<Fitted> {
        let (tokenizer, mut model) = self.fresh(job).with_context(|| format!("preparing a student for `{}`", self.task.name))?;
        let set = encode::train_set(&tokenizer, self.lengths(), job.train)?;
        let settings = self.core_settings(job.seed, &set);
        if let Some(directory) = job.dump {
            std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
            tokenizer.save(directory, model.config())?;
            model.save(&self.backend, directory)?;
            dump::steps(&directory.join("steps.jsonl"), &set, &settings)?;
        }
        let reader = Reader { tokenizer, head: self.head(), lengths: self.lengths(), inference_tokens: self.inference_tokens };
        let inputs: Vec<Input> = job.select.iter().map(|example| example.input.clone()).collect();
        let prepared = reader.prepare(&inputs)?;
        let evaluate = |model: &Model<B>| {
            if job.select.is_empty() {
                return Ok(None);
            }
            let predictions = reader.predict(&*self.backend, model, &inputs, &prepared, job.reading)?;
            score(self.task.metric, job.select, &predictions).map(Some)
        };
        // `train` speaks stepsynth_core's errors; what our own evaluation says is kept aside.
        let mut failure = None;
        let report = train(
            &*self.backend,
            &mut model,
            &set,
            &settings,
            |model| {
                evaluate(model).map_err(|error| {
                    let message = format!("{error:#}");
                    failure = Some(error);
                    stepsynth_core::Error::Config { place: "evaluation".into(), message }
                })
            },
            job.progress,
        );
        if let Some(error) = failure {
            return Err(error);
        }
        let report = report.map_err(|error| what_would_fit(error, &settings, &set))?;
        let history = report
            .epochs
            .iter()
            .map(|epoch| EpochRecord {
                epoch: epoch.number,
                train_loss: epoch.train_loss,
                train_metric: epoch.train_accuracy,
                select_metric: epoch.select_metric,
            })
            .collect();
        let cost = FitCost { train_tokens: report.tokens, train_flops: report.flops };
        let model = Box::new(Learned { backend: self.backend.clone(), model, reader });
        Ok(Fitted { model, history, best_epoch: report.best_epoch, cost })
    }

    fn device(&self) -> String {
        self.backend.name()
    }
}

/// Adds to an error of too little memory what to do about it.
fn what_would_fit(error: Error, settings: &CoreSettings, set: &TrainSet) -> anyhow::Error {
    if !matches!(error, Error::OutOfMemory { .. }) {
        return error.into();
    }
    let tokens = |rows: &[usize]| rows.iter().map(|&row| set.sequences[row].ids.len()).sum::<usize>();
    let largest = settings.plan(set).flatten().map(|step| tokens(&step.rows)).max().unwrap_or(0);
    let now = match settings.batch_tokens {
        Some(tokens) => format!("--batch-tokens (now {tokens})"),
        None => format!("--batch-size (now {}, up to {largest} tokens)", settings.batch_size),
    };
    let half = largest / 2;
    let message = format!("a training step does not fit the device; lower {now}, for example --batch-tokens {half}");
    anyhow::Error::from(error).context(message)
}

#[cfg(test)]
mod tests {
    use stepsynth_core::Sequence;
    use stepsynth_core::train::HostTargets;

    use super::*;

    #[test]
    fn out_of_memory_comes_with_a_batch_to_try() {
        let row = Sequence { ids: vec![1; 4], token_types: vec![0; 4] };
        let set = TrainSet { sequences: vec![row; 3], targets: HostTargets::Labels(vec![0; 3]) };
        let settings = CoreSettings { batch_size: 3, epochs: 1, ..Default::default() };
        let full = || Error::OutOfMemory { device: "cuda:0".into(), asked: 1 << 30, used: 2 << 30, free: 0 };
        let text = format!("{:#}", what_would_fit(full(), &settings, &set));
        let expected = "a training step does not fit the device; lower --batch-size (now 3, up to 12 tokens), for example \
                        --batch-tokens 6: cuda:0: out of memory: 1.0 GiB asked for, 2.0 GiB in use, 0 bytes free";
        assert_eq!(text, expected);
        let settings = CoreSettings { batch_tokens: Some(9), ..settings };
        let text = what_would_fit(full(), &settings, &set).to_string();
        assert!(text.contains("lower --batch-tokens (now 9), for example --batch-tokens 4"), "{text}");
        assert_eq!(what_would_fit(Error::Interrupted, &settings, &set).to_string(), "interrupted");
    }
}
