//! Tiles of up to 14 x 32 sums in 28 of the 32 AVX-512 registers: one broadcast feeds two multiply-adds.

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::kernel::{Arguments, STRIDE, WIDTH, with_rows};

/// Most rows of a tile.
pub(super) const ROWS: usize = 14;

/// Defines `$tile` for a constant number of rows and `$name` for any; `$step` adds the product of two slots to a sum.
macro_rules! kernel {
    ($name:ident, $tile:ident, $features:literal, $step:expr) => {
        /// # Safety
        /// The machine has the instructions, and the arguments are as [`Arguments`] says for `rows` rows, at most [`ROWS`].
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(rows: usize, arguments: Arguments) {
            // SAFETY: what the caller holds, for the same number of rows.
            unsafe { with_rows!(rows, $tile(arguments), 1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
        }

        /// # Safety
        /// As the function above, for `ROWS` rows.
        #[target_feature(enable = $features)]
        unsafe fn $tile<const ROWS: usize>(arguments: Arguments) {
            let Arguments { slots, left, right, tile } = arguments;
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for slot in 0..slots {
                // SAFETY: `slot < slots`, and row `slot` of `right` has `WIDTH` values: two registers.
                let (low, high) = unsafe {
                    let right = right.add(slot * WIDTH);
                    (_mm512_loadu_ps(right), _mm512_loadu_ps(right.add(WIDTH / 2)))
                };
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: `slot < slots` and `row < ROWS`.
                    let value = _mm512_set1_ps(unsafe { *left.add(row * STRIDE + slot) });
                    sums[0] = $step(value, low, sums[0]);
                    sums[1] = $step(value, high, sums[1]);
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                // SAFETY: `row < ROWS`, and row `row` of the tile has `WIDTH` values: two registers.
                unsafe {
                    _mm512_storeu_ps(tile.add(row * WIDTH), sums[0]);
                    _mm512_storeu_ps(tile.add(row * WIDTH + WIDTH / 2), sums[1]);
                }
            }
        }
    };
}

kernel!(tile, number_tile, "avx512f", |left, right, sum| _mm512_fmadd_ps(left, right, sum));
kernel!(tile_of_pairs, pair_tile, "avx512f,avx512bf16", |left, right, sum| _mm512_dpbf16_ps(sum, pairs(left), pairs(right)));

/// The bits as pairs of bfloat16.
#[target_feature(enable = "avx512f")]
fn pairs(bits: __m512) -> __m512bh {
    // SAFETY: both types have 512 bits, of which every pattern is valid.
    unsafe { std::mem::transmute(bits) }
}
