//! The student proper: a tokeniser and an encoder, trained from scratch or from a Hugging Face directory.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use stepsynth_core::backend::Backend;
use stepsynth_core::config::Head;
use stepsynth_core::model::{Initialisation, Model};
use stepsynth_core::tokenize::Tokenizer;
use stepsynth_core::train::{AdamWSettings, TrainSettings as CoreSettings, logits, train};
use stepsynth_datasets::{Input, Kind, TaskSpec};

use super::build::{Origin, head};
use super::encode::{self, Lengths};
use super::{EpochRecord, FitCost, FitJob, Fitted, Prediction, Student, score};
use crate::experiment::settings::TrainSettings;

/// Tokens of an inference batch: enough to keep the matrix products busy, small enough to stay in cache.
const INFERENCE_TOKENS: usize = 2048;

/// A word seen once tells little; pieces of it are learned instead.
const MIN_WORD_FREQUENCY: u64 = 2;

/// A student for one task on one backend.
pub struct EncoderStudent<B> {
    backend: Arc<B>,
    origin: Origin,
    task: TaskSpec,
    settings: TrainSettings,
}

impl<B: Backend> EncoderStudent<B> {
    /// A student of the given origin for `task`.
    pub fn new(backend: Arc<B>, origin: Origin, task: TaskSpec, settings: TrainSettings) -> Self {
        Self { backend, origin, task, settings }
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
                let (model, _) = Model::load(&*self.backend, directory, self.head(), job.seed)?;
                Ok((tokenizer, model.with_labels(labels)))
            }
        }
    }

    fn core_settings(&self, seed: u64, steps: usize) -> CoreSettings {
        let settings = &self.settings;
        CoreSettings {
            epochs: settings.epochs,
            batch_size: settings.batch_size,
            learning_rate: settings.learning_rate,
            warmup_steps: settings.warmup.steps(steps),
            max_gradient_norm: (settings.max_grad_norm > 0.0).then_some(settings.max_grad_norm),
            adamw: AdamWSettings { weight_decay: settings.weight_decay, ..Default::default() },
            patience: (settings.patience > 0).then_some(settings.patience),
            seed,
        }
    }
}

impl<B: Backend + 'static> Student for EncoderStudent<B> {
    fn fit(&self, job: &FitJob<'_>) -> Result<Box<dyn Fitted>> {
        let (tokenizer, mut model) = self.fresh(job).with_context(|| format!("preparing a student for `{}`", self.task.name))?;
        let set = encode::train_set(&tokenizer, self.lengths(), job.train)?;
        let steps = set.sequences.len().div_ceil(self.settings.batch_size) * self.settings.epochs;
        let reader = Reader { tokenizer, kind: self.task.kind, lengths: self.lengths() };
        let inputs: Vec<Input> = job.select.iter().map(|example| example.input.clone()).collect();
        let prepared = reader.prepare(&inputs)?;
        let evaluate = |model: &Model<B>| {
            if job.select.is_empty() {
                return Ok(None);
            }
            let predictions = reader.predict(&*self.backend, model, &inputs, &prepared)?;
            score(self.task.metric, job.select, &predictions).map(Some)
        };
        // `train` speaks stepsynth_core's errors; what our own evaluation says is kept aside.
        let mut failure = None;
        let report = train(
            &*self.backend,
            &mut model,
            &set,
            &self.core_settings(job.seed, steps),
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
        let report = report?;
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
        Ok(Box::new(Trained { backend: self.backend.clone(), model, reader, history, best_epoch: report.best_epoch, cost }))
    }

    fn device(&self) -> String {
        self.backend.name()
    }
}

/// Turns inputs into sequences and logits into predictions.
struct Reader {
    tokenizer: Tokenizer,
    kind: Kind,
    lengths: Lengths,
}

/// Tokenised inputs.
enum Prepared {
    Sequences(Vec<stepsynth_core::Sequence>),
    Windows(Vec<Vec<stepsynth_core::tokenize::Window>>),
}

impl Reader {
    fn prepare(&self, inputs: &[Input]) -> Result<Prepared> {
        Ok(match self.kind {
            Kind::Single | Kind::Pair => {
                let sequences = inputs.iter().map(|input| encode::sequence(&self.tokenizer, self.lengths, input));
                Prepared::Sequences(sequences.collect::<Result<_>>()?)
            }
            Kind::Qa => {
                let windows = inputs.iter().map(|input| encode::windows(&self.tokenizer, self.lengths, input));
                Prepared::Windows(windows.collect::<Result<_>>()?)
            }
        })
    }

    fn predict<B: Backend>(
        &self,
        backend: &B,
        model: &Model<B>,
        inputs: &[Input],
        prepared: &Prepared,
    ) -> Result<Vec<Prediction>> {
        match prepared {
            Prepared::Sequences(sequences) => {
                let all = logits(backend, model, sequences, INFERENCE_TOKENS)?;
                Ok(all.into_iter().map(encode::label).collect())
            }
            Prepared::Windows(windows) => {
                let sequences: Vec<_> = windows.iter().flatten().map(|window| window.sequence.clone()).collect();
                let all = logits(backend, model, &sequences, INFERENCE_TOKENS)?;
                let mut rest = all.as_slice();
                let mut predictions = Vec::with_capacity(inputs.len());
                for (input, windows) in inputs.iter().zip(windows) {
                    let (mine, later) = rest.split_at(windows.len());
                    rest = later;
                    let scored: Vec<_> = windows.iter().zip(mine.iter().map(Vec::as_slice)).collect();
                    predictions.push(encode::span(input.context().unwrap_or_default(), &scored)?);
                }
                Ok(predictions)
            }
        }
    }
}

/// A trained student.
struct Trained<B: Backend> {
    backend: Arc<B>,
    model: Model<B>,
    reader: Reader,
    history: Vec<EpochRecord>,
    best_epoch: usize,
    cost: FitCost,
}

impl<B: Backend> Fitted for Trained<B> {
    fn predict(&self, inputs: &[Input]) -> Result<Vec<Prediction>> {
        self.reader.predict(&*self.backend, &self.model, inputs, &self.reader.prepare(inputs)?)
    }

    fn history(&self) -> &[EpochRecord] {
        &self.history
    }

    fn best_epoch(&self) -> usize {
        self.best_epoch
    }

    fn cost(&self) -> FitCost {
        self.cost
    }

    fn save(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        self.reader.tokenizer.save(directory, self.model.config())?;
        Ok(self.model.save(&self.backend, directory)?)
    }
}
