//! One head of one sequence, backward.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::super::dropout::RUN;
use super::super::math;
use super::super::rows::{LANES, dot};
use super::super::tile::{Block, Panels, PanelsMut, ROWS, Source, add_transposed, multiply, pack, pack_transposed, unpack};
use super::{Call, Span, TILE_BLOCKS, TILE_KEYS, TILE_ROWS, hide_padding, spacing};

/// What the forward pass of one sequence read and wrote, and the gradient of its result.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) qkv: &'a [f32],
    pub(super) out: &'a [f32],
    pub(super) lse: &'a [f32],
    pub(super) d_out: &'a [f32],
}

/// With `f` the dropout factors and `q` scaled: `d_v = (p f)^T d_out`; `d_p = d_out v^T`; `d_s = p (d_p f - d_out . out)`;
/// `d_q = d_s k / sqrt D`; `d_k = d_s^T q`.
pub(super) fn head(call: Call<'_>, span: Span, head: usize, inputs: Inputs<'_>, d_qkv: &Mutex<&mut [f32]>) {
    let (length, size, hidden) = (span.length, call.size, call.hidden);
    let (column, stride) = (head * size, 3 * hidden);
    let Inputs { qkv, out, lse, d_out } = inputs;
    let panels = size.div_ceil(LANES);
    let (depth, high, keys) = (panels * LANES, length.next_multiple_of(ROWS), length.next_multiple_of(LANES));
    let (memory, vectors) = (&call.cpu.memory, call.cpu.workers.vectors());
    let turned = keys / LANES * depth;
    let mut store = memory.buffer(LANES * (panels * 3 * (high + keys) + 2 * turned + 2 * TILE_BLOCKS));
    let mut blocks = store.as_chunks_mut::<LANES>().0;
    let mut take = |count| blocks.split_off_mut(..count).expect("the buffer is as large as its parts");
    let (q, d_result, d_q) = (take(panels * high), take(panels * high), take(panels * high));
    let (k, d_k, d_v) = (take(panels * keys), take(panels * keys), take(panels * keys));
    let (k_turned, v_turned, p, d_s) = (take(turned), take(turned), take(TILE_BLOCKS), take(TILE_BLOCKS));
    let source = |part: usize| Source { values: &qkv[part * hidden + column..], stride, length, size };
    let d_source = Source { values: &d_out[column..], stride: hidden, length, size };
    pack(vectors, q, high, source(0), call.scale());
    pack(vectors, d_result, high, d_source, 1.0);
    pack(vectors, k, keys, source(1), 1.0);
    pack_transposed(vectors, k_turned, depth, source(1));
    pack_transposed(vectors, v_turned, depth, source(2));
    d_k.fill([0.0; LANES]);
    d_v.fill([0.0; LANES]);
    // Of each row: the logarithm of its denominator, and `d_out . out`.
    let mut row_values = memory.buffer(2 * length);
    let (logarithms, along) = row_values.split_at_mut(length);
    for (logarithm, &lse) in logarithms.iter_mut().zip(lse[head..].iter().step_by(call.heads)) {
        *logarithm = lse;
    }
    products(call, along, &d_out[column..], &out[column..]);
    let (q, d_result, k) = (Panels::new(q, high), Panels::new(d_result, high), Panels::new(k, keys));
    let (k_turned, v_turned) = (Panels::new(k_turned, depth), Panels::new(v_turned, depth));
    for from in (0..length).step_by(TILE_ROWS) {
        let rows = TILE_ROWS.min(length - from);
        let (padded, tall) = (rows.next_multiple_of(ROWS), spacing(rows));
        let (q, d_result) = (q.part(from, 0), d_result.part(from, 0));
        for key in (0..length).step_by(TILE_KEYS) {
            let wide = (length - key).min(TILE_KEYS).div_ceil(LANES);
            let (p, d_s) = (&mut p[..wide * tall], &mut d_s[..wide * tall]);
            let (first, scores) = (key / LANES, (padded, wide, panels));
            multiply(vectors, PanelsMut::new(p, tall, 0), q, k_turned.part(0, first), scores, false);
            multiply(vectors, PanelsMut::new(d_s, tall, 0), d_result, v_turned.part(0, first), scores, false);
            if key + wide * LANES > length {
                hide_padding(&mut p[(wide - 1) * tall..][..rows], length % LANES);
            }
            let range = from..from + rows;
            softmax(call, span, head, (&mut *p, &mut *d_s, tall), (range, key), (logarithms, along));
            let (p, d_s) = (Panels::new(p, tall), Panels::new(d_s, tall));
            let (d_q, d_k, d_v) =
                (PanelsMut::new(d_q, high, from), PanelsMut::new(d_k, keys, key), PanelsMut::new(d_v, keys, key));
            multiply(vectors, d_q, d_s, k.part(key, 0), (padded, panels, wide), key > 0);
            add_transposed(vectors, d_v, p, d_result, (rows, wide, panels));
            add_transposed(vectors, d_k, d_s, q, (rows, wide, panels));
        }
    }
    let scale = call.scale();
    let mut d_qkv = d_qkv.lock().unwrap_or_else(PoisonError::into_inner);
    unpack(vectors, &mut d_qkv[column..], stride, d_q, (high, size), |_| scale);
    unpack(vectors, &mut d_qkv[hidden + column..], stride, d_k, (keys, size), |_| 1.0);
    unpack(vectors, &mut d_qkv[2 * hidden + column..], stride, d_v, (keys, size), |_| 1.0);
}

/// The product of each row of one head in `a` with that in `b`.
#[inline(never)]
fn products(call: Call<'_>, products: &mut [f32], a: &[f32], b: &[f32]) {
    call.cpu.workers.once(
        products,
        #[inline(always)]
        |products| {
            for ((product, a), b) in products.iter_mut().zip(a.chunks(call.hidden)).zip(b.chunks(call.hidden)) {
                *product = dot(&a[..call.size], &b[..call.size]);
            }
        },
    );
}

/// Turns the scores of some rows for the keys from `key` on into `p f`, and `d_p` beside them into `d_s`. Panels are `tall`
/// blocks apart.
#[inline(never)]
fn softmax(
    call: Call<'_>,
    span: Span,
    head: usize,
    (scores, d_p, tall): (&mut [Block], &mut [Block], usize),
    (rows, key): (Range<usize>, usize),
    (logarithms, along): (&[f32], &[f32]),
) {
    call.cpu.workers.once(
        (scores, d_p),
        #[inline(always)]
        |(scores, d_p)| {
            for (index, row) in rows.clone().enumerate() {
                let (logarithm, along) = (logarithms[row], along[row]);
                let (scores, d_p) = (&mut scores[index..], &mut d_p[index..]);
                for (pair, first) in (0..scores.len()).step_by(2 * tall).enumerate() {
                    let factors = call.factors(span, row, head, key + pair * RUN);
                    let blocks = scores[first..].iter_mut().step_by(tall).zip(d_p[first..].iter_mut().step_by(tall));
                    for (half, (score, d_p)) in blocks.take(2).enumerate() {
                        let (mut dropped, mut d_s) = ([0.0; LANES], [0.0; LANES]);
                        for lane in 0..LANES {
                            let p = math::exp(score[lane] - logarithm);
                            dropped[lane] = p * factors[half][lane];
                            d_s[lane] = p * d_p[lane].mul_add(factors[half][lane], -along);
                        }
                        (*score, *d_p) = (dropped, d_s);
                    }
                }
            }
        },
    );
}
