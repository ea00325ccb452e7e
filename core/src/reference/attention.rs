//! Multi-head self-attention over packed rows, with the probability matrix written out.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};

use super::ReferenceReal;
use crate::backend::{Dropout, attention_dropout_index, expect_shape};
use crate::{Batch, Result};

/// One (sequence, head): its rows and its columns of `q`, `k` and `v`.
struct Block<'a, T> {
    rows: Range<usize>,
    q: ArrayView2<'a, T>,
    k: ArrayView2<'a, T>,
    v: ArrayView2<'a, T>,
    /// Softmax of the scaled scores, before dropout.
    probabilities: Array2<T>,
    /// Dropout factors.
    mask: Array2<T>,
    /// Logarithm of each row's denominator.
    lse: Vec<T>,
    scale: T,
}

fn block<'a, T: ReferenceReal>(
    qkv: &'a Array2<T>,
    rows: Range<usize>,
    head: usize,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Block<'a, T> {
    let hidden = qkv.ncols() / 3;
    let size = hidden / heads;
    let part = |which: usize| {
        let from = which * hidden + head * size;
        qkv.slice(s![rows.clone(), from..from + size])
    };
    let (q, k, v) = (part(0), part(1), part(2));
    let scale = T::of(1.0 / (size as f64).sqrt());
    let mut probabilities = q.dot(&k.t()) * scale;
    let mut lse = Vec::with_capacity(rows.len());
    for mut row in probabilities.axis_iter_mut(Axis(0)) {
        let largest = row.iter().copied().fold(T::neg_infinity(), T::max);
        row.mapv_inplace(|score| (score - largest).exp());
        let sum = row.sum();
        row.mapv_inplace(|value| value / sum);
        lse.push(largest + sum.ln());
    }
    let mask = Array2::from_shape_fn((rows.len(), rows.len()), |(query, key)| {
        let index = attention_dropout_index(rows.start + query, head, heads, key);
        dropout.map_or(T::one(), |dropout| T::of(dropout.factor(index)))
    });
    Block { rows, q, k, v, probabilities, mask, lse, scale }
}

pub(super) fn forward<T: ReferenceReal>(
    out: &mut Array2<T>,
    lse: &mut Array2<T>,
    qkv: &Array2<T>,
    batch: &Batch,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Result<()> {
    let hidden = out.ncols();
    expect_shape("attention", "qkv", qkv.dim(), (batch.tokens(), 3 * hidden))?;
    expect_shape("attention", "out", out.dim(), (batch.tokens(), hidden / heads * heads))?;
    expect_shape("attention", "lse", lse.dim(), (batch.tokens(), heads))?;
    let size = hidden / heads;
    for rows in batch.ranges() {
        for head in 0..heads {
            let block = block(qkv, rows.clone(), head, heads, dropout);
            let result = (&block.probabilities * &block.mask).dot(&block.v);
            out.slice_mut(s![rows.clone(), head * size..(head + 1) * size]).assign(&result);
            for (row, value) in block.rows.zip(block.lse) {
                lse[[row, head]] = value;
            }
        }
    }
    Ok(())
}

pub(super) fn backward<T: ReferenceReal>(
    d_qkv: &mut Array2<T>,
    d_out: &Array2<T>,
    qkv: &Array2<T>,
    batch: &Batch,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Result<()> {
    let hidden = d_out.ncols();
    expect_shape("attention_backward", "qkv", qkv.dim(), (batch.tokens(), 3 * hidden))?;
    expect_shape("attention_backward", "d_qkv", d_qkv.dim(), qkv.dim())?;
    expect_shape("attention_backward", "d_out", d_out.dim(), (batch.tokens(), hidden / heads * heads))?;
    let size = hidden / heads;
    for rows in batch.ranges() {
        for head in 0..heads {
            let block = block(qkv, rows.clone(), head, heads, dropout);
            let columns = head * size..(head + 1) * size;
            let d_result = d_out.slice(s![rows.clone(), columns]);
            let dropped = &block.probabilities * &block.mask;
            let d_probabilities = d_result.dot(&block.v.t()) * &block.mask;
            // Softmax: d_s = p (d_p - sum_m p_m d_p_m).
            let along = (&block.probabilities * &d_probabilities).sum_axis(Axis(1)).insert_axis(Axis(1));
            let d_scores = &block.probabilities * &(&d_probabilities - &along) * block.scale;
            let mut put = |which: usize, value: Array2<T>| {
                let from = which * hidden + head * size;
                d_qkv.slice_mut(s![rows.clone(), from..from + size]).assign(&value);
            };
            put(0, d_scores.dot(&block.k));
            put(1, d_scores.t().dot(&block.q));
            put(2, dropped.t().dot(&d_result));
        }
    }
    Ok(())
}
