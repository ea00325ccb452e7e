//! Multi-head self-attention within each packed sequence, and its gradient.
//!
//! A (sequence, head) is one piece of work. It is done in tiles of query rows by keys, so that the scores of a tile stay in the
//! cache and no matrix of all scores exists: the forward pass carries the largest score and the sum of each row from tile to
//! tile, the backward pass recomputes the probabilities from the logarithms of their denominators.

mod backward;
mod forward;

use std::ops::Range;
use std::sync::Mutex;

use stepsynth_core::backend::{ATTENTION_DROPOUT_KEYS, DeviceBatch, Dropout, attention_dropout_index, expect_shape};
use stepsynth_core::{Error, Result};

use super::dropout::{WORDS, factors};
use super::rows::LANES;
use super::tile::{Block, ROWS};
use super::{Cpu, Tensor};

/// Query rows in one tile.
const TILE_ROWS: usize = 64;
/// Keys in one tile; with the rows, 64 KiB of scores.
const TILE_KEYS: usize = 256;
/// Blocks in the largest tile.
const TILE_BLOCKS: usize = (TILE_ROWS + ROWS) * TILE_KEYS / LANES;

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
    /// Where its rows are in a tensor.
    fn of(self, tensor: &Tensor) -> Range<usize> {
        self.first * tensor.columns..(self.first + self.length) * tensor.columns
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
    let outputs = spans.iter().map(|span| {
        let out = out.split_off_mut(..span.length * call.hidden).expect("sequences cover the rows");
        let lse = lse.split_off_mut(..span.length * heads).expect("sequences cover the rows");
        Mutex::new(forward::Output { out, lse })
    });
    let outputs: Vec<_> = outputs.collect();
    cpu.workers.run(pieces(&spans, heads, &outputs), |(head, span, output)| {
        forward::head(call, span, head, &qkv.data[span.of(qkv)], output)
    });
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
    let outputs = spans
        .iter()
        .map(|span| Mutex::new(d_qkv.split_off_mut(..span.length * 3 * call.hidden).expect("sequences cover the rows")));
    let outputs: Vec<_> = outputs.collect();
    cpu.workers.run(pieces(&spans, heads, &outputs), |(head, span, d_qkv)| {
        let inputs =
            backward::Inputs { qkv: &qkv.data[span.of(qkv)], lse: &lse.data[span.of(lse)], d_out: &d_out.data[span.of(d_out)] };
        backward::head(call, span, head, inputs, d_qkv);
    });
    Ok(())
}

/// One piece of work for each sequence and head. The heads of a sequence read and write columns of the same rows: one after the
/// other finds them in the caches, and they write under a lock, for safe code cannot share out columns.
fn pieces<'a, T>(
    spans: &'a [Span],
    heads: usize,
    outputs: &'a [Mutex<T>],
) -> impl Iterator<Item = (usize, Span, &'a Mutex<T>)> + use<'a, T> {
    spans.iter().zip(outputs).flat_map(move |(&span, output)| (0..heads).map(move |head| (head, span, output)))
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

impl Call<'_> {
    /// `1 / sqrt D`.
    fn scale(self) -> f32 {
        (1.0 / (self.size as f64).sqrt()) as f32
    }

    /// Dropout factors of [`RUN`](super::dropout::RUN) probabilities: those of a query row of a sequence for the keys from `key`
    /// on.
    #[inline(always)]
    fn factors(self, span: Span, row: usize, head: usize, key: usize) -> [Block; 2] {
        match self.dropout {
            Some(dropout) => {
                let start = attention_dropout_index(span.first + row, head, self.heads, key);
                factors(dropout, start / WORDS as u64)
            }
            None => [[1.0; LANES]; 2],
        }
    }
}

/// Blocks between the panels of a tile of so many rows: at least the padded rows, and no multiple of sixteen, with which the
/// blocks of one row would fall on few sets of the cache.
fn spacing(rows: usize) -> usize {
    let padded = rows.next_multiple_of(ROWS);
    if padded.is_multiple_of(LANES) { padded + ROWS } else { padded }
}

/// Makes the scores of a tile's last panel zero probabilities beyond the last key of the sequence.
#[inline(always)]
fn hide_padding(last_panel: &mut [Block], keys: usize) {
    for block in last_panel {
        block[keys..].fill(f32::NEG_INFINITY);
    }
}
