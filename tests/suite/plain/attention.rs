//! Attention in f32 with the operands of every product rounded to bfloat16: the probabilities before they are divided by their
//! sum (forward), the probabilities and the gradients of the scores (backward). Queries, keys and values are stored so.

use std::ops::Range;

use ndarray::{Array2, Axis, s};
use stepsynth_core::Batch;
use stepsynth_core::backend::{Dropout, attention_dropout_index};

use super::{Tensor, rounded};

/// One head of one sequence.
struct Piece {
    rows: Range<usize>,
    head: usize,
    heads: usize,
    size: usize,
}

fn pieces(batch: &Batch, heads: usize, hidden: usize) -> impl Iterator<Item = Piece> + '_ {
    let of_head =
        move |rows: Range<usize>| (0..heads).map(move |head| Piece { rows: rows.clone(), head, heads, size: hidden / heads });
    batch.ranges().flat_map(of_head)
}

impl Piece {
    fn columns(&self, which: usize) -> Range<usize> {
        let first = (which * self.heads + self.head) * self.size;
        first..first + self.size
    }

    /// Queries, keys or values.
    fn of(&self, tensor: &Tensor, which: usize) -> Tensor {
        tensor.slice(s![self.rows.clone(), self.columns(which)]).to_owned()
    }

    fn put(&self, tensor: &mut Tensor, which: usize, values: &Tensor) {
        tensor.slice_mut(s![self.rows.clone(), self.columns(which)]).assign(values);
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    fn scores(&self, qkv: &Tensor) -> Tensor {
        self.of(qkv, 0).dot(&self.of(qkv, 1).t()) * self.scale()
    }

    /// The factor of each probability.
    fn factors(&self, dropout: Option<&Dropout>) -> Tensor {
        let length = self.rows.len();
        Array2::from_shape_fn((length, length), |(row, key)| {
            let index = attention_dropout_index(self.rows.start + row, self.head, self.heads, key);
            dropout.map_or(1.0, |dropout| dropout.factor(index) as f32)
        })
    }
}

pub(super) fn forward(out: &mut Tensor, lse: &mut Tensor, qkv: &Tensor, batch: &Batch, heads: usize, dropout: Option<&Dropout>) {
    for piece in pieces(batch, heads, out.ncols()) {
        let mut powers = piece.scores(qkv);
        let mut sums = Array2::zeros((powers.nrows(), 1));
        for (row, mut scores) in powers.rows_mut().into_iter().enumerate() {
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.mapv_inplace(|score| (score - largest).exp());
            sums[[row, 0]] = scores.sum();
            lse[[piece.rows.start + row, piece.head]] = largest + sums[[row, 0]].ln();
        }
        let mixed = (rounded(&powers) * piece.factors(dropout)).dot(&piece.of(qkv, 2));
        piece.put(out, 0, &(mixed / sums));
    }
}

pub(super) fn backward(
    d_qkv: &mut Tensor,
    d_out: &Tensor,
    [out, lse, qkv]: [&Tensor; 3],
    batch: &Batch,
    heads: usize,
    dropout: Option<&Dropout>,
) {
    for piece in pieces(batch, heads, out.ncols()) {
        let log_sums = lse.slice(s![piece.rows.clone(), piece.head..piece.head + 1]).to_owned();
        let p = (piece.scores(qkv) - log_sums).exp();
        let (factors, d_result) = (piece.factors(dropout), piece.of(d_out, 0));
        let delta = (&d_result * &piece.of(out, 0)).sum_axis(Axis(1)).insert_axis(Axis(1));
        let d_p = d_result.dot(&piece.of(qkv, 2).t()) * &factors;
        let d_scores = rounded(&(&p * &(d_p - delta)));
        piece.put(d_qkv, 0, &(d_scores.dot(&piece.of(qkv, 1)) * piece.scale()));
        piece.put(d_qkv, 1, &(d_scores.t().dot(&piece.of(qkv, 0)) * piece.scale()));
        piece.put(d_qkv, 2, &(rounded(&p) * factors).t().dot(&d_result));
    }
}
