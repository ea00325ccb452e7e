//! One head of one sequence, forward.

use std::sync::{Mutex, PoisonError};

use super::super::dropout::RUN;
use super::super::math;
use super::super::rows::{LANES, fold, total};
use super::super::tile::{Block, Panels, PanelsMut, ROWS, Source, multiply, pack, pack_transposed, unpack};
use super::{Call, Span, TILE_BLOCKS, TILE_KEYS, TILE_ROWS, hide_padding, spacing};

/// The rows of one sequence.
pub(super) struct Output<'a> {
    pub(super) out: &'a mut [f32],
    pub(super) lse: &'a mut [f32],
}

/// The softmax of each row of a tile after some of its keys.
struct Running {
    /// Largest score.
    largest: [f32; TILE_ROWS],
    /// Sum of `exp(score - largest)`.
    sum: [f32; TILE_ROWS],
    /// What results of earlier keys have to be multiplied by because of the last ones.
    correction: [f32; TILE_ROWS],
}

pub(super) fn head(call: Call<'_>, span: Span, head: usize, qkv: &[f32], output: &Mutex<Output<'_>>) {
    let (length, size, hidden) = (span.length, call.size, call.hidden);
    let column = head * size;
    let panels = size.div_ceil(LANES);
    let (depth, high, keys) = (panels * LANES, length.next_multiple_of(ROWS), length.next_multiple_of(LANES));
    let (memory, vectors) = (&call.cpu.memory, call.cpu.workers.vectors());
    let turned = keys / LANES * depth;
    let mut store = memory.buffer(LANES * (panels * (2 * high + keys) + turned + TILE_BLOCKS));
    let mut blocks = store.as_chunks_mut::<LANES>().0;
    let mut take = |count| blocks.split_off_mut(..count).expect("the buffer is as large as its parts");
    let (q, result, k, v, scores) =
        (take(panels * high), take(panels * high), take(turned), take(panels * keys), take(TILE_BLOCKS));
    let source = |part: usize| Source { values: &qkv[part * hidden + column..], stride: 3 * hidden, length, size };
    pack(vectors, q, high, source(0), call.scale());
    pack_transposed(vectors, k, depth, source(1));
    pack(vectors, v, keys, source(2), 1.0);
    let (q, k, v) = (Panels::new(q, high), Panels::new(k, depth), Panels::new(v, keys));
    let mut totals = memory.buffer(2 * length);
    let (inverses, logarithms) = totals.split_at_mut(length);
    for from in (0..length).step_by(TILE_ROWS) {
        let rows = TILE_ROWS.min(length - from);
        let (padded, tall) = (rows.next_multiple_of(ROWS), spacing(rows));
        let (empty, none) = ([f32::NEG_INFINITY; TILE_ROWS], [0.0; TILE_ROWS]);
        let mut state = Running { largest: empty, sum: none, correction: none };
        for key in (0..length).step_by(TILE_KEYS) {
            let wide = (length - key).min(TILE_KEYS).div_ceil(LANES);
            let scores = &mut scores[..wide * tall];
            let target = PanelsMut::new(scores, tall, 0);
            multiply(vectors, target, q.part(from, 0), k.part(0, key / LANES), (padded, wide, panels), false);
            if key + wide * LANES > length {
                hide_padding(&mut scores[(wide - 1) * tall..][..rows], length % LANES);
            }
            softmax(call, span, head, (&mut *scores, tall), (from..from + rows, key), &mut state);
            if key > 0 {
                for panel in result.chunks_exact_mut(high) {
                    for (block, correction) in panel[from..from + rows].iter_mut().zip(state.correction) {
                        block.iter_mut().for_each(|value| *value *= correction);
                    }
                }
            }
            let target = PanelsMut::new(result, high, from);
            multiply(vectors, target, Panels::new(scores, tall), v.part(key, 0), (padded, panels, wide), key > 0);
        }
        for (row, (largest, sum)) in (from..from + rows).zip(state.largest.into_iter().zip(state.sum)) {
            inverses[row] = 1.0 / sum;
            logarithms[row] = largest + sum.ln();
        }
    }
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    unpack(vectors, &mut output.out[column..], hidden, result, (high, size), |row| inverses[row]);
    for (lse, &logarithm) in output.lse[head..].iter_mut().step_by(call.heads).zip(logarithms.iter()) {
        *lse = logarithm;
    }
}

/// Turns the scores of some rows for the keys from `key` on into `f exp(score - largest)`, with the largest scores so far and
/// the dropout factors `f`. Panels are `tall` blocks apart.
#[inline(never)]
fn softmax(
    call: Call<'_>,
    span: Span,
    head: usize,
    (scores, tall): (&mut [Block], usize),
    (rows, key): (std::ops::Range<usize>, usize),
    state: &mut Running,
) {
    call.cpu.workers.once(
        (scores, state),
        #[inline(always)]
        |(scores, state)| {
            for (index, row) in rows.clone().enumerate() {
                let scores = &mut scores[index..];
                let mut lanes = [state.largest[index]; LANES];
                for block in scores.iter().step_by(tall) {
                    for lane in 0..LANES {
                        // Not a number counts as no larger, and reaches the result through the sum.
                        lanes[lane] = if block[lane] > lanes[lane] { block[lane] } else { lanes[lane] };
                    }
                }
                let largest = fold(
                    lanes,
                    #[inline(always)]
                    |a, b| if b > a { b } else { a },
                );
                let mut sums = [0.0; LANES];
                for (pair, first) in (0..scores.len()).step_by(2 * tall).enumerate() {
                    let factors = call.factors(span, row, head, key + pair * RUN);
                    for (half, block) in scores[first..].iter_mut().step_by(tall).take(2).enumerate() {
                        let mut result = [0.0; LANES];
                        for lane in 0..LANES {
                            let value = math::exp(block[lane] - largest);
                            sums[lane] += value;
                            result[lane] = value * factors[half][lane];
                        }
                        *block = result;
                    }
                }
                let sum = total(sums);
                let correction = math::exp(state.largest[index] - largest);
                state.correction[index] = correction;
                state.sum[index] = state.sum[index].mul_add(correction, sum);
                state.largest[index] = largest;
            }
        },
    );
}
