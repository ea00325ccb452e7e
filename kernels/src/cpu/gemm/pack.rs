//! Operands in the order in which the kernels read them, in slots: see [`Slot`].
//!
//! A block of sixteen slots is gathered either along the depth from one row of the source or across columns at one depth.
//! Where the target wants the other direction, a block of 16 x 16 is transposed.

use super::kernel::{STRIDE, Slot, WIDTH};
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
pub(super) fn left(target: &mut [f32], a: View<'_>, first: usize, rows: usize, depth: Range, slot: Slot) {
    let source = Source { view: a, slot };
    let targets = target[..(rows - 1) * STRIDE + depth.slots].chunks_mut(STRIDE);
    if !a.turned {
        for (row, target) in targets.enumerate() {
            source.along(first + row, depth.first, &mut target[..depth.slots]);
        }
        return;
    }
    for row in (0..rows).step_by(BLOCK) {
        let height = BLOCK.min(rows - row);
        for slot in (0..depth.slots).step_by(BLOCK) {
            let width = BLOCK.min(depth.slots - slot);
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (index, block) in block[..width].iter_mut().enumerate() {
                source.across(depth.first + (slot + index) * source.slot.depth(), first + row, &mut block[..height]);
            }
            let block = transposed(block);
            for (target, block) in target[row * STRIDE..].chunks_mut(STRIDE).zip(&block[..height]) {
                target[slot..slot + width].copy_from_slice(&block[..width]);
            }
        }
    }
}

/// Columns `first..first + WIDTH` of a right operand, from depth 0 on: slot `l` of column `j` at `l * WIDTH + j`. Slots beyond
/// the depth and columns beyond the last are zero.
#[inline(always)]
pub(super) fn panel(target: &mut [f32], b: View<'_>, first: usize, slot: Slot) {
    // The transpose has the columns of `b` as its rows.
    let source = Source { view: b.transposed(), slot };
    let columns = WIDTH.min(b.columns - first);
    if !b.turned {
        for (index, target) in target.chunks_exact_mut(WIDTH).enumerate() {
            source.across(index * slot.depth(), first, &mut target[..columns]);
            target[columns..].fill(0.0);
        }
        return;
    }
    for (from, target) in target.chunks_mut(BLOCK * WIDTH).enumerate() {
        for column in (0..WIDTH).step_by(BLOCK) {
            let height = BLOCK.min(columns.saturating_sub(column));
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (index, block) in block[..height].iter_mut().enumerate() {
                source.along(first + column + index, from * BLOCK * slot.depth(), block);
            }
            for (target, block) in target.chunks_exact_mut(WIDTH).zip(transposed(block)) {
                target[column..column + BLOCK].copy_from_slice(&block);
            }
        }
    }
}

/// A left operand, or the transpose of a right one, that is read in slots.
#[derive(Clone, Copy)]
struct Source<'a> {
    view: View<'a>,
    slot: Slot,
}

impl<'a> Source<'a> {
    /// Slots of one row from depth `first` on, where the depth runs along the rows in memory.
    #[inline(always)]
    fn along(&self, row: usize, first: usize, slots: &mut [f32]) {
        let values = &self.view.data[row * self.view.stride..][..self.view.columns];
        let values = &values[first.min(values.len())..];
        let count = slots.len().min(values.len().div_ceil(self.slot.depth()));
        let (slots, padding) = slots.split_at_mut(count);
        padding.fill(0.0);
        match self.slot {
            Slot::Number => slots.copy_from_slice(&values[..count]),
            Slot::Rounded => slots.iter_mut().zip(values).for_each(|(slot, &value)| *slot = rounded(value)),
            Slot::Pair => {
                let (pairs, last) = values.as_chunks::<2>();
                slots.iter_mut().zip(pairs).for_each(|(slot, &[low, high])| *slot = pair(low, high));
                if let ([low], Some(slot)) = (last, slots.get_mut(pairs.len())) {
                    *slot = pair(*low, 0.0);
                }
            }
        }
    }

    /// The slot from depth `first` on of the rows from `row` on, where rows lie side by side in memory.
    #[inline(always)]
    fn across(&self, first: usize, row: usize, slots: &mut [f32]) {
        match self.slot {
            Slot::Number => match self.at_depth(first, row) {
                Some(values) => slots.copy_from_slice(&values[..slots.len()]),
                None => slots.fill(0.0),
            },
            Slot::Rounded => match self.at_depth(first, row) {
                Some(values) => slots.iter_mut().zip(values).for_each(|(slot, &value)| *slot = rounded(value)),
                None => slots.fill(0.0),
            },
            Slot::Pair => match (self.at_depth(first, row), self.at_depth(first + 1, row)) {
                (Some(low), Some(high)) => {
                    let values = low.iter().zip(high);
                    slots.iter_mut().zip(values).for_each(|(slot, (&low, &high))| *slot = pair(low, high));
                }
                (Some(low), None) => slots.iter_mut().zip(low).for_each(|(slot, &low)| *slot = pair(low, 0.0)),
                (None, _) => slots.fill(0.0),
            },
        }
    }

    /// The rows from `row` on at one depth, if it exists.
    #[inline(always)]
    fn at_depth(&self, depth: usize, row: usize) -> Option<&'a [f32]> {
        (depth < self.view.columns).then(|| &self.view.data[depth * self.view.stride + row..])
    }
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

#[inline(always)]
fn rounded(x: f32) -> f32 {
    f32::from_bits(rounded_bits(x))
}

/// Two values rounded to bfloat16, the first in the low half.
#[inline(always)]
fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(rounded_bits(low) >> 16 | rounded_bits(high))
}

/// The transpose, by four rounds that interleave the upper with the lower half of the rows. In the index of an element,
/// `row * 16 + column`, each round moves the highest bit to the lowest place.
#[inline(always)]
fn transposed(mut block: [[f32; BLOCK]; BLOCK]) -> [[f32; BLOCK]; BLOCK] {
    for _ in 0..4 {
        let mut next = [[0.0; BLOCK]; BLOCK];
        for row in 0..BLOCK / 2 {
            for column in 0..BLOCK {
                let place = 2 * (row * BLOCK + column);
                next[place / BLOCK][place % BLOCK] = block[row][column];
                next[place / BLOCK][place % BLOCK + 1] = block[row + BLOCK / 2][column];
            }
        }
        block = next;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_transposed() {
        let mut block = [[0.0; BLOCK]; BLOCK];
        for (row, values) in block.iter_mut().enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                *value = (row * BLOCK + column) as f32;
            }
        }
        let turned = transposed(block);
        for row in 0..BLOCK {
            for column in 0..BLOCK {
                assert_eq!(turned[row][column], block[column][row]);
            }
        }
    }

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
