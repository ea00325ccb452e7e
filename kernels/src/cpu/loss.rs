//! Cross-entropy over classes and over the tokens of a sequence, with gradients.

use stepsynth_core::backend::{DeviceBatch, expect_index, expect_shape};
use stepsynth_core::{Error, Result};

use super::{Cpu, Tensor, rows};

/// `losses[b] = -log softmax(logits[b])[labels[b]]`, `d_logits = (softmax - onehot) / B`.
pub(super) fn cross_entropy(
    cpu: &Cpu,
    losses: &mut Tensor,
    d_logits: &mut Tensor,
    logits: &Tensor,
    labels: &[i32],
) -> Result<()> {
    let op = "cross_entropy";
    let (count, classes) = logits.shape();
    expect_shape(op, "labels", (labels.len(), 1), (count, 1))?;
    losses.expect(op, "losses", count, 1)?;
    d_logits.expect(op, "d_logits", count, classes)?;
    for &label in labels {
        expect_index(op, "label", label, classes)?;
    }
    d_logits.data.copy_from_slice(&logits.data);
    cpu.workers.once(
        d_logits.data.chunks_exact_mut(classes.max(1)).zip(losses.data.iter_mut()),
        #[inline(always)]
        |rows| {
            for ((scores, loss), &label) in rows.zip(labels) {
                *loss = softmax_loss(scores, label as usize, 1.0 / count as f32);
            }
        },
    );
    Ok(())
}

/// The mean of the cross-entropies of start and end over the tokens of each sequence; see
/// [`Backend::span_loss`](stepsynth_core::backend::Backend::span_loss).
pub(super) fn span(
    cpu: &Cpu,
    losses: &mut Tensor,
    d_logits: &mut Tensor,
    logits: &Tensor,
    batch: &DeviceBatch<Vec<i32>>,
    starts: &[i32],
    ends: &[i32],
) -> Result<()> {
    let op = "span_loss";
    let sequences = batch.cu_seqlens.len().saturating_sub(1);
    let tokens = batch.ids.len();
    logits.expect(op, "logits", tokens, 2)?;
    d_logits.expect(op, "d_logits", tokens, 2)?;
    losses.expect(op, "losses", sequences, 1)?;
    expect_shape(op, "starts and ends", (starts.len(), ends.len()), (sequences, sequences))?;
    let mut scores = cpu.memory.buffer(tokens);
    for (sequence, bounds) in batch.cu_seqlens.windows(2).enumerate() {
        let rows = usize::try_from(bounds[0]).ok().zip(usize::try_from(bounds[1]).ok()).map(|(from, to)| from..to);
        let rows = rows.filter(|rows| rows.start <= rows.end && rows.end <= tokens);
        let rows = rows.ok_or(Error::Index { op, what: "sequence boundary", index: bounds[1].into(), bound: tokens })?;
        let mut total = 0.0;
        for (column, position) in [starts[sequence], ends[sequence]].into_iter().enumerate() {
            let position = expect_index(op, "answer position", position, rows.len())?;
            let scores = &mut scores[..rows.len()];
            let from = &logits.data[2 * rows.start..2 * rows.end];
            for (score, pair) in scores.iter_mut().zip(from.as_chunks::<2>().0) {
                *score = pair[column];
            }
            total += cpu.workers.once(
                &mut *scores,
                #[inline(always)]
                |scores| softmax_loss(scores, position, 0.5 / sequences as f32),
            );
            let to = &mut d_logits.data[2 * rows.start..2 * rows.end];
            for (&score, pair) in scores.iter().zip(to.as_chunks_mut::<2>().0) {
                pair[column] = score;
            }
        }
        losses.data[sequence] = total / 2.0;
    }
    Ok(())
}

/// Returns `-log softmax(scores)[target]` and replaces the scores by its gradient times `weight`.
#[inline(always)]
fn softmax_loss(scores: &mut [f32], target: usize, weight: f32) -> f32 {
    let score = scores[target];
    let (largest, sum) = rows::exponentials(scores);
    for value in scores.iter_mut() {
        *value /= sum;
    }
    // `p - 1` as what the others have together: the gradients then cancel, whose sum is that of a bias.
    scores[target] = 0.0;
    scores[target] = -rows::sum(scores);
    for value in scores.iter_mut() {
        *value *= weight;
    }
    sum.ln() + (largest - score)
}
