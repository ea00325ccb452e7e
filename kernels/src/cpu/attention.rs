//! Multi-head self-attention within each packed sequence, and its gradient.
//!
//! A (sequence, head) is done in tiles of query rows, so that the scores of a tile stay in the cache and no matrix of all
//! scores exists. The backward pass recomputes the probabilities from the logarithms of their denominators.

use stepsynth_core::backend::{ATTENTION_DROPOUT_KEYS, DeviceBatch, Dropout, attention_dropout_index, expect_shape};
use stepsynth_core::{Error, Result};

use super::dropout::{WORDS, factors};
use super::rows::{LANES, dot, exponentials};
use super::tile::{Left, padded, product};
use super::{Cpu, Tensor, math, rows};

/// Scores in one tile: 32 KiB.
const TILE: usize = 8192;

/// What every (sequence, head) of one call shares.
#[derive(Clone, Copy)]
struct Call<'a> {
    cpu: &'a Cpu,
    dropout: Option<&'a Dropout>,
    heads: usize,
    /// Columns of `out`.
    hidden: usize,
    /// Columns of one head.
    size: usize,
}

/// One sequence within the packed rows.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    length: usize,
}

impl Span {
    /// Query rows in one tile.
    fn tile(self) -> usize {
        (TILE / padded(self.length)).clamp(16, 64)
    }
}

/// See [`Backend::attention`](stepsynth_core::backend::Backend::attention).
pub(super) fn forward(
    cpu: &Cpu,
    out: &mut Tensor,
    lse: &mut Tensor,
    qkv: &Tensor,
    batch: &DeviceBatch<Vec<i32>>,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Result<()> {
    let op = "attention";
    let call = call(cpu, op, out, qkv, heads, dropout)?;
    lse.expect(op, "lse", qkv.rows, heads)?;
    let spans = spans(op, batch, qkv.rows, dropout)?;
    let (mut out, mut lse) = (&mut out.data[..], &mut lse.data[..]);
    let items = spans.iter().map(|&span| {
        let out = out.split_off_mut(..span.length * call.hidden).expect("sequences cover the rows");
        let lse = lse.split_off_mut(..span.length * heads).expect("sequences cover the rows");
        let qkv = &qkv.data[span.first * 3 * call.hidden..][..span.length * 3 * call.hidden];
        (span, out, lse, qkv)
    });
    cpu.workers.run(
        items,
        #[inline(always)]
        |(span, out, lse, qkv)| sequence_forward(call, span, out, lse, qkv),
    );
    Ok(())
}

/// See [`Backend::attention_backward`](stepsynth_core::backend::Backend::attention_backward).
#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward(
    cpu: &Cpu,
    d_qkv: &mut Tensor,
    d_out: &Tensor,
    out: &Tensor,
    lse: &Tensor,
    qkv: &Tensor,
    batch: &DeviceBatch<Vec<i32>>,
    heads: usize,
    dropout: Option<&Dropout>,
) -> Result<()> {
    let op = "attention_backward";
    let call = call(cpu, op, out, qkv, heads, dropout)?;
    lse.expect(op, "lse", qkv.rows, heads)?;
    d_out.expect(op, "d_out", out.rows, out.columns)?;
    d_qkv.expect(op, "d_qkv", qkv.rows, qkv.columns)?;
    let spans = spans(op, batch, qkv.rows, dropout)?;
    let mut d_qkv = &mut d_qkv.data[..];
    let items = spans.iter().map(|&span| {
        let d_qkv = d_qkv.split_off_mut(..span.length * 3 * call.hidden).expect("sequences cover the rows");
        let rows = |tensor: &'_ Tensor| span.first * tensor.columns..(span.first + span.length) * tensor.columns;
        let inputs = Forward { qkv: &qkv.data[rows(qkv)], out: &out.data[rows(out)], lse: &lse.data[rows(lse)] };
        (span, d_qkv, &d_out.data[rows(d_out)], inputs)
    });
    cpu.workers.run(
        items,
        #[inline(always)]
        |(span, d_qkv, d_out, inputs)| sequence_backward(call, span, d_qkv, d_out, inputs),
    );
    Ok(())
}

fn call<'a>(
    cpu: &'a Cpu,
    op: &'static str,
    out: &Tensor,
    qkv: &Tensor,
    heads: usize,
    dropout: Option<&'a Dropout>,
) -> Result<Call<'a>> {
    let hidden = out.columns;
    let size = hidden.checked_div(heads).unwrap_or(0);
    if size == 0 {
        return Err(Error::Index { op, what: "number of heads", index: heads as i64, bound: hidden + 1 });
    }
    qkv.expect(op, "qkv", qkv.rows, 3 * hidden)?;
    out.expect(op, "out", qkv.rows, size * heads)?;
    Ok(Call { cpu, dropout, heads, hidden, size })
}

/// The sequences of a batch, checked to cover `rows` in order.
fn spans(op: &'static str, batch: &DeviceBatch<Vec<i32>>, rows: usize, dropout: Option<&Dropout>) -> Result<Vec<Span>> {
    let mut spans = Vec::with_capacity(batch.cu_seqlens.len());
    let mut first = 0;
    for &end in batch.cu_seqlens.iter().skip(1) {
        // Beyond the last one: no sequence is empty.
        let end = usize::try_from(end).ok().filter(|end| (first + 1..=rows).contains(end));
        let end = end.ok_or(Error::Index { op, what: "sequence boundary", index: first as i64, bound: rows })?;
        let length = end - first;
        if dropout.is_some() && length > ATTENTION_DROPOUT_KEYS {
            return Err(Error::Index { op, what: "key position", index: length as i64 - 1, bound: ATTENTION_DROPOUT_KEYS });
        }
        spans.push(Span { first, length });
        first = end;
    }
    expect_shape(op, "rows covered by sequences", (first, 1), (rows, 1))?;
    Ok(spans)
}

#[inline(always)]
fn sequence_forward(call: Call<'_>, span: Span, out: &mut [f32], lse: &mut [f32], qkv: &[f32]) {
    let (length, size, hidden, stride) = (span.length, call.size, call.hidden, 3 * call.hidden);
    let (keys, width, tile) = (padded(length), padded(size), span.tile());
    let memory = &call.cpu.memory;
    let (mut k_turned, mut v_rows) = (memory.zeroed(size * keys), memory.zeroed(length * width));
    let (mut scores, mut result) = (memory.buffer(tile * keys), memory.buffer(tile * width));
    let mut mask = memory.buffer(if call.dropout.is_some() { tile * keys } else { 0 });
    for head in 0..call.heads {
        let column = head * size;
        pack_turned(&mut k_turned, &qkv[hidden + column..], stride, length, size, call.scale());
        pack_rows(&mut v_rows, &qkv[2 * hidden + column..], stride, length, size);
        for from in (0..length).step_by(tile) {
            let rows = tile.min(length - from);
            let (scores, result) = (&mut scores[..rows * keys], &mut result[..rows * width]);
            let q = Left::Plain { data: &qkv[from * stride + column..], stride };
            product(scores, q, size, &k_turned, keys, false);
            for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                // The padding becomes exp(-inf) = 0; whole registers are cheaper than a remainder.
                scores[length..].fill(f32::NEG_INFINITY);
                let (largest, sum) = exponentials(scores);
                lse[(from + row) * call.heads + head] = largest + sum.ln();
                let inverse = 1.0 / sum;
                scores.iter_mut().for_each(|value| *value *= inverse);
            }
            if let Some(dropout) = call.dropout {
                fill_mask(&mut mask[..rows * keys], dropout, call.heads, head, span, from);
                for (value, &factor) in scores.iter_mut().zip(mask.iter()) {
                    *value *= factor;
                }
            }
            product(result, Left::Plain { data: scores, stride: keys }, length, &v_rows, width, false);
            unpack(&mut out[from * hidden + column..], hidden, result, width, size);
        }
    }
}

/// What the forward pass of one sequence read and wrote.
#[derive(Clone, Copy)]
struct Forward<'a> {
    qkv: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
}

/// With `f` the dropout factors: `d_v = (p f)^T d_out`; `d_p = d_out v^T`; `d_s = p (d_p f - d_out . out) / sqrt D`;
/// `d_q = d_s k`; `d_k = d_s^T q`.
#[inline(always)]
fn sequence_backward(call: Call<'_>, span: Span, d_qkv: &mut [f32], d_out: &[f32], forward: Forward<'_>) {
    let (length, size, hidden, stride) = (span.length, call.size, call.hidden, 3 * call.hidden);
    let (keys, width, tile) = (padded(length), padded(size), span.tile());
    let Forward { qkv, out, lse } = forward;
    let memory = &call.cpu.memory;
    let turned = || memory.zeroed(size * keys);
    let plain = || memory.zeroed(length * width);
    let (mut k_turned, mut v_turned) = (turned(), turned());
    let (mut q_rows, mut k_rows, mut d_out_rows, mut d_k, mut d_v) = (plain(), plain(), plain(), plain(), plain());
    let (mut p, mut d_s, mut d_q) = (memory.buffer(tile * keys), memory.buffer(tile * keys), memory.buffer(tile * width));
    let mut mask = memory.buffer(tile * keys);
    mask.fill(1.0);
    for head in 0..call.heads {
        let column = head * size;
        pack_turned(&mut k_turned, &qkv[hidden + column..], stride, length, size, call.scale());
        pack_turned(&mut v_turned, &qkv[2 * hidden + column..], stride, length, size, 1.0);
        pack_rows(&mut q_rows, &qkv[column..], stride, length, size);
        pack_rows(&mut k_rows, &qkv[hidden + column..], stride, length, size);
        pack_rows(&mut d_out_rows, &d_out[column..], hidden, length, size);
        d_k.fill(0.0);
        d_v.fill(0.0);
        for from in (0..length).step_by(tile) {
            let count = tile.min(length - from);
            let (p, d_s, d_q) = (&mut p[..count * keys], &mut d_s[..count * keys], &mut d_q[..count * width]);
            product(p, Left::Plain { data: &qkv[from * stride + column..], stride }, size, &k_turned, keys, false);
            product(d_s, Left::Plain { data: &d_out_rows[from * width..], stride: width }, size, &v_turned, keys, false);
            if let Some(dropout) = call.dropout {
                fill_mask(&mut mask[..count * keys], dropout, call.heads, head, span, from);
            }
            let tiles = p.chunks_exact_mut(keys).zip(d_s.chunks_exact_mut(keys)).zip(mask.chunks_exact(keys));
            for (row, ((p, d_s), mask)) in (from..).zip(tiles) {
                let lse = lse[row * call.heads + head];
                let along = dot(&d_out[row * hidden + column..][..size], &out[row * hidden + column..][..size]);
                let scale = call.scale();
                rows::map(
                    p,
                    #[inline(always)]
                    |score| math::exp(score - lse),
                );
                rows::update(
                    d_s,
                    p,
                    mask,
                    #[inline(always)]
                    |d_p, p, factor| p * (d_p * factor - along) * scale,
                );
                rows::update(
                    p,
                    mask,
                    mask,
                    #[inline(always)]
                    |p, factor, _| p * factor,
                );
            }
            product(d_q, Left::Plain { data: d_s, stride: keys }, length, &k_rows, width, false);
            unpack(&mut d_qkv[from * stride + column..], stride, d_q, width, size);
            product(&mut d_v, Left::Transposed { data: p, stride: keys }, count, &d_out_rows[from * width..], width, true);
            product(&mut d_k, Left::Transposed { data: d_s, stride: keys }, count, &q_rows[from * width..], width, true);
        }
        unpack(&mut d_qkv[hidden + column..], stride, &d_k, width, size);
        unpack(&mut d_qkv[2 * hidden + column..], stride, &d_v, width, size);
    }
}

impl Call<'_> {
    /// `1 / sqrt D`.
    fn scale(self) -> f32 {
        (1.0 / (self.size as f64).sqrt()) as f32
    }
}

/// Copies `length` rows of `size` values, `stride` apart, as the columns of `target`, multiplied by `scale`.
#[inline(always)]
fn pack_turned(target: &mut [f32], source: &[f32], stride: usize, length: usize, size: usize, scale: f32) {
    let keys = padded(length);
    for (row, source) in source.chunks(stride).take(length).enumerate() {
        for (target, &value) in target[row..].iter_mut().step_by(keys).zip(&source[..size]) {
            *target = value * scale;
        }
    }
}

/// Copies `length` rows of `size` values, `stride` apart, to rows padded to a multiple of [`LANES`].
#[inline(always)]
fn pack_rows(target: &mut [f32], source: &[f32], stride: usize, length: usize, size: usize) {
    for (target, source) in target.chunks_exact_mut(padded(size)).zip(source.chunks(stride)).take(length) {
        target[..size].copy_from_slice(&source[..size]);
    }
}

/// The reverse of [`pack_rows`], for all rows of `source`, each `width` wide.
#[inline(always)]
fn unpack(target: &mut [f32], stride: usize, source: &[f32], width: usize, size: usize) {
    for (target, source) in target.chunks_mut(stride).zip(source.chunks_exact(width)) {
        target[..size].copy_from_slice(&source[..size]);
    }
}

/// Dropout factors of the probabilities of one tile, whose first query is `from` within the sequence.
#[inline(always)]
fn fill_mask(mask: &mut [f32], dropout: &Dropout, heads: usize, head: usize, span: Span, from: usize) {
    let keys = padded(span.length);
    let per_row = span.length.div_ceil(WORDS);
    let blocks = mask.len() / keys * per_row;
    // Where each block of four keys starts, in the stream and in the tile.
    let place = |block: usize| {
        let (row, four) = (block / per_row, block % per_row);
        let start = attention_dropout_index(span.first + from + row, head, heads, four * WORDS);
        (start / WORDS as u64, row * keys + four * WORDS)
    };
    for first in (0..blocks).step_by(LANES) {
        let (mut numbers, mut places) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            (numbers[lane], places[lane]) = place((first + lane).min(blocks - 1));
        }
        let factors = factors(dropout, numbers);
        for lane in 0..LANES {
            let target = &mut mask[places[lane]..][..WORDS];
            for word in 0..WORDS {
                target[word] = factors[word][lane];
            }
        }
    }
}
