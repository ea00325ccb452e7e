//! Matrix products for the linear layers.
//!
//! The right operand is packed once, in panels of 32 columns, and shared by all threads; a weight that is used again unchanged
//! keeps its panels. Each thread packs the rows of the
//! left operand that it needs, a block of the depth at a time, and runs the kernel of its instruction set over tiles of a few
//! rows and 32 columns, whose sums stay in registers. The tile then passes through safe code that finishes it (bias,
//! activation) while it is in the first-level cache. Only the kernels are unsafe. Every sum is made in the order of the depth
//! whatever the tile it is in, so a result does not depend on how the rows and columns are cut.

#![allow(unsafe_code)]

mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod isa;
mod kernel;
mod pack;
mod peak;
mod portable;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use kernel::{Kernel, STRIDE, Slot, Tile, WIDTH};

use super::memory::{Buffer, Memory, Tensor};
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
    slot: Slot,
}

impl Panels {
    /// `width` columns from `first` on, a multiple of 32.
    fn columns(&self, first: usize, width: usize) -> PanelsView<'_> {
        assert!(first.is_multiple_of(WIDTH) && first + width <= self.columns, "columns {first}+{width} of {}", self.columns);
        let data = &self.data[first * self.slots..][..width.next_multiple_of(WIDTH) * self.slots];
        PanelsView { data, depth: self.depth, columns: width, slots: self.slots }
    }
}

/// Some panels.
#[derive(Clone, Copy)]
struct PanelsView<'a> {
    data: &'a [f32],
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

    /// See [`Cpu::peak`](super::Cpu::peak).
    pub(super) fn peak(&self) -> Option<f64> {
        peak::measure(self.isa, self.kernel.slot())
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
        Panels { data, depth: b.rows, columns: b.columns, slots, slot }
    }

    /// As [`pack`](Self::pack), for the transpose of a matrix whose panels are kept once it has been used twice unchanged: that
    /// pays in inference, while weights that are trained change between uses.
    #[inline(always)]
    pub(super) fn pack_transposed(&self, workers: &Workers, w: &Tensor) -> Arc<Panels> {
        let fits = |panels: &Panels| panels.slot == self.kernel.slot();
        w.data.panels(fits, || self.pack(workers, w.view().transposed()))
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
        finish: impl FnMut(usize, usize, &mut [f32], &mut [f32]),
    ) {
        self.block(out, a, first, b.columns(0, b.columns), accumulate, finish);
    }

    /// All rows of the columns of `a b` from `first` on, `width` of them and `first` a multiple of 32, as a matrix by itself.
    #[inline(always)]
    pub(super) fn columns(&self, out: &mut [f32], a: View<'_>, b: &Panels, first: usize, width: usize) {
        self.block(
            out,
            a,
            0,
            b.columns(first, width),
            false,
            #[inline(always)]
            |_, _, sums, out| out.copy_from_slice(sums),
        );
    }

    #[inline(always)]
    fn block(
        &self,
        out: &mut [f32],
        a: View<'_>,
        first: usize,
        b: PanelsView<'_>,
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
        let unit = self.kernel.begin();
        // An empty sum is zero, which one block of no slots gives.
        let blocks = b.slots.div_ceil(self.kernel.slots()).max(1);
        let block = b.slots.div_ceil(blocks).next_multiple_of(PAIR_SLOTS);
        for from in (0..b.slots.max(1)).step_by(block.max(1)) {
            let slots = block.min(b.slots - from);
            if slots > 0 {
                let depth = pack::Range { first: from * self.kernel.slot().depth(), slots };
                pack::left(&mut left, a, first, rows, depth, self.kernel);
            }
            let (add, last) = (accumulate || from > 0, from + slots == b.slots);
            for column in (0..columns).step_by(WIDTH) {
                let width = WIDTH.min(columns - column);
                let panel = &b.data[(column * b.slots + from * WIDTH)..][..slots * WIDTH];
                for (row, height) in bands(rows, self.kernel.rows()) {
                    for row in row..row + height {
                        kernel::prefetch(&out[row * columns + column..][..width]);
                    }
                    self.kernel.run(unit.as_ref(), height, &left[row * STRIDE..], panel, &mut tile);
                    for (row, sums) in (row..row + height).zip(tile.0.as_chunks_mut::<WIDTH>().0) {
                        let out = &mut out[row * columns + column..][..width];
                        // Most pieces are whole, and with a constant length they need no loops and calls.
                        match <&mut [f32; WIDTH]>::try_from(&mut *out) {
                            Ok(out) => put(sums, out, add, last.then_some((first + row, column)), &mut finish),
                            Err(_) => put(&mut sums[..width], out, add, last.then_some((first + row, column)), &mut finish),
                        }
                    }
                }
            }
        }
    }
}

/// Finishes sums that are complete, at `place`, or puts them by.
#[inline(always)]
fn put(
    sums: &mut [f32],
    out: &mut [f32],
    add: bool,
    place: Option<(usize, usize)>,
    finish: &mut impl FnMut(usize, usize, &mut [f32], &mut [f32]),
) {
    if add {
        super::rows::add(sums, out);
    }
    match place {
        Some((row, column)) => finish(row, column, sums, out),
        None => out.copy_from_slice(sums),
    }
}

/// Cuts `rows` into bands of at most `most` rows and about the same height: first row and number of rows.
fn bands(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    (0..count).map(move |band| (band * rows / count, (band + 1) * rows / count - band * rows / count))
}
