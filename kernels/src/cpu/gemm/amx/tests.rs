//! The real instructions, on the tile unit where there is one and emulated elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stepsynth_core::random::Stream;

use super::support::{Check, self_check};
use super::{BLOCK, DEPTH, Tiles, available, halves, probe, status};

#[path = "../../../../emulator/amx/mod.rs"]
pub(super) mod emulator;

const ROWS: [usize; 6] = [1, 15, 16, 17, 31, 32];
const DEPTHS: [usize; 5] = [32, 64, 96, 768, 3072];

/// Runs `work` on tiles. Emulated, it may touch the bytes of `a`, `b` and `out` alone; returns the number of instructions.
fn on_tiles(out: &mut [f32], a: &[u16], b: &[u16], work: impl FnOnce(&Tiles, &mut [f32])) -> Option<usize> {
    if probe::probe().is_ok() {
        work(&Tiles::begin().unwrap(), out);
        return None;
    }
    let addresses = |range: std::ops::Range<*const u16>| range.start as usize..range.end as usize;
    let writable = out.as_ptr_range();
    let writable = writable.start as usize..writable.end as usize;
    let run = emulator::trap::emulate([addresses(a.as_ptr_range()), addresses(b.as_ptr_range())], writable, || {
        work(&Tiles::enter(), out);
    });
    assert!(run.is_err() || emulator::trap::is_released());
    Some(run.expect("no fault"))
}

fn value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16, ties to even; for finite numbers.
fn nearest(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16
}

/// A block's operands with rows further apart than they are wide.
struct Block {
    rows: usize,
    kp: usize,
    lda: usize,
    a: Vec<u16>,
    b: Vec<u16>,
    out_stride: usize,
    out: Vec<f32>,
}

/// Between rows of the output.
const UNTOUCHED: f32 = -77.25;
const NAN_BITS: u16 = 0x7FC0;

impl Block {
    /// Draws the values with `draw`; NaN between the rows of `a`, and nothing after the last row.
    fn new(rows: usize, kp: usize, mut draw: impl FnMut() -> f32) -> Self {
        let (lda, out_stride) = (kp + 5, BLOCK + 3);
        let mut a = vec![NAN_BITS; (rows - 1) * lda + kp];
        a.chunks_mut(lda).flat_map(|row| &mut row[..kp]).for_each(|bits| *bits = nearest(draw()));
        let b = (0..kp * BLOCK).map(|_| nearest(draw())).collect();
        let mut out = vec![UNTOUCHED; (rows - 1) * out_stride + BLOCK];
        out.chunks_mut(out_stride).flat_map(|row| &mut row[..BLOCK]).for_each(|out| *out = draw());
        Self { rows, kp, lda, a, b, out_stride, out }
    }

    fn a(&self, row: usize, depth: usize) -> f64 {
        f64::from(value(self.a[row * self.lda + depth]))
    }

    fn b(&self, depth: usize, column: usize) -> f64 {
        f64::from(value(self.b[depth / 2 * 64 + column * 2 + depth % 2]))
    }

    /// The output of the tiles.
    fn multiply(&self, accumulate: bool) -> Vec<f32> {
        let mut out = self.out.clone();
        let count = on_tiles(&mut out, &self.a, &self.b, |tiles, out| {
            tiles.tile_block(out, self.out_stride, self.rows, &self.a, self.lda, &self.b, self.kp, accumulate);
        });
        // Configuration and release, the accumulators' start and store, and per step a load for each tile of an operand and
        // a dot product for each accumulator.
        let (accumulators, loads) = if self.rows > 16 { (4, 4) } else { (2, 3) };
        assert!(count.is_none_or(|count| count == 2 + 2 * accumulators + self.kp / DEPTH * (loads + accumulators)));
        out
    }

    /// Every output with its place, the exact sum and the sum of magnitudes; panics if anything between the rows changed.
    fn each(&self, out: &[f32], accumulate: bool, mut check: impl FnMut(usize, usize, f32, f64, f64)) {
        for (at, &found) in out.iter().enumerate() {
            let (row, column) = (at / self.out_stride, at % self.out_stride);
            if column >= BLOCK {
                assert_eq!(found, UNTOUCHED, "between rows {row} and {}", row + 1);
                continue;
            }
            let before = if accumulate { f64::from(self.out[at]) } else { 0.0 };
            let products = (0..self.kp).map(|depth| self.a(row, depth) * self.b(depth, column));
            let (sum, magnitude) = products.fold((before, before.abs()), |(sum, all), x| (sum + x, all + x.abs()));
            check(row, column, found, sum, magnitude);
        }
    }
}

fn every_shape(mut test: impl FnMut(usize, usize, bool)) {
    for kp in DEPTHS {
        for rows in ROWS {
            for accumulate in [false, true] {
                test(rows, kp, accumulate);
            }
        }
    }
}

#[test]
fn products_of_whole_numbers_are_exact() {
    every_shape(|rows, kp, accumulate| {
        let mut random = Stream::new(kp as u64, "amx exact").generator();
        // 3072 products of at most 64 * 64 and one number stay below 2^24.
        let block = Block::new(rows, kp, || random.below(129) as f32 - 64.0);
        let out = block.multiply(accumulate);
        block.each(&out, accumulate, |row, column, found, expected, _| {
            assert_eq!(f64::from(found), expected, "{rows} rows, depth {kp}, accumulate {accumulate}: ({row}, {column})");
        });
    });
}

/// The bound is the one that the module's documentation derives from the order of additions.
#[test]
fn random_products_are_within_the_bound() {
    every_shape(|rows, kp, accumulate| {
        let mut random = Stream::new(kp as u64, "amx random").generator();
        let block = Block::new(rows, kp, || random.normal() as f32);
        let out = block.multiply(accumulate);
        let roundings = (17 + kp / DEPTH) as f64 * f64::from(f32::EPSILON) / 2.0;
        let (mut bound_share, mut inexact) = (0.0_f64, 0);
        block.each(&out, accumulate, |row, column, found, expected, magnitude| {
            let (error, bound) = ((f64::from(found) - expected).abs(), roundings / (1.0 - roundings) * magnitude);
            assert!(error <= bound, "{rows} rows, depth {kp}, accumulate {accumulate}: ({row}, {column}) is off by {error}");
            bound_share = bound_share.max(error / bound);
            inexact += usize::from(error > 0.0);
        });
        // The test can fail: there are errors, and they are not lost far below the bound.
        assert!(inexact > 0 && bound_share > 1e-3, "{bound_share}");
    });
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let mut random = Stream::new(1, "amx rows").generator();
    let whole = Block::new(BLOCK, 96, || random.normal() as f32);
    let out = whole.multiply(true);
    for rows in 1..BLOCK {
        for first in [0, BLOCK - rows] {
            let (a_from, out_from) = (first * whole.lda, first * whole.out_stride);
            let (a_end, out_end) = (a_from + (rows - 1) * whole.lda + 96, out_from + (rows - 1) * whole.out_stride + BLOCK);
            let part = Block {
                rows,
                a: whole.a[a_from..a_end].to_vec(),
                b: whole.b.clone(),
                out: whole.out[out_from..out_end].to_vec(),
                ..whole
            };
            assert_eq!(part.multiply(true), out[out_from..out_end], "{rows} rows from {first}");
        }
    }
}

#[test]
fn nan_and_infinity_reach_their_rows_and_columns() {
    for rows in [3, 16, 20, 32] {
        let mut block = Block::new(rows, 64, || 1.0);
        let (last, depth) = (rows - 1, 37);
        block.a[last * block.lda + depth] = NAN_BITS;
        block.a[block.lda + depth] = nearest(f32::INFINITY);
        block.b[depth / 2 * 64 + 9 * 2 + depth % 2] = 0;
        block.b[depth / 2 * 64 + 30 * 2 + depth % 2] = nearest(f32::NEG_INFINITY);
        let out = block.multiply(false);
        block.each(&out, false, |row, column, found, _, _| match (row, column) {
            (row, _) if row == last => assert!(found.is_nan(), "({row}, {column}): {found}"),
            // Infinity times zero.
            (1, 9) => assert!(found.is_nan()),
            (1, 30) => assert_eq!(found, f32::NEG_INFINITY),
            (1, _) => assert_eq!(found, f32::INFINITY),
            (_, 9) => assert_eq!(found, 63.0),
            (_, 30) => assert_eq!(found, f32::NEG_INFINITY),
            _ => assert_eq!(found, 64.0),
        });
        // What was in the output before counts only if it is asked for.
        block.out[0] = f32::NAN;
        assert_eq!(block.multiply(false)[0], 64.0);
        assert!(block.multiply(true)[0].is_nan());
    }
}

/// `a` (m, k) times `b` (k, n), row-major, any sizes: how a driver packs, cuts the depth so that a panel's piece stays in L1,
/// and walks over the rows within it.
fn multiply_whole(a: &[f32], b: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    const PIECE: usize = 512;
    let (kp, panels) = (k.next_multiple_of(DEPTH), n.div_ceil(BLOCK));
    let mut packed_a = vec![0; m * kp];
    for (row, packed) in packed_a.chunks_mut(kp).enumerate() {
        packed.iter_mut().zip(&a[row * k..(row + 1) * k]).for_each(|(packed, &value)| *packed = nearest(value));
    }
    let mut packed_b = vec![0; panels * kp * BLOCK];
    for (at, packed) in packed_b.iter_mut().enumerate() {
        let (panel, within) = (at / (kp * BLOCK), at % (kp * BLOCK));
        let (depth, column) = (within / 64 * 2 + within % 2, panel * BLOCK + within % 64 / 2);
        if depth < k && column < n {
            *packed = nearest(b[depth * n + column]);
        }
    }
    let width = panels * BLOCK;
    let mut out = vec![f32::NAN; m * width];
    // The last rows come after all others, because the tiles are configured anew for them.
    let whole_blocks = m / BLOCK * BLOCK;
    on_tiles(&mut out, &packed_a, &packed_b, |tiles, out| {
        for range in [0..whole_blocks, whole_blocks..m] {
            for panel in 0..panels {
                for depth in (0..kp).step_by(PIECE) {
                    let (length, from) = (PIECE.min(kp - depth), (panel * kp + depth) * BLOCK);
                    let piece = &packed_b[from..from + length * BLOCK];
                    for row in range.clone().step_by(BLOCK) {
                        let (out, a) = (&mut out[row * width + panel * BLOCK..], &packed_a[row * kp + depth..]);
                        tiles.tile_block(out, width, BLOCK.min(m - row), a, kp, piece, length, depth > 0);
                    }
                }
            }
        }
    });
    out.chunks(width).flat_map(|row| &row[..n]).copied().collect()
}

#[test]
fn whole_products_of_odd_sizes() {
    for (m, n, k) in [(1, 1, 1), (33, 65, 31), (70, 40, 600), (15, 96, 1025)] {
        let mut random = Stream::new(k as u64, "amx whole").generator();
        let mut draw = |count: usize| (0..count).map(|_| random.below(65) as f32 - 32.0).collect::<Vec<_>>();
        let (a, b) = (draw(m * k), draw(k * n));
        let out = multiply_whole(&a, &b, m, n, k);
        for (at, &found) in out.iter().enumerate() {
            let (row, column) = (at / n, at % n);
            let expected: f32 = (0..k).map(|depth| a[row * k + depth] * b[depth * n + column]).sum();
            assert_eq!(found, expected, "({m}, {k}) by ({k}, {n}): ({row}, {column})");
        }
    }
}

#[test]
fn tiles_are_configured_once_for_blocks_of_equal_rows() {
    let block = Block::new(32, 32, || 1.0);
    let mut out = block.out.clone();
    let count = on_tiles(&mut out, &block.a, &block.b, |tiles, out| {
        for rows in [32, 32, 7, 7, 32] {
            // A second user of the same thread neither configures nor releases.
            let nested = Tiles::enter();
            nested.tile_block(out, block.out_stride, rows, &block.a, block.lda, &block.b, 32, false);
            drop(nested);
            tiles.tile_block(out, block.out_stride, rows, &block.a, block.lda, &block.b, 32, true);
            assert_eq!(out[0], 64.0);
        }
    });
    // 3 configurations and a release; 6 blocks of 32 rows with 16 instructions each and 4 of 7 with 9.
    assert!(count.is_none_or(|count| count == 4 + 6 * 16 + 4 * 9), "{count:?}");
}

#[test]
fn wrong_shapes_panic_before_anything_runs() {
    let (a, b, mut out) = (vec![0; 31 * 40 + 32], vec![0; 32 * 32], vec![0.0; 31 * 34 + 32]);
    let mut check = |expected: &str, out_stride: usize, rows: usize, lda: usize, kp: usize, short: [usize; 3]| {
        let (a, b, out_length) = (&a[short[0]..], &b[short[1]..], out.len() - short[2]);
        let call = || Tiles::enter().tile_block(&mut out[..out_length], out_stride, rows, a, lda, b, kp, false);
        let panic = catch_unwind(AssertUnwindSafe(call)).expect_err(expected);
        let message = panic.downcast_ref::<String>().expect("a formatted message");
        assert!(message.starts_with(expected), "{message}");
    };
    check("a block of 0 rows", 34, 0, 40, 32, [0; 3]);
    check("a block of 33 rows", 34, 33, 40, 32, [0; 3]);
    check("a depth of 0", 34, 32, 40, 0, [0; 3]);
    check("a depth of 33", 34, 32, 40, 33, [0; 3]);
    check("a: ", 34, 32, 40, 32, [1, 0, 0]);
    check("a: ", 34, 32, 41, 32, [0; 3]);
    check("a: ", 34, 3, usize::MAX, 32, [0; 3]);
    check("a: ", 34, 3, usize::MAX / 2 + 1, 32, [0; 3]);
    check("b: ", 34, 32, 40, 32, [0, 1, 0]);
    check("b: ", 34, 1, 40, 64, [0; 3]);
    check("rows of the output", 31, 32, 40, 32, [0; 3]);
    check("out: ", 34, 32, 40, 32, [0, 0, 1]);
    check("out: ", 35, 32, 40, 32, [0; 3]);
    check("out: ", usize::MAX, 32, 40, 32, [0; 3]);
}

/// Words as the packing of the other kernels makes them.
#[test]
fn pairs_in_words_are_read_in_order() {
    let word = |low: f32, high: f32| f32::from_bits(high.to_bits() | low.to_bits() >> 16);
    assert_eq!(halves(&[word(1.0, -2.0), word(0.5, 4.0)]), [0x3F80, 0xC000, 0x3F00, 0x4080]);
    // Depths 2p and 2p + 1 hold 1 and 2 in `a`, column and zero in `b`.
    let (a, b): (Vec<_>, Vec<_>) = ([word(1.0, 2.0); 16].into(), (0..512).map(|at| word((at % 32) as f32, 0.0)).collect());
    let mut out = [f32::NAN; BLOCK];
    on_tiles(&mut out, halves(&a), halves(&b), |tiles, out| {
        tiles.tile_block(out, BLOCK, 1, halves(&a), 32, halves(&b), 32, false);
    });
    assert_eq!(out, std::array::from_fn(|column| 16.0 * column as f32));
}

#[test]
fn one_row_needs_no_stride() {
    let block = Block { lda: usize::MAX, out_stride: usize::MAX, ..Block::new(1, 64, || 1.0) };
    assert_eq!(block.multiply(false), [64.0; BLOCK]);
}

/// Runs the check with results changed by `change`.
fn checked(mut change: impl FnMut(&Check, &mut [f32])) -> Result<(), String> {
    self_check(|check, out| {
        on_tiles(out, &check.a, &check.b, |tiles, out| {
            tiles.tile_block(out, BLOCK, check.rows, &check.a, check.kp, &check.b, check.kp, check.accumulate);
        });
        change(check, out);
    })
}

#[test]
fn the_check_passes_and_notices_errors() {
    assert_eq!(checked(|_, _| {}), Ok(()));
    let last_digit = checked(|_, out| *out.last_mut().unwrap() += 1.0);
    assert!(last_digit.as_ref().is_err_and(|reason| reason.starts_with("the check's product of 32 rows has")), "{last_digit:?}");
    assert!(checked(|_, out| out[40] = f32::NAN).is_err());
    assert!(
        checked(|check, out| if check.rows == 19 {
            out[19 * BLOCK - 1] = 0.5
        })
        .is_err()
    );
    assert!(
        checked(|check, out| if check.rows == 5 {
            out[0] = 0.5
        })
        .is_err()
    );
}

#[test]
fn the_processor_and_the_system_must_both_agree() {
    type Change = fn(u32, u32, &mut [u32; 4]);
    let complete = |leaf: u32, subleaf: u32| match (leaf, subleaf) {
        (1, 0) => [0, 0, 1 << 27, 0],
        (7, 0) => [0, 0, 0, 1 << 22 | 1 << 24],
        (0x1D, 1) => [1024 << 16 | 8192, 8 << 16 | 64, 16, 0],
        _ => [0; 4],
    };
    assert_eq!(probe::processor(complete), Ok(()));
    let changes: [(&str, Change); 5] = [
        ("the processor has no AMX", |leaf, _, registers| registers[3] &= if leaf == 7 { !(1 << 22) } else { !0 }),
        ("the processor has no AMX", |leaf, _, registers| registers[3] &= if leaf == 7 { !(1 << 24) } else { !0 }),
        ("the processor has AMX, but the system", |leaf, _, registers| registers[2] &= if leaf == 1 { 0 } else { !0 }),
        ("the processor's tiles have other sizes", |leaf, _, registers| registers[1] &= if leaf == 0x1D { 0 } else { !0 }),
        ("the processor's tiles have other sizes", |leaf, _, registers| registers[2] &= if leaf == 0x1D { !16 } else { !0 }),
    ];
    for (expected, change) in changes {
        let result = probe::processor(|leaf, subleaf| {
            let mut registers = complete(leaf, subleaf);
            change(leaf, subleaf, &mut registers);
            registers
        });
        assert!(result.as_ref().is_err_and(|reason| reason.starts_with(expected)), "{expected}: {result:?}");
    }
    assert_eq!(probe::system(0b110_0000_0000_1110_0111), Ok(()));
    assert!(probe::system(1 << 17).is_err() && probe::system(1 << 18).is_err());
    assert_eq!(probe::permission(0), Ok(()));
    assert_eq!(probe::permission(-28), Err(String::from("the system refuses the use of tiles (arch_prctl: error 28)")));
}

#[test]
fn the_status_says_what_is_so() {
    // Real or emulated, the instructions run.
    assert!(available() && Tiles::begin().is_some() && status().starts_with("available"), "{}", status());
}
