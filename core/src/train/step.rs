//! One optimizer step.

use std::ops::Range;

use super::{AdamW, HostTargets, TrainSet};
use crate::backend::{Backend, Real};
use crate::model::{Model, StepOutput, Targets};
use crate::random::Stream;
use crate::{Batch, Error, Result};

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Sum of the sequences' losses.
    pub loss_sum: f64,
    /// Sequences answered rightly.
    pub right: usize,
    /// Tokens of the batch.
    pub tokens: u64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
}

/// Forward, backward, clipping (`torch.nn.utils.clip_grad_norm_`) and update on the given rows of the training set.
///
/// # Errors
/// [`Error::Diverged`] if the loss or the gradient norm is not finite (the parameters are then unchanged), and whatever
/// the backend reports.
#[expect(clippy::too_many_arguments, reason = "a step has this many independent inputs")]
pub fn train_step<B: Backend>(
    backend: &B,
    model: &mut Model<B>,
    optimizer: &mut AdamW<B>,
    set: &TrainSet,
    rows: &[usize],
    learning_rate: f64,
    max_gradient_norm: Option<f64>,
    dropout: Option<Stream>,
) -> Result<StepReport> {
    let batch = backend.upload_batch(Batch::pack(rows.iter().map(|&row| &set.sequences[row]))?)?;
    let targets = upload_targets(backend, &set.targets, rows)?;
    let output = model.gradients(backend, &batch, &targets, dropout, optimizer.gradients())?;
    let loss_sum: f64 = backend.download(&output.losses)?.into_iter().map(Real::f64).sum();
    let gradient_norm = optimizer.gradient_norm(backend)?;
    for (what, value) in [("loss", loss_sum), ("gradient norm", gradient_norm)] {
        if !value.is_finite() {
            return Err(Error::Diverged { step: optimizer.steps_done(), what, value, learning_rate });
        }
    }
    let right = count_right(backend, &batch.host, &output, &set.targets, rows)?;
    let scale = max_gradient_norm.map_or(1.0, |limit| (limit / (gradient_norm + 1e-6)).min(1.0));
    optimizer.step(backend, model, learning_rate, scale)?;
    Ok(StepReport { loss_sum, right, tokens: batch.host.tokens() as u64, gradient_norm })
}

fn upload_targets<B: Backend>(backend: &B, targets: &HostTargets, rows: &[usize]) -> Result<Targets<B::Indices>> {
    let upload = |value: &dyn Fn(usize) -> i32| backend.upload_indices(&rows.iter().map(|&row| value(row)).collect::<Vec<_>>());
    Ok(match targets {
        HostTargets::Labels(labels) => Targets::Labels(upload(&|row| labels[row])?),
        HostTargets::Spans(spans) => Targets::Spans { starts: upload(&|row| spans[row].0)?, ends: upload(&|row| spans[row].1)? },
    })
}

fn count_right<B: Backend>(
    backend: &B,
    batch: &Batch,
    output: &StepOutput<B::Tensor>,
    targets: &HostTargets,
    rows: &[usize],
) -> Result<usize> {
    let logits: Vec<f64> = backend.download(&output.logits)?.into_iter().map(Real::f64).collect();
    let columns = backend.shape(&output.logits).1;
    Ok(match targets {
        HostTargets::Labels(labels) => {
            let predicted = logits.chunks(columns).map(|row| argmax(row.iter().copied()));
            predicted.zip(rows).filter(|&(class, &row)| class as i32 == labels[row]).count()
        }
        HostTargets::Spans(spans) => {
            let best = |tokens: Range<usize>, side: usize| argmax(tokens.map(|token| logits[2 * token + side])) as i32;
            let predicted = batch.ranges().map(|tokens| (best(tokens.clone(), 0), best(tokens, 1)));
            predicted.zip(rows).filter(|&(span, &row)| span == spans[row]).count()
        }
    })
}

/// Index of the largest value, the first of equals.
fn argmax(values: impl Iterator<Item = f64>) -> usize {
    let first = (0, f64::NEG_INFINITY);
    values.enumerate().fold(first, |best, item| if item.1 > best.1 { item } else { best }).0
}
