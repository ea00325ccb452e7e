//! The tile instructions, as inline assembly: the compiler's own are unstable (rust-lang/rust #126622), `asm!` is not.
//!
//! A block is one `asm!` block, from the accumulators' start to their store, so no tile has to live across code of the
//! compiler's. The loop is turned by one step: the first operands of the next step are loaded between the dot products of
//! this one, each as soon as its register has been read for the last time. The last step stands after the loop, so that
//! nothing beyond the operands is read.
#![allow(unsafe_code)]

use std::arch::asm;

/// `ldtilecfg`'s operand, palette 1: eight tiles of up to 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// Accumulators 0 to 3 (row by row of tiles), tiles 4 and 5 of `a`, 6 and 7 of `b`.
    fn of_rows(rows: usize) -> Self {
        let (upper, lower) = (rows.min(16) as u8, rows.saturating_sub(16) as u8);
        let used = [upper, upper, lower, lower, upper, lower, 16, 16];
        let mut configuration = Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for (tile, &rows) in used.iter().enumerate().filter(|&(_, &rows)| rows > 0) {
            configuration.rows[tile] = rows;
            configuration.row_bytes[tile] = 64;
        }
        configuration
    }
}

/// Configures this thread's tiles for blocks of `rows` rows and clears them.
///
/// # Safety
/// The processor has AMX, the system lets this process use it, and `rows` is 1 to 32.
pub(super) unsafe fn configure(rows: usize) {
    let configuration = Configuration::of_rows(rows);
    // SAFETY: the instructions may run (by the caller); the operand is 64 readable bytes, valid for palette 1.
    unsafe {
        asm!(
            "ldtilecfg [{0}]",
            in(reg) &raw const configuration,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags),
        );
    }
}

/// Returns this thread's tiles to the state in which they cost nothing to save.
///
/// # Safety
/// As [`configure`].
pub(super) unsafe fn release() {
    // SAFETY: the instruction may run (by the caller) and touches the tiles alone.
    unsafe {
        asm!(
            "tilerelease",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nomem, nostack, preserves_flags),
        );
    }
}

/// A block's matrices; distances from row to row in bytes.
pub(super) struct Operands {
    pub(super) out: *mut f32,
    pub(super) out_bytes: usize,
    pub(super) a: *const u16,
    pub(super) a_bytes: usize,
    pub(super) b: *const u16,
    /// Steps of 32 of the depth.
    pub(super) steps: usize,
    pub(super) accumulate: bool,
}

/// Bytes of a pair of depths of `b`: 32 columns of two values.
const PAIR_BYTES: usize = 128;

/// A block of 17 to 32 rows.
///
/// # Safety
/// [`configure`] was called on this thread for the block's rows, and no [`release`] since. With these rows and 32 columns,
/// `out` is valid for reads and writes of `f32`, `a` for reads of `32 steps` columns, `b` for reads of `1024 steps` values,
/// and `out` overlaps neither. `steps` is at least 1.
pub(super) unsafe fn two_rows_of_tiles(operands: Operands) {
    let Operands { out, out_bytes, a, a_bytes, b, steps, accumulate } = operands;
    // SAFETY: by the caller, row 16 exists in both.
    let (lower_a, lower_out) = unsafe { (a.byte_add(16 * a_bytes), out.byte_add(16 * out_bytes)) };
    // SAFETY: the tiles are configured with the block's rows, so that a load or store touches exactly these, at 64 bytes
    // each, which the caller vouches for: `out` at columns 0 and 16, `a` at columns 0, 32, up to `32 (steps - 1)`, and `b`
    // at 16 pairs a step, both halves of each. The registers written are declared, the stack is not used.
    unsafe {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jz 2f",
            "tileloadd tmm0, [{out} + {out_bytes}*1]",
            "tileloadd tmm1, [{out} + {out_bytes}*1 + 64]",
            "tileloadd tmm2, [{lower_out} + {out_bytes}*1]",
            "tileloadd tmm3, [{lower_out} + {out_bytes}*1 + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "tileloaddt1 tmm4, [{a} + {a_bytes}*1]",
            "tileloadd tmm6, [{b} + {pair_bytes}*1]",
            "dec {steps}",
            "jz 5f",
            ".p2align 5",
            "4:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {pair_bytes}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloaddt1 tmm5, [{lower_a} + {a_bytes}*1]",
            "add {b}, 2048",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloaddt1 tmm4, [{a} + {a_bytes}*1 + 64]",
            "add {a}, 64",
            "add {lower_a}, 64",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{b} + {pair_bytes}*1]",
            "dec {steps}",
            "jnz 4b",
            "5:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {pair_bytes}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloaddt1 tmm5, [{lower_a} + {a_bytes}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tilestored [{out} + {out_bytes}*1], tmm0",
            "tilestored [{out} + {out_bytes}*1 + 64], tmm1",
            "tilestored [{lower_out} + {out_bytes}*1], tmm2",
            "tilestored [{lower_out} + {out_bytes}*1 + 64], tmm3",
            accumulate = in(reg) u32::from(accumulate),
            out = in(reg) out,
            lower_out = in(reg) lower_out,
            out_bytes = in(reg) out_bytes,
            a = inout(reg) a => _,
            lower_a = inout(reg) lower_a => _,
            a_bytes = in(reg) a_bytes,
            b = inout(reg) b => _,
            pair_bytes = in(reg) PAIR_BYTES,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// A block of 1 to 16 rows: the upper row of tiles alone, with the same order of additions.
///
/// # Safety
/// As [`two_rows_of_tiles`].
pub(super) unsafe fn one_row_of_tiles(operands: Operands) {
    let Operands { out, out_bytes, a, a_bytes, b, steps, accumulate } = operands;
    // SAFETY: as in `two_rows_of_tiles`, less the lower rows.
    unsafe {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jz 2f",
            "tileloadd tmm0, [{out} + {out_bytes}*1]",
            "tileloadd tmm1, [{out} + {out_bytes}*1 + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "3:",
            "tileloaddt1 tmm4, [{a} + {a_bytes}*1]",
            "tileloadd tmm6, [{b} + {pair_bytes}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {pair_bytes}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {steps}",
            "jnz 3b",
            "tilestored [{out} + {out_bytes}*1], tmm0",
            "tilestored [{out} + {out_bytes}*1 + 64], tmm1",
            accumulate = in(reg) u32::from(accumulate),
            out = in(reg) out,
            out_bytes = in(reg) out_bytes,
            a = inout(reg) a => _,
            a_bytes = in(reg) a_bytes,
            b = inout(reg) b => _,
            pair_bytes = in(reg) PAIR_BYTES,
            steps = inout(reg) steps => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
