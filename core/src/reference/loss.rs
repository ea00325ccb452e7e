//! Cross-entropy over classes and over the tokens of a sequence.

use ndarray::Array2;

use super::ReferenceReal;
use crate::backend::{expect_index, expect_shape};
use crate::{Batch, Result};

pub(super) fn cross_entropy<T: ReferenceReal>(
    losses: &mut Array2<T>,
    d_logits: &mut Array2<T>,
    logits: &Array2<T>,
    labels: &[i32],
) -> Result<()> {
    let (rows, classes) = logits.dim();
    expect_shape("cross_entropy", "labels", (labels.len(), 1), (rows, 1))?;
    expect_shape("cross_entropy", "losses", losses.dim(), (rows, 1))?;
    expect_shape("cross_entropy", "d_logits", d_logits.dim(), (rows, classes))?;
    for (row, &label) in labels.iter().enumerate() {
        let label = expect_index("cross_entropy", "label", label, classes)?;
        let scores: Vec<T> = logits.row(row).to_vec();
        let (loss, gradient) = softmax_loss(&scores, label);
        losses[[row, 0]] = loss;
        for (class, value) in gradient.into_iter().enumerate() {
            d_logits[[row, class]] = value / T::of(rows as f64);
        }
    }
    Ok(())
}

pub(super) fn span<T: ReferenceReal>(
    losses: &mut Array2<T>,
    d_logits: &mut Array2<T>,
    logits: &Array2<T>,
    batch: &Batch,
    starts: &[i32],
    ends: &[i32],
) -> Result<()> {
    let sequences = batch.sequences();
    expect_shape("span_loss", "logits", logits.dim(), (batch.tokens(), 2))?;
    expect_shape("span_loss", "d_logits", d_logits.dim(), (batch.tokens(), 2))?;
    expect_shape("span_loss", "losses", losses.dim(), (sequences, 1))?;
    expect_shape("span_loss", "starts and ends", (starts.len(), ends.len()), (sequences, sequences))?;
    for (sequence, rows) in batch.ranges().enumerate() {
        let mut total = T::zero();
        for (column, position) in [starts[sequence], ends[sequence]].into_iter().enumerate() {
            let position = expect_index("span_loss", "answer position", position, rows.len())?;
            let scores: Vec<T> = rows.clone().map(|row| logits[[row, column]]).collect();
            let (loss, gradient) = softmax_loss(&scores, position);
            total += loss;
            for (row, value) in rows.clone().zip(gradient) {
                d_logits[[row, column]] = value / T::of(2.0 * sequences as f64);
            }
        }
        losses[[sequence, 0]] = total / T::of(2.0);
    }
    Ok(())
}

/// `-log softmax(scores)[target]` and its gradient `softmax - onehot`.
fn softmax_loss<T: ReferenceReal>(scores: &[T], target: usize) -> (T, Vec<T>) {
    let largest = scores.iter().copied().fold(T::neg_infinity(), T::max);
    let exponentials: Vec<T> = scores.iter().map(|&score| (score - largest).exp()).collect();
    let sum: T = exponentials.iter().copied().sum();
    let mut gradient: Vec<T> = exponentials.iter().map(|&value| value / sum).collect();
    gradient[target] -= T::one();
    (sum.ln() + largest - scores[target], gradient)
}
