//! Dropout, with sixteen Philox blocks at a time.

use stepsynth_core::Result;
use stepsynth_core::backend::Dropout;

use super::parallel::CHUNK;
use super::rows::LANES;
use super::{Cpu, Tensor};

/// Words of a Philox block.
pub(super) const WORDS: usize = 4;

/// Factors of the four elements of each of sixteen blocks: element `4 blocks[lane] + word` at `[word][lane]`.
///
/// All lanes advance together, which is what lets the compiler use vector multiplications.
#[inline(always)]
pub(super) fn factors(dropout: &Dropout, blocks: [u64; LANES]) -> [[f32; LANES]; WORDS] {
    let scale = dropout.scale as f32;
    let mut factors = [[0.0; LANES]; WORDS];
    for lane in 0..LANES {
        let words = dropout.stream.block(blocks[lane]);
        for word in 0..WORDS {
            factors[word][lane] = if words[word] >= dropout.threshold { scale } else { 0.0 };
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
    const RUN: usize = WORDS * LANES;
    // Up to the beginning of a block, one by one.
    let (head, y) = y.split_at_mut((first.next_multiple_of(WORDS) - first).min(y.len()));
    for (index, y) in (first..).zip(head) {
        *y *= dropout.factor(index as u64) as f32;
    }
    for (run, y) in y.chunks_mut(RUN).enumerate() {
        let first = (first.div_ceil(WORDS) + run * LANES) as u64;
        let mut blocks = [first; LANES];
        for (lane, block) in blocks.iter_mut().enumerate() {
            *block += lane as u64;
        }
        let factors = factors(dropout, blocks);
        let mut ordered = [0.0; RUN];
        for lane in 0..LANES {
            for word in 0..WORDS {
                ordered[lane * WORDS + word] = factors[word][lane];
            }
        }
        for (y, factor) in y.iter_mut().zip(ordered) {
            *y *= factor;
        }
    }
}
