//! Training and prediction.

mod batches;
mod best;
mod optimizer;
mod predict;
mod schedule;
mod step;

use crate::backend::Backend;
use crate::config::Head;
use crate::model::Model;
use crate::random::Stream;
use crate::{Error, Result, Sequence};

use batches::{Batches, Batching};
pub use best::BestEpoch;
pub use optimizer::{AdamW, AdamWSettings};
pub use predict::logits;
pub use schedule::LinearSchedule;
pub use step::{StepReport, train_step};

/// Called with (done, in all) as work goes on; when it returns false, the work ends with [`Error::Interrupted`].
pub type Progress<'a> = &'a dyn Fn(usize, usize) -> bool;

/// How to train; the defaults are those of transformers' fine-tuning examples.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// Passes over the training set.
    pub epochs: usize,
    /// Sequences in a step.
    pub batch_size: usize,
    /// Instead of `batch_size` sequences, as many as fit so many tokens go into a step, those of like length together; a
    /// longer sequence is a step of its own. The gradient is that of the mean loss over the step's sequences either way.
    pub batch_tokens: Option<usize>,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up from zero.
    pub warmup_steps: usize,
    /// Gradients are scaled down to this global norm; `None` = never.
    pub max_gradient_norm: Option<f64>,
    /// Optimizer constants.
    pub adamw: AdamWSettings,
    /// Stop after this many epochs without a better selection metric; `None` = never.
    pub patience: Option<usize>,
    /// Seeds order and dropout.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 32,
            batch_tokens: None,
            learning_rate: 2e-5,
            warmup_steps: 0,
            max_gradient_norm: Some(1.0),
            adamw: AdamWSettings::default(),
            patience: None,
            seed: 0,
        }
    }
}

impl TrainSettings {
    /// Optimizer steps that [`train`] takes on `set` if it does not stop early. Sizes of 0, which it refuses, count as 1.
    pub fn steps(&self, set: &TrainSet) -> usize {
        self.batches(set).steps(self.epochs)
    }

    /// The steps that [`train`] takes on `set` if it does not stop early, an epoch at a time.
    pub fn plan(&self, set: &TrainSet) -> impl Iterator<Item = Vec<PlannedStep>> {
        let batches = self.batches(set);
        let total_steps = batches.steps(self.epochs);
        let schedule = LinearSchedule { learning_rate: self.learning_rate, warmup_steps: self.warmup_steps, total_steps };
        (1..=self.epochs).scan(0, move |step, epoch| {
            let planned = batches.epoch(epoch).into_iter().enumerate();
            let planned: Vec<_> =
                planned.map(|(index, rows)| PlannedStep { learning_rate: schedule.at(*step + index), rows }).collect();
            *step += planned.len();
            Some(planned)
        })
    }

    fn batches(&self, set: &TrainSet) -> Batches {
        let lengths = set.sequences.iter().map(|sequence| sequence.ids.len()).collect();
        let batching = match self.batch_tokens {
            Some(tokens) => Batching::Tokens(tokens.max(1)),
            None => Batching::Rows(self.batch_size.max(1)),
        };
        Batches::new(lengths, batching, self.seed)
    }
}

/// One optimizer step to come.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedStep {
    /// Its learning rate.
    pub learning_rate: f64,
    /// Rows of the training set.
    pub rows: Vec<usize>,
}

/// Training targets on the host, one entry per sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum HostTargets {
    /// Class of each sequence.
    Labels(Vec<i32>),
    /// First and last answer token of each sequence.
    Spans(Vec<(i32, i32)>),
}

impl HostTargets {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Labels(labels) => labels.len(),
            Self::Spans(spans) => spans.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tokenised training set.
#[derive(Clone, Debug)]
pub struct TrainSet {
    /// Inputs.
    pub sequences: Vec<Sequence>,
    /// Targets, of the same number.
    pub targets: HostTargets,
}

/// One finished epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub number: usize,
    /// Mean loss per sequence during the epoch.
    pub train_loss: f64,
    /// Share of sequences answered rightly during the epoch, dropout on: the class, or both ends of the span.
    pub train_accuracy: f64,
    /// What `evaluate` returned.
    pub select_metric: Option<f64>,
}

/// What a training run did.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// Epochs trained.
    pub epochs: Vec<Epoch>,
    /// Epoch whose parameters the model now has: the first with the best selection metric, or the last if there is none.
    pub best_epoch: usize,
    /// Tokens trained on, over all epochs.
    pub tokens: u64,
    /// Floating-point operations, [`Model::training_flops`] over all sequences trained on.
    pub flops: f64,
}

/// Trains `model` in place.
///
/// Each epoch visits every sequence once in an order drawn from `settings.seed`, in batches of `settings.batch_size`
/// sequences (the last may be smaller) or of `settings.batch_tokens` tokens. After each epoch `evaluate` may return a metric,
/// larger being better: the parameters of the best epoch are kept. `progress` counts optimizer steps.
///
/// # Errors
/// [`Error::Config`] for settings or targets that do not fit, [`Error::Diverged`] if the loss or the gradient stops being
/// finite, [`Error::Interrupted`], and whatever the backend or `evaluate` reports.
pub fn train<B: Backend>(
    backend: &B,
    model: &mut Model<B>,
    set: &TrainSet,
    settings: &TrainSettings,
    mut evaluate: impl FnMut(&Model<B>) -> Result<Option<f64>>,
    progress: Progress<'_>,
) -> Result<TrainReport> {
    check(model, set, settings)?;
    let rows = set.sequences.len();
    let total_steps = settings.steps(set);
    let mut optimizer = AdamW::new(backend, model, settings.adamw.clone())?;
    let mut best = BestEpoch::new(settings.patience);
    let mut report = TrainReport { epochs: Vec::new(), best_epoch: 0, tokens: 0, flops: 0.0 };
    let dropout = Stream::new(settings.seed, "dropout");
    let mut step = 0;
    for (epoch, planned) in (1..).zip(settings.plan(set)) {
        let (mut loss, mut right) = (0.0, 0);
        for PlannedStep { learning_rate, rows } in planned {
            let masks = Some(dropout.child(step as u64));
            let limit = settings.max_gradient_norm;
            let done = train_step(backend, model, &mut optimizer, set, &rows, learning_rate, limit, masks)?;
            loss += done.loss_sum;
            right += done.right;
            report.tokens += done.tokens;
            report.flops += rows.iter().map(|&row| model.training_flops(set.sequences[row].ids.len())).sum::<f64>();
            step += 1;
            if !progress(step, total_steps) {
                return Err(Error::Interrupted);
            }
        }
        let select_metric = evaluate(model)?;
        let (train_loss, train_accuracy) = (loss / rows as f64, right as f64 / rows as f64);
        report.epochs.push(Epoch { number: epoch, train_loss, train_accuracy, select_metric });
        if best.observe(backend, model, epoch, select_metric)? {
            break;
        }
    }
    report.best_epoch = best.restore(backend, model)?;
    Ok(report)
}

fn check<B: Backend>(model: &Model<B>, set: &TrainSet, settings: &TrainSettings) -> Result<()> {
    let fail = |message: String| Err(Error::Config { place: "training".into(), message });
    if set.sequences.is_empty() {
        return fail("there are no training rows".into());
    }
    if set.sequences.len() != set.targets.len() {
        return fail(format!("{} sequences but {} targets", set.sequences.len(), set.targets.len()));
    }
    if settings.epochs == 0 || settings.batch_size == 0 || settings.batch_tokens == Some(0) {
        return fail("epochs, batch_size and batch_tokens must be at least 1".into());
    }
    if !(settings.learning_rate > 0.0 && settings.learning_rate.is_finite()) {
        return fail(format!("learning_rate is {}, must be positive", settings.learning_rate));
    }
    match (model.head(), &set.targets) {
        (Head::Classification { .. }, HostTargets::Labels(_)) | (Head::QuestionAnswering, HostTargets::Spans(_)) => Ok(()),
        _ => fail("targets do not fit the head: labels go with classification, spans with question answering".into()),
    }
}
