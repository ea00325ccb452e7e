//! One head of one sequence, backward.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::super::dropout::RUN;
use super::super::math;
use super::super::rows::{LANES, total};
use super::super::tile::{Block, Panels, PanelsMut, ROWS, Source, add_transposed, multiply, pack, pack_transposed, unpack};
use super::{Call, Span, TILE_ROWS, hide_padding, spacing};

/// Scores in one tile of whole rows: 128 KiB.
const TILE: usize = 32_768;
/// Fewest query rows in one tile.
const FEWEST_ROWS: usize = 16;

/// What the forward pass of one sequence read and wrote, and the gradient of its result.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) qkv: &'a [f32],
    pub(super) lse: &'a [f32],
    pub(super) d_out: &'a [f32],
}

/// With `f` the dropout factors and `q` scaled: `d_v = (p f)^T d_out`; `d_p = d_out v^T`; `d_s = p (d_p f - sum p d_p f)`;
/// `d_q = d_s k / sqrt D`; `d_k = d_s^T q`.
///
/// Tiles hold whole rows, fewer of longer ones, and the sum is taken over the row: `d_out . out` is the same but for rounding,
/// and then a row of `d_s` does not cancel, whose sum is the gradient of a bias of the keys.
pub(super) fn head(call: Call<'_>, span: Span, head: usize, inputs: Inputs<'_>, d_qkv: &Mutex<&mut [f32]>) {
    let (length, size, hidden) = (span.length, call.size, call.hidden);
    let (column, stride) = (head * size, 3 * hidden);
    let Inputs { qkv, lse, d_out } = inputs;
    let panels = size.div_ceil(LANES);
    let (depth, high, keys) = (panels * LANES, length.next_multiple_of(ROWS), length.next_multiple_of(LANES));
    let (memory, vectors) = (&call.cpu.memory, call.cpu.workers.vectors());
    let (turned, wide) = (keys / LANES * depth, keys / LANES);
    let tile_rows = (TILE / keys).clamp(FEWEST_ROWS, TILE_ROWS);
    let tile = wide * spacing(tile_rows);
    let mut store = memory.buffer(LANES * (panels * 3 * (high + keys) + 2 * turned + 2 * tile));
    let mut blocks = store.as_chunks_mut::<LANES>().0;
    let mut take = |count| blocks.split_off_mut(..count).expect("the buffer is as large as its parts");
    let (q, d_result, d_q) = (take(panels * high), take(panels * high), take(panels * high));
    let (k, d_k, d_v) = (take(panels * keys), take(panels * keys), take(panels * keys));
    let (k_turned, v_turned, p, d_s) = (take(turned), take(turned), take(tile), take(tile));
    let source = |part: usize| Source { values: &qkv[part * hidden + column..], stride, length, size };
    let d_source = Source { values: &d_out[column..], stride: hidden, length, size };
    pack(vectors, q, high, source(0), call.scale());
    pack(vectors, d_result, high, d_source, 1.0);
    pack(vectors, k, keys, source(1), 1.0);
    pack_transposed(vectors, k_turned, depth, source(1));
    pack_transposed(vectors, v_turned, depth, source(2));
    d_k.fill([0.0; LANES]);
    d_v.fill([0.0; LANES]);
    let mut logarithms = memory.buffer(length);
    for (logarithm, &lse) in logarithms.iter_mut().zip(lse[head..].iter().step_by(call.heads)) {
        *logarithm = lse;
    }
    let (q, d_result, k) = (Panels::new(q, high), Panels::new(d_result, high), Panels::new(k, keys));
    let (k_turned, v_turned) = (Panels::new(k_turned, depth), Panels::new(v_turned, depth));
    for from in (0..length).step_by(tile_rows) {
        let rows = tile_rows.min(length - from);
        let (padded, tall) = (rows.next_multiple_of(ROWS), spacing(rows));
        let (q, d_result) = (q.part(from, 0), d_result.part(from, 0));
        let (p, d_s) = (&mut p[..wide * tall], &mut d_s[..wide * tall]);
        multiply(vectors, PanelsMut::new(p, tall, 0), q, k_turned, (padded, wide, panels), false);
        multiply(vectors, PanelsMut::new(d_s, tall, 0), d_result, v_turned, (padded, wide, panels), false);
        if keys > length {
            hide_padding(&mut p[(wide - 1) * tall..][..rows], length % LANES);
        }
        softmax(call, span, head, (&mut *p, &mut *d_s, tall), from..from + rows, &logarithms);
        let (p, d_s) = (Panels::new(p, tall), Panels::new(d_s, tall));
        multiply(vectors, PanelsMut::new(d_q, high, from), d_s, k, (padded, panels, wide), false);
        add_transposed(vectors, PanelsMut::new(d_v, keys, 0), p, d_result, (rows, wide, panels));
        add_transposed(vectors, PanelsMut::new(d_k, keys, 0), d_s, q, (rows, wide, panels));
    }
    let scale = call.scale();
    let mut d_qkv = d_qkv.lock().unwrap_or_else(PoisonError::into_inner);
    unpack(vectors, &mut d_qkv[column..], stride, d_q, (high, size), |_| scale);
    unpack(vectors, &mut d_qkv[hidden + column..], stride, d_k, (keys, size), |_| 1.0);
    unpack(vectors, &mut d_qkv[2 * hidden + column..], stride, d_v, (keys, size), |_| 1.0);
}

/// Turns the scores of some rows into `p f`, and `d_p` beside them into `d_s`. Panels are `tall` blocks apart.
fn softmax(
    call: Call<'_>,
    span: Span,
    head: usize,
    (scores, d_p, tall): (&mut [Block], &mut [Block], usize),
    rows: Range<usize>,
    logarithms: &[f32],
) {
    let mut sums = [(0.0, 0.0); TILE_ROWS];
    let sums = &mut sums[..rows.len()];
    probabilities(call, span, head, (&mut *scores, &mut *d_p, tall), rows, logarithms, sums);
    gradients(call, (scores, d_p, tall), sums);
}

/// Turns scores into `p`, negative where it is dropped, and `d_p` into `d_p f`; of each row, returns the sums of `p` and of
/// `p d_p f`.
#[inline(never)]
fn probabilities(
    call: Call<'_>,
    span: Span,
    head: usize,
    (scores, d_p, tall): (&mut [Block], &mut [Block], usize),
    rows: Range<usize>,
    logarithms: &[f32],
    totals: &mut [(f32, f32)],
) {
    call.cpu.workers.once(
        (scores, d_p, totals),
        #[inline(always)]
        |(scores, d_p, totals)| {
            for ((index, row), totals) in rows.clone().enumerate().zip(totals) {
                let logarithm = logarithms[row];
                let (scores, d_p) = (&mut scores[index..], &mut d_p[index..]);
                let (mut sums, mut products) = ([0.0; LANES], [0.0; LANES]);
                for (pair, first) in (0..scores.len()).step_by(2 * tall).enumerate() {
                    let factors = call.factors(span, row, head, pair * RUN);
                    let blocks = scores[first..].iter_mut().step_by(tall).zip(d_p[first..].iter_mut().step_by(tall));
                    for (half, (score, d_p)) in blocks.take(2).enumerate() {
                        let (mut signed, mut scaled) = ([0.0; LANES], [0.0; LANES]);
                        for lane in 0..LANES {
                            let factor = factors[half][lane];
                            let p = math::exp(score[lane] - logarithm);
                            sums[lane] += p;
                            scaled[lane] = d_p[lane] * factor;
                            products[lane] = p.mul_add(scaled[lane], products[lane]);
                            // A factor is 0 or at least 1.
                            signed[lane] = p.copysign(factor - 0.5);
                        }
                        (*score, *d_p) = (signed, scaled);
                    }
                }
                *totals = (total(sums), total(products));
            }
        },
    );
}

/// Finishes what [`probabilities`] began.
#[inline(never)]
fn gradients(call: Call<'_>, (scores, d_p, tall): (&mut [Block], &mut [Block], usize), totals: &[(f32, f32)]) {
    let kept = call.dropout.map_or(1.0, |dropout| dropout.scale as f32);
    call.cpu.workers.once(
        (scores, d_p),
        #[inline(always)]
        |(scores, d_p)| {
            for (scores, d_p) in scores.chunks_exact_mut(tall).zip(d_p.chunks_exact_mut(tall)) {
                for ((score, d_p), &(sum, product)) in scores.iter_mut().zip(d_p).zip(totals) {
                    // The sum is 1 but for the rounding of the logarithm, of which a unit is some 5e-7: an error that a whole
                    // row would share, and so add up. With it `d_s` sums to zero, too.
                    let share = 1.0 / sum;
                    let (along, kept) = (product * share, kept * share);
                    // Each in a loop of its own, which the compiler keeps in whole registers.
                    let (mut p, mut d_s) = (*score, *d_p);
                    for lane in 0..LANES {
                        d_s[lane] = p[lane].abs() * share * (d_s[lane] - along);
                    }
                    for p in &mut p {
                        // Not a number is not below zero, and stays.
                        *p = if *p < 0.0 { 0.0 } else { *p } * kept;
                    }
                    (*score, *d_p) = (p, d_s);
                }
            }
        },
    );
}
