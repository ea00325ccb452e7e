//! Dropout, with eight Philox blocks at a time.

use stepsynth_core::Result;
use stepsynth_core::backend::Dropout;

use super::parallel::CHUNK;
use super::rows::LANES;
use super::tile::Block;
use super::{Cpu, Tensor};

/// Words of a Philox block.
pub(super) const WORDS: usize = 4;
/// Elements whose factors are drawn together.
pub(super) const RUN: usize = 2 * LANES;

/// Factors of the [`RUN`] elements that begin with element `4 first`.
#[inline(always)]
pub(super) fn factors(dropout: &Dropout, first: u64) -> [Block; 2] {
    let words = dropout.stream.eight_blocks(first);
    // Words in their order, two in a number: shuffles of whole registers.
    let mut pairs = [0; LANES];
    for block in 0..RUN / WORDS {
        for half in 0..2 {
            let [low, high] = [words[2 * half][block], words[2 * half + 1][block]];
            pairs[2 * block + half] = ((low & 0xffff_ffff) | (high << 32)).to_le();
        }
    }
    let words: [[u32; LANES]; 2] = pulp::cast(pairs);
    let scale = dropout.scale as f32;
    let mut factors = [[0.0; LANES]; 2];
    for half in 0..2 {
        for lane in 0..LANES {
            factors[half][lane] = if u32::from_le(words[half][lane]) >= dropout.threshold { scale } else { 0.0 };
        }
    }
    factors
}

/// `y[i] = x[i] factor(i)` in place.
pub(super) fn apply(cpu: &Cpu, y: &mut Tensor, dropout: &Dropout) -> Result<()> {
    cpu.workers.run(
        y.data.chunks_mut(CHUNK).enumerate(),
        #[inline(always)]
        |(chunk, y)| scale(y, chunk * CHUNK, dropout),
    );
    Ok(())
}

/// `y[i] = y[i] factor(first + i)`.
#[inline(always)]
pub(super) fn scale(y: &mut [f32], first: usize, dropout: &Dropout) {
    // Up to the beginning of a block, one by one.
    let (head, y) = y.split_at_mut((first.next_multiple_of(WORDS) - first).min(y.len()));
    for (index, y) in (first..).zip(head) {
        *y *= dropout.factor(index as u64) as f32;
    }
    let first = first.div_ceil(WORDS);
    let (runs, rest) = y.as_chunks_mut::<RUN>();
    let full = runs.len();
    for (run, y) in runs.iter_mut().enumerate() {
        let factors = factors(dropout, (first + run * RUN / WORDS) as u64);
        for (y, factors) in y.as_chunks_mut::<LANES>().0.iter_mut().zip(factors) {
            for lane in 0..LANES {
                y[lane] *= factors[lane];
            }
        }
    }
    if !rest.is_empty() {
        let factors = factors(dropout, (first + full * RUN / WORDS) as u64);
        for (y, factor) in rest.iter_mut().zip(factors.as_flattened()) {
            *y *= factor;
        }
    }
}
