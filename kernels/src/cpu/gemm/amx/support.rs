//! Whether AMX is used, decided once: what the processor has, what the system allows, and a small product that must be right.

use std::sync::OnceLock;

use stepsynth_core::random::Stream;

use super::{BLOCK, Tiles};

/// Nothing if AMX is used, else why not, as half a sentence.
pub(super) fn support() -> &'static Result<(), String> {
    static SUPPORT: OnceLock<Result<(), String>> = OnceLock::new();
    SUPPORT.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        hardware()?;
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        return Err(String::from("only Linux on x86-64 is supported"));
        #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), expect(unreachable_code))]
        self_check(|check, out| {
            let Check { rows, kp, accumulate, .. } = *check;
            Tiles::enter().tile_block(out, BLOCK, rows, &check.a, kp, &check.b, kp, accumulate);
        })
    })
}

/// Whether the instructions run. In this package's own tests they do everywhere, for a machine without them has them emulated.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn hardware() -> Result<(), String> {
    let found = super::probe::probe();
    #[cfg(test)]
    let found = found.or_else(|_| {
        super::tests::emulator::trap::emulate_everywhere();
        Ok(())
    });
    found
}

/// What `doctor` says of AMX.
pub(in crate::cpu) fn status() -> String {
    match support() {
        Ok(()) => String::from(
            "available, and a product computed with it at start is right (its code was verified by emulating the \
             instructions; its speed has not been measured on hardware)",
        ),
        Err(reason) => format!("not used: {reason}"),
    }
}

/// A small product whose result is known.
pub(super) struct Check {
    pub(super) rows: usize,
    pub(super) kp: usize,
    pub(super) accumulate: bool,
    pub(super) a: Vec<u16>,
    pub(super) b: Vec<u16>,
}

/// Compares what `multiply` makes of random blocks with plain sums.
///
/// The values are whole numbers up to 255: all of bf16's significand is used, products have 16 bits, and a sum of 64 of
/// them and a whole number stays below 2^24, so every order of additions gives the one exact result.
pub(super) fn self_check(mut multiply: impl FnMut(&Check, &mut [f32])) -> Result<(), String> {
    for (rows, kp, accumulate) in [(BLOCK, 64, false), (BLOCK, 64, true), (19, 32, true), (5, 64, false)] {
        let mut random = Stream::new(rows as u64, "amx self-check").generator();
        let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| random.below(511) as f32 - 255.0).collect() };
        let (a, b, before) = (draw(rows * kp), draw(kp * BLOCK), draw(rows * BLOCK));
        // A whole number of up to 8 bits is the upper half of its f32.
        let upper_half = |value: &f32| (value.to_bits() >> 16) as u16;
        let check = Check {
            rows,
            kp,
            accumulate,
            a: a.iter().map(upper_half).collect(),
            b: (0..kp * BLOCK).map(|at| upper_half(&b[(at / 64 * 2 + at % 2) * BLOCK + at % 64 / 2])).collect(),
        };
        let mut out = before.clone();
        multiply(&check, &mut out);
        for (at, (&found, &before)) in out.iter().zip(&before).enumerate() {
            let (row, column) = (at / BLOCK, at % BLOCK);
            let sum: f32 = (0..kp).map(|depth| a[row * kp + depth] * b[depth * BLOCK + column]).sum();
            let expected = sum + if accumulate { before } else { 0.0 };
            if found != expected {
                return Err(format!("the check's product of {rows} rows has {found} at ({row}, {column}), not {expected}"));
            }
        }
    }
    Ok(())
}
