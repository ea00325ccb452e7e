//! Tiles of up to 14 x 32 sums in 28 of the 32 AVX-512 registers: one broadcast feeds two multiply-adds.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_permutex2var_ps, _mm512_set1_ps, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::kernel::{Arguments, STRIDE, WIDTH, with_rows};

/// Most rows of a tile.
pub(super) const ROWS: usize = 14;
/// How many slots ahead the right operand is fetched: it comes from the third-level cache.
const AHEAD: usize = 48;

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
                // Prefetching needs no valid address, and comes to the next panel before its turn.
                let ahead = right.wrapping_add((slot + AHEAD) * WIDTH).cast();
                // SAFETY: `slot < slots`, and row `slot` of `right` has `WIDTH` values: two registers.
                let (low, high) = unsafe {
                    let right = right.add(slot * WIDTH);
                    _mm_prefetch::<_MM_HINT_T0>(ahead);
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
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
pub(super) fn pairs(bits: __m512) -> __m512bh {
    // SAFETY: both types have 512 bits, of which every pattern is valid.
    unsafe { std::mem::transmute(bits) }
}

/// Slots of two bfloat16 from values that follow each other.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn pairs_of(values: &[[f32; 16]; 2]) -> [f32; 16] {
    let mut slots = [0.0; 16];
    // SAFETY: each of the arrays is one register of `f32`; for the bits see `pairs`.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(values[0].as_ptr()), _mm512_loadu_ps(values[1].as_ptr()));
        let bits: __m512 = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
        _mm512_storeu_ps(slots.as_mut_ptr(), bits);
    }
    slots
}

/// Transposes in place, by four rounds that interleave the upper with the lower half of the rows. In the index of an element,
/// `row * 16 + column`, each round moves the highest bit to the lowest place.
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(block: &mut [[f32; 16]; 16]) {
    let low: __m512i = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    let high: __m512i = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    let mut rows = [_mm512_setzero_ps(); 16];
    for (row, values) in rows.iter_mut().zip(&*block) {
        // SAFETY: `values` is one register of `f32`.
        *row = unsafe { _mm512_loadu_ps(values.as_ptr()) };
    }
    for _ in 0..4 {
        let mut next = rows;
        for row in 0..8 {
            next[2 * row] = _mm512_permutex2var_ps(rows[row], low, rows[row + 8]);
            next[2 * row + 1] = _mm512_permutex2var_ps(rows[row], high, rows[row + 8]);
        }
        rows = next;
    }
    for (row, values) in rows.into_iter().zip(block) {
        // SAFETY: `values` is one register of `f32`.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), row) };
    }
}
