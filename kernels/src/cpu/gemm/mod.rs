//! Matrix products for the linear layers.
//!
//! The right operand is packed once, in panels of 32 columns, and shared by all threads. Each thread packs the rows of the
//! left operand that it needs, a block of the depth at a time, and runs the kernel of its instruction set over tiles of a few
//! rows and 32 columns, whose sums stay in registers. The tile then passes through safe code that finishes it (bias,
//! activation) while it is in the first-level cache. Only the kernels are unsafe.

#![allow(unsafe_code)]

mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod kernel;
mod pack;
mod portable;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use kernel::{Kernel, SLOTS, STRIDE, Slot, Tile, WIDTH};

use super::memory::{Buffer, Memory};
use super::parallel::Workers;
pub(super) use amx::status as amx_status;
pub use isa::{Isa, Precision};
pub(super) use view::View;

/// Depth of pairs is padded to the 32 that one instruction on tiles takes.
const PAIR_SLOTS: usize = 16;

/// Matrix products with one instruction set in one precision.
#[derive(Clone)]
pub(super) struct Engine {
    isa: Isa,
    precision: Precision,
    kernel: Kernel,
    memory: Arc<Memory>,
}

/// A right operand, packed: `columns / 32` panels, rounded up, of `slots` times 32 slots.
pub(super) struct Panels {
    data: Buffer,
    depth: usize,
    columns: usize,
    slots: usize,
}

impl Engine {
    /// # Panics
    /// If this machine lacks the instructions.
    pub(super) fn new(isa: Isa, precision: Precision, memory: Arc<Memory>) -> Self {
        let slot = match precision {
            Precision::F32 => Slot::Number,
            Precision::Bf16 if isa.multiplies_pairs() => Slot::Pair,
            Precision::Bf16 => Slot::Rounded,
        };
        Self { isa, precision, kernel: Kernel::new(isa, slot), memory }
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// Packs a right operand.
    #[inline(always)]
    pub(super) fn pack(&self, workers: &Workers, b: View<'_>) -> Panels {
        let slot = self.kernel.slot();
        let slots = if slot == Slot::Pair { b.rows.div_ceil(2).next_multiple_of(PAIR_SLOTS) } else { b.rows };
        let mut data = self.memory.buffer(b.columns.div_ceil(WIDTH) * slots * WIDTH);
        if slots > 0 {
            workers.run(
                data.chunks_exact_mut(slots * WIDTH).enumerate(),
                #[inline(always)]
                |(index, panel)| pack::panel(panel, b, index * WIDTH, self.kernel),
            );
        }
        Panels { data, depth: b.rows, columns: b.columns, slots }
    }

    /// Rows `first..` of the product `a b`, as many as `out` has, on the calling thread. `finish` gets each sum once, in pieces
    /// of at most 32 columns: row, first column, the sums, and the place in `out` where to put what is made of them. With
    /// `accumulate` the old contents of `out` count among the sums.
    #[inline(always)]
    pub(super) fn rows(
        &self,
        out: &mut [f32],
        a: View<'_>,
        first: usize,
        b: &Panels,
        accumulate: bool,
        mut finish: impl FnMut(usize, usize, &mut [f32], &mut [f32]),
    ) {
        let columns = b.columns;
        let rows = out.len().checked_div(columns).unwrap_or(0);
        assert!(a.columns == b.depth && first + rows <= a.rows && rows * columns == out.len(), "shapes of a product");
        if rows == 0 {
            return;
        }
        let mut left = self.memory.buffer(rows * STRIDE);
        let mut tile = Tile([0.0; _]);
        // An empty sum is zero, which one block of no slots gives.
        let blocks = b.slots.div_ceil(SLOTS).max(1);
        let block = b.slots.div_ceil(blocks).next_multiple_of(PAIR_SLOTS);
        for from in (0..b.slots.max(1)).step_by(block.max(1)) {
            let slots = block.min(b.slots - from);
            if slots > 0 {
                let depth = pack::Range { first: from * self.kernel.slot().depth(), slots };
                pack::left(&mut left, a, first, rows, depth, self.kernel);
            }
            let last = from + slots == b.slots;
            for column in (0..columns).step_by(WIDTH) {
                let width = WIDTH.min(columns - column);
                let panel = &b.data[(column * b.slots + from * WIDTH)..][..slots * WIDTH];
                for (row, height) in bands(rows, self.kernel.rows()) {
                    for row in row..row + height {
                        kernel::prefetch(&out[row * columns + column..][..width]);
                    }
                    self.kernel.run(height, &left[row * STRIDE..], panel, &mut tile);
                    for (row, sums) in (row..row + height).zip(tile.0.chunks_exact_mut(WIDTH)) {
                        let (sums, out) = (&mut sums[..width], &mut out[row * columns + column..][..width]);
                        if accumulate || from > 0 {
                            super::rows::add(sums, out);
                        }
                        if last { finish(first + row, column, sums, out) } else { out.copy_from_slice(sums) }
                    }
                }
            }
        }
    }
}

/// Cuts `rows` into bands of at most `most` rows and about the same height: first row and number of rows.
fn bands(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    (0..count).map(move |band| (band * rows / count, (band + 1) * rows / count - band * rows / count))
}
