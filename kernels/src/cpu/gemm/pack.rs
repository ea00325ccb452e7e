//! Operands in the order in which the kernels read them, in slots: see [`Slot`].
//!
//! A block of sixteen slots is gathered either along the depth from one row of the source or across columns at one depth.
//! Where the target wants the other direction, a block of 16 x 16 is transposed.

use super::kernel::{Kernel, STRIDE, Slot, WIDTH, prefetch};
use super::view::View;

/// Slots gathered at once.
const BLOCK: usize = 16;

/// Depths to pack.
#[derive(Clone, Copy)]
pub(super) struct Range {
    /// The first, even.
    pub(super) first: usize,
    pub(super) slots: usize,
}

/// Rows `first..first + rows` of a left operand: slot `l` of row `i` at `i * STRIDE + l`. Slots beyond the depth are zero.
#[inline(always)]
pub(super) fn left(target: &mut [f32], a: View<'_>, first: usize, rows: usize, depth: Range, kernel: Kernel) {
    let source = Source { view: a, kernel };
    let deep = |slot: usize| depth.first + slot * kernel.slot().depth();
    let target = &mut target[..(rows - 1) * STRIDE + depth.slots];
    if !a.turned {
        for (row, target) in target.chunks_mut(STRIDE).enumerate() {
            for (block, target) in target[..depth.slots].chunks_mut(BLOCK).enumerate() {
                store(target, source.along(first + row, deep(block * BLOCK)));
            }
        }
        return;
    }
    for slot in (0..depth.slots).step_by(BLOCK) {
        let width = BLOCK.min(depth.slots - slot);
        for next in deep(slot + BLOCK)..deep(slot + 2 * BLOCK) {
            let values = source.at_depth(next, first);
            prefetch(&values[..rows.min(values.len())]);
        }
        for row in (0..rows).step_by(BLOCK) {
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (index, block) in block.iter_mut().enumerate() {
                *block = source.across(deep(slot + index), first + row);
            }
            kernel.transpose(&mut block);
            for (target, block) in target[row * STRIDE..].chunks_mut(STRIDE).zip(block) {
                store(&mut target[slot..slot + width], block);
            }
        }
    }
}

/// Columns `first..first + WIDTH` of a right operand, from depth 0 on: slot `l` of column `j` at `l * WIDTH + j`. Slots beyond
/// the depth and columns beyond the last are zero.
#[inline(always)]
pub(super) fn panel(target: &mut [f32], b: View<'_>, first: usize, kernel: Kernel) {
    // The transpose has the columns of `b` as its rows.
    let source = Source { view: b.transposed(), kernel };
    let depth = kernel.slot().depth();
    if !b.turned {
        for (slot, target) in target.chunks_exact_mut(WIDTH).enumerate() {
            for (index, target) in target.chunks_exact_mut(BLOCK).enumerate() {
                store(target, source.across(slot * depth, first + index * BLOCK));
            }
        }
        return;
    }
    // Few rows of the source at a time, along which the machine can fetch ahead.
    for column in (0..WIDTH).step_by(BLOCK) {
        for (from, target) in target.chunks_mut(BLOCK * WIDTH).enumerate() {
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (index, block) in block.iter_mut().enumerate() {
                *block = source.along(first + column + index, from * BLOCK * depth);
            }
            kernel.transpose(&mut block);
            for (target, block) in target.chunks_exact_mut(WIDTH).zip(block) {
                store(&mut target[column..column + BLOCK], block);
            }
        }
    }
}

/// A left operand, or the transpose of a right one, that is read in slots. What lies outside of it is zero.
#[derive(Clone, Copy)]
struct Source<'a> {
    view: View<'a>,
    kernel: Kernel,
}

impl<'a> Source<'a> {
    /// Slots of one row from depth `first` on, where the depth runs along the rows in memory.
    #[inline(always)]
    fn along(&self, row: usize, first: usize) -> [f32; BLOCK] {
        let View { data, rows, columns, stride, .. } = self.view;
        let values = if row < rows && first < columns { &data[row * stride + first..row * stride + columns] } else { &[] };
        match self.kernel.slot() {
            Slot::Number => load(values),
            Slot::Rounded => load(values).map(rounded),
            Slot::Pair => {
                let rest = values.get(BLOCK..).unwrap_or_default();
                self.kernel.pairs(&[load(values), load(rest)])
            }
        }
    }

    /// The slot from depth `first` on of the rows from `row` on, where rows lie side by side in memory.
    #[inline(always)]
    fn across(&self, first: usize, row: usize) -> [f32; BLOCK] {
        match self.kernel.slot() {
            Slot::Number => load(self.at_depth(first, row)),
            Slot::Rounded => load(self.at_depth(first, row)).map(rounded),
            Slot::Pair => {
                let (low, high) = (load(self.at_depth(first, row)), load(self.at_depth(first + 1, row)));
                let mut slots = [0.0; BLOCK];
                for lane in 0..BLOCK {
                    slots[lane] = f32::from_bits(rounded_bits(low[lane]) >> 16 | rounded_bits(high[lane]));
                }
                slots
            }
        }
    }

    /// The rows from `row` on at one depth.
    #[inline(always)]
    fn at_depth(&self, depth: usize, row: usize) -> &'a [f32] {
        let View { data, rows, columns, stride, .. } = self.view;
        if depth < columns && row < rows { &data[depth * stride + row..depth * stride + rows] } else { &[] }
    }
}

/// The first values, with zeros where there are no more. Whole blocks have a constant length, which makes them fast.
#[inline(always)]
fn load(values: &[f32]) -> [f32; BLOCK] {
    match values.first_chunk() {
        Some(values) => *values,
        None => {
            let mut block = [0.0; BLOCK];
            block[..values.len()].copy_from_slice(values);
            block
        }
    }
}

/// Stores as many values as `target` takes.
#[inline(always)]
fn store(target: &mut [f32], block: [f32; BLOCK]) {
    match target.first_chunk_mut() {
        Some(target) => *target = block,
        None => target.copy_from_slice(&block[..target.len()]),
    }
}

#[inline(always)]
fn rounded(x: f32) -> f32 {
    f32::from_bits(rounded_bits(x))
}

/// `x` rounded to bfloat16, to nearest with ties to even, as the bits of an `f32`. Subnormal numbers become zero, as in the
/// instructions of Intel and AMD.
#[inline(always)]
fn rounded_bits(x: f32) -> u32 {
    const EXPONENT: u32 = 0x7f80_0000;
    const UPPER: u32 = 0xffff_0000;
    let bits = x.to_bits();
    let magnitude = bits & !(1 << 31);
    // Half of the last place that stays, less one where it is even: a carry may reach infinity, as it should.
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let finite = if magnitude < 0x0080_0000 { bits & 1 << 31 } else { nearest };
    // A NaN keeps its sign and is made quiet, lest its payload be cut to that of an infinity.
    (if magnitude > EXPONENT { bits | 0x0040_0000 } else { finite }) & UPPER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_even() {
        let one = 1.0_f32;
        let place = 2.0_f32.powi(-7);
        for (x, expected) in [
            (one, one),
            (one + place / 2.0, one),
            (one + place * 0.500_1, one + place),
            (one + place * 1.5, one + 2.0 * place),
            (-one - place * 1.5, -one - 2.0 * place),
            (256.0, 256.0),
            (257.0, 256.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
            (-f32::MIN_POSITIVE / 2.0, -0.0),
        ] {
            assert_eq!(rounded(x).to_bits(), expected.to_bits(), "{x}");
        }
        assert!(rounded(f32::NAN).is_nan() && rounded(f32::from_bits(0xff80_0001)).is_nan());
    }

    #[test]
    fn rounding_picks_the_closer_neighbour() {
        for bits in (0..u32::MAX).step_by(65_537 - 256) {
            let x = f32::from_bits(bits);
            if x.is_finite() && x.abs() >= f32::MIN_POSITIVE && x.abs() < 3e38 {
                let (down, got) = (f32::from_bits(bits & 0xffff_0000), rounded(x));
                let up = f32::from_bits((bits & 0xffff_0000) + 0x1_0000);
                let nearest = (x - down).abs().min((up - x).abs());
                assert!((got - x).abs() == nearest && (got == down || got == up), "{x}: {got}");
            }
        }
    }
}
