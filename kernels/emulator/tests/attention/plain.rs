//! Attention without tricks, in f32, with the roundings that a precision prescribes: the plain run of the tolerance.

use stepsynth_core::backend::{Dropout, attention_dropout_index};

use super::device::to_bf16;
use super::{Case, Outputs};

/// Where a run rounds to bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Nowhere.
    None,
    /// What is stored: inputs, `out`, `d_qkv`.
    Stored,
    /// Also what enters a second product: the probabilities (before they are divided by their sum, forward) and the gradients
    /// of the scores.
    Products,
}

impl Rounding {
    fn stored(self, value: f32) -> f32 {
        if self == Self::None { value } else { to_bf16(value) }
    }
    fn operand(self, value: f32) -> f32 {
        if self == Self::Products { to_bf16(value) } else { value }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f32], factor: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

/// `out`, `lse` and `d_qkv`.
pub(crate) fn run(case: &Case, dropout: Option<&Dropout>, qkv: &[f32], d_out: &[f32], rounding: Rounding) -> Outputs {
    let (size, heads, hidden) = (case.size, case.heads, case.size * case.heads);
    let qkv: Vec<f32> = qkv.iter().map(|&value| rounding.stored(value)).collect();
    let d_out: Vec<f32> = d_out.iter().map(|&value| rounding.stored(value)).collect();
    let tokens = case.tokens();
    let (mut out, mut lse, mut d_qkv) = (vec![0.0; tokens * hidden], vec![0.0; tokens * heads], vec![0.0; tokens * 3 * hidden]);
    let scale = 1.0 / (size as f32).sqrt();
    let keep_scale = dropout.map_or(1.0, |dropout| dropout.scale as f32);
    let mut begin = 0;
    for &length in case.lengths {
        for head in 0..heads {
            let at = |which: usize, row: usize| (begin + row) * 3 * hidden + which * hidden + head * size;
            let row = |which: usize, row: usize| &qkv[at(which, row)..][..size];
            for i in 0..length {
                let kept: Vec<f32> = (0..length)
                    .map(|j| {
                        let index = attention_dropout_index(begin + i, head, heads, j);
                        f32::from(u8::from(dropout.is_none_or(|dropout| dropout.factor(index) > 0.0)))
                    })
                    .collect();
                let scores: Vec<f32> = (0..length).map(|j| dot(row(0, i), row(1, j)) * scale).collect();
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f32 = powers.iter().sum();
                let log_sum = largest + sum.ln();
                lse[(begin + i) * heads + head] = log_sum;
                let mut result = vec![0.0; size];
                for j in 0..length {
                    add(&mut result, rounding.operand(powers[j]) * kept[j], row(2, j));
                }
                result.iter_mut().for_each(|value| *value = rounding.stored(*value * keep_scale / sum));
                let columns = (begin + i) * hidden + head * size..(begin + i) * hidden + (head + 1) * size;
                let d_result = &d_out[columns.clone()];
                let delta = dot(d_result, &result);
                out[columns].copy_from_slice(&result);
                for j in 0..length {
                    let p = (scores[j] - log_sum).exp();
                    let d_p = dot(d_result, row(2, j)) * kept[j] * keep_scale;
                    let d_score = rounding.operand(p * (d_p - delta));
                    add(&mut d_qkv[at(0, i)..][..size], d_score * scale, row(1, j));
                    add(&mut d_qkv[at(1, j)..][..size], d_score * scale, row(0, i));
                    add(&mut d_qkv[at(2, j)..][..size], rounding.operand(p) * kept[j] * keep_scale, d_result);
                }
            }
        }
        begin += length;
    }
    d_qkv.iter_mut().for_each(|value| *value = rounding.stored(*value));
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    [wide(out), wide(lse), wide(d_qkv)]
}
