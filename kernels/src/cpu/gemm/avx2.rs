//! Tiles of up to 6 x 16 sums in 12 of the 16 AVX2 registers, two side by side.

use std::arch::x86_64::{_mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps};

use super::kernel::{Arguments, STRIDE, WIDTH, with_rows};

/// Most rows of a tile.
pub(super) const ROWS: usize = 6;
/// Values in a register.
const LANES: usize = 8;

/// # Safety
/// The machine has AVX2 and FMA, and the arguments are as [`Arguments`] says for `rows` rows, at most [`ROWS`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn tile(rows: usize, arguments: Arguments) {
    // SAFETY: what the caller holds, for the same number of rows.
    unsafe { with_rows!(rows, number_tile(arguments), 1 2 3 4 5 6) }
}

/// # Safety
/// As [`tile`], for `ROWS` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn number_tile<const ROWS: usize>(arguments: Arguments) {
    let Arguments { slots, left, right, tile } = arguments;
    for column in [0, WIDTH / 2] {
        let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
        for slot in 0..slots {
            // SAFETY: `slot < slots`, and the `WIDTH / 2` values from `column` on, two registers, lie in row `slot` of `right`.
            let (low, high) = unsafe {
                let right = right.add(slot * WIDTH + column);
                (_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(LANES)))
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `slot < slots` and `row < ROWS`.
                let value = _mm256_broadcast_ss(unsafe { &*left.add(row * STRIDE + slot) });
                sums[0] = _mm256_fmadd_ps(value, low, sums[0]);
                sums[1] = _mm256_fmadd_ps(value, high, sums[1]);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            // SAFETY: `row < ROWS`, and the `WIDTH / 2` values from `column` on, two registers, lie in row `row` of the tile.
            unsafe {
                let tile = tile.add(row * WIDTH + column);
                _mm256_storeu_ps(tile, sums[0]);
                _mm256_storeu_ps(tile.add(LANES), sums[1]);
            }
        }
    }
}
