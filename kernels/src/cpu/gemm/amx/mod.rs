//! Products of bf16 matrices with f32 accumulation through the AMX tile unit (Intel, Sapphire Rapids and later).
//!
//! # What a block is
//! [`Tiles::tile_block`] computes up to 32 rows by 32 columns of a product. All eight tile registers are in use: four
//! accumulators of 16 x 16 `f32`, two tiles of `a` (16 rows x 32 of the depth) and two of `b` (32 of the depth x 16 columns).
//!
//! Values are bf16 bits in `u16`; the depth `kp` is a multiple of 32, filled up with zeros **in both operands** (a NaN in
//! the filling of one would meet the zeros of the other).
//! * `a`: row-major, `lda` elements from row to row.
//! * `b`: a panel of 32 columns. Depths `2p` and `2p + 1` make pair `p`: 64 values, column 0's two, column 1's two, and so
//!   on; pairs follow each other, so a panel has `32 kp` values.
//!
//! # Fewer rows than 32
//! The tiles are configured with the rows that are there, so nothing beyond them is read or written, no copy is made, and
//! a dot product takes time by its rows. The other way, a copy filled up to 32 rows, would cost `64 kp` bytes of copying
//! and a second pass over the output each time. A change of the number of rows costs one `ldtilecfg`, about 200 cycles,
//! where a block of depth 512 takes 1100; so a product's last rows belong after all its whole blocks (`multiply_whole` in
//! the tests shows the order of loops). With at most 16 rows there is one row of tiles.
//!
//! # Numbers
//! `tdpbf16ps` adds, for each output and step of 32 of the depth, the 16 products of even depth and the 16 of odd depth in
//! two chains of fused multiply-adds that start from zero, adds the two, and then adds that to the accumulator. Every
//! operation rounds to nearest even; subnormal inputs, bf16 or f32, count as zero and subnormal results become zero,
//! whatever MXCSR says. So a row's result depends neither on the other rows nor on how many there are, and the error is at
//! most `(17 + kp / 32) u / (1 - (17 + kp / 32) u)` times the sum of `|a b|` (and of what was accumulated upon), `u = 2^-24`,
//! as long as nothing is subnormal.
//!
//! # Rate to expect (predicted, not measured)
//! A step of 32 x 32 x 32 (65 536 operations) is 13 instructions (`objdump` shows the loop of `instructions.rs` unchanged):
//! four dot products that occupy the tile unit for 16 cycles each, four tile loads of 8 cycles each on the load ports beside
//! them, five for the loop. So it is bound by the tile unit: 64 cycles, 1024 operations a cycle, 3.1 TFLOP/s a core at 3
//! GHz, if the loads keep up: 4 KiB a step, 64 bytes a cycle, all that L2 can give. **One operand must therefore come from
//! L1**: cut the depth into pieces of 512 (a panel's piece is 32 KiB of 48), hold the panel's piece, and walk over the rows
//! with `accumulate`; then L2 has to give half. Loading and storing the four accumulators costs about 100 cycles a block: 9%
//! at a depth of 512, 6% at 768. With at most 16 rows only two chains are in flight and the latency of a dot product (52
//! cycles) shows: 60% of the rate. The cycles are those of Intel's optimization manual for Sapphire Rapids, table 20-2.
//!
//! `a` is read with the hint that it will not be wanted soon again, `b` without. There are no software prefetches: a step's
//! loads depend on nothing but addresses, so the processor issues them ahead of the dot products in flight, and a prefetch
//! that nobody can time is a guess.
//!
//! # How far it is verified
//! The instructions as compiled, and whole matrix products of the linear layers that reach them, forward and backward, ran
//! under an emulation of the tile unit (`kernels/emulator/amx`) that follows the published pseudo-code of the instructions.
//! They have not run on a processor with AMX yet: neither the results (the check at first use guards them) nor the rate
//! above. On a machine that has AMX the same tests run on it directly.

#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod instructions;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod probe;
mod support;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests;

use std::cell::Cell;
use std::marker::PhantomData;

pub(in crate::cpu) use support::status;

/// Rows and columns of a block.
pub(super) const BLOCK: usize = 32;
/// What a depth is a multiple of.
pub(super) const DEPTH: usize = 32;

/// Whether [`Tiles::begin`] gives access to the tile unit. The first call asks the processor and the system and checks a
/// small product; later ones remember.
pub(super) fn available() -> bool {
    support::support().is_ok()
}

/// Words of two bf16, that of lesser depth in the low half, as the values that [`Tiles::tile_block`] takes.
pub(super) fn halves(words: &[f32]) -> &[u16] {
    // SAFETY: the same bytes, borrowed alike; every pattern is a `u16`, and its alignment is less. Tiles exist on
    // little-endian machines alone, where the low half comes first.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), 2 * words.len()) }
}

/// A thread's use of the tile unit, from the first block of a batch to the last.
///
/// Configuring the unit takes about 200 cycles, and while it is configured a change of context has to save 8 KiB more;
/// so a thread begins before its blocks and drops the value after them. Nothing else that uses AMX may run on the thread in
/// between. Values may nest.
pub(super) struct Tiles {
    /// The configuration belongs to the thread.
    not_send: PhantomData<*const ()>,
}

/// What the tile unit of this thread is set to.
#[derive(Clone, Copy)]
struct State {
    /// Values of [`Tiles`] alive.
    users: usize,
    /// Rows of a block that it is configured for; 0 if it is released.
    rows: usize,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State { users: 0, rows: 0 }) };
}

impl Tiles {
    /// Access to the tile unit from this thread, if it is [`available`].
    pub(super) fn begin() -> Option<Self> {
        available().then(Self::enter)
    }

    /// As [`Tiles::begin`], for callers that know that the instructions run.
    fn enter() -> Self {
        let state = STATE.get();
        STATE.set(State { users: state.users + 1, ..state });
        Self { not_send: PhantomData }
    }

    /// `out = a b`, or `out += a b` if `accumulate`: `rows` x 32 of a product over a depth of `kp`.
    ///
    /// # Shapes
    /// `a`: (rows, kp) of bf16 bits, `lda` elements from row to row. `b`: (kp / 2, 32, 2) of bf16 bits. `out`: (rows, 32),
    /// `out_stride` elements from row to row, at least 32; elements between the rows are left alone.
    ///
    /// # Panics
    /// If `rows` is not 1 to 32, `kp` is 0 or no multiple of 32, or a slice is too short.
    #[expect(clippy::too_many_arguments, reason = "three matrices and their strides")]
    pub(super) fn tile_block(
        &self,
        out: &mut [f32],
        out_stride: usize,
        rows: usize,
        a: &[u16],
        lda: usize,
        b: &[u16],
        kp: usize,
        accumulate: bool,
    ) {
        assert!((1..=BLOCK).contains(&rows), "a block of {rows} rows");
        assert!(kp > 0 && kp.is_multiple_of(DEPTH), "a depth of {kp}");
        // The end of the last row, if it does not overflow.
        let end = |stride: usize, width: usize| (rows - 1).checked_mul(stride)?.checked_add(width);
        assert!(end(lda, kp).is_some_and(|end| end <= a.len()), "a: {rows} rows of {kp}, {lda} apart, in {}", a.len());
        assert!(kp.checked_mul(BLOCK).is_some_and(|end| end <= b.len()), "b: {kp} x 32 in {}", b.len());
        assert!(out_stride >= BLOCK, "rows of the output are {out_stride} apart");
        assert!(
            end(out_stride, BLOCK).is_some_and(|end| end <= out.len()),
            "out: {rows} rows, {out_stride} apart, in {}",
            out.len()
        );
        let state = STATE.get();
        if state.rows != rows {
            // SAFETY: a value of `Tiles` exists, so the tile instructions run on this machine, and `rows` is 1 to 32.
            unsafe { instructions::configure(rows) };
            STATE.set(State { rows, ..state });
        }
        let operands = instructions::Operands {
            out: out.as_mut_ptr(),
            // One row needs no stride, and its own may be anything. Any other was checked against the length of a slice.
            out_bytes: if rows > 1 { size_of::<f32>() * out_stride } else { 0 },
            a: a.as_ptr(),
            a_bytes: if rows > 1 { size_of::<u16>() * lda } else { 0 },
            b: b.as_ptr(),
            steps: kp / DEPTH,
            accumulate,
        };
        // SAFETY: the unit is configured for `rows` rows: just now, or by an earlier call since which nobody else touched the
        // configuration (it is this thread's, `STATE` follows it, and other users are excluded by the contract of `Tiles`).
        // The assertions hold every row of `a`, the panel `b` and every row of `out` within their slices, `out` is borrowed
        // mutably, and `steps` is at least 1.
        unsafe {
            if rows > BLOCK / 2 {
                instructions::two_rows_of_tiles(operands);
            } else {
                instructions::one_row_of_tiles(operands);
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        let state = STATE.get();
        let users = state.users - 1;
        if users == 0 && state.rows != 0 {
            // SAFETY: a value of `Tiles` exists, so the tile instructions run on this machine.
            unsafe { instructions::release() };
        }
        STATE.set(State { users, rows: if users == 0 { 0 } else { state.rows } });
    }
}

/// Where there are no tiles, [`Tiles::begin`] returns none, so none of these is ever called.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod instructions {
    #[expect(dead_code, reason = "written by the portable code, read by the tile instructions")]
    pub(super) struct Operands {
        pub(super) out: *mut f32,
        pub(super) out_bytes: usize,
        pub(super) a: *const u16,
        pub(super) a_bytes: usize,
        pub(super) b: *const u16,
        pub(super) steps: usize,
        pub(super) accumulate: bool,
    }

    pub(super) unsafe fn configure(_: usize) {
        unreachable!("no tiles here");
    }

    pub(super) unsafe fn release() {
        unreachable!("no tiles here");
    }

    pub(super) unsafe fn two_rows_of_tiles(_: Operands) {
        unreachable!("no tiles here");
    }

    pub(super) unsafe fn one_row_of_tiles(_: Operands) {
        unreachable!("no tiles here");
    }
}
