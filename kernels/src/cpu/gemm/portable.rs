//! Tiles of 4 x 8 sums in plain loops, for machines without a kernel of their own.

use super::kernel::{STRIDE, Tile, WIDTH};

/// Most rows of a tile.
pub(super) const ROWS: usize = 4;
/// Columns summed at once: with four rows, sixteen registers of NEON.
const COLUMNS: usize = 16;

/// See [`Kernel::run`](super::kernel::Kernel::run).
pub(super) fn tile(rows: usize, left: &[f32], right: &[f32], tile: &mut Tile) {
    let left = |row: usize| &left[row.min(rows - 1) * STRIDE..][..right.len() / WIDTH];
    let left: [&[f32]; ROWS] = [left(0), left(1), left(2), left(3)];
    for column in (0..WIDTH).step_by(COLUMNS) {
        let mut sums = [[0.0; COLUMNS]; ROWS];
        for (slot, right) in right.chunks_exact(WIDTH).enumerate() {
            let right: &[f32; COLUMNS] = right[column..].first_chunk().expect("a part of a row");
            for row in 0..ROWS {
                let value = left[row][slot];
                for lane in 0..COLUMNS {
                    sums[row][lane] = multiply_add(value, right[lane], sums[row][lane]);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            tile.0[row * WIDTH + column..][..COLUMNS].copy_from_slice(sums);
        }
    }
}

/// Fused where the target has an instruction for it; elsewhere a fused one would be a slow call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, sum) } else { a * b + sum }
}
