//! What the multiply-adds of one core can do at most: a loop that leaves nothing else to wait for.

use std::hint::black_box;
use std::time::Instant;

use super::Isa;
use super::kernel::Slot;

/// Rounds of one measurement: some tens of microseconds, in which nothing else runs more often than not.
const ROUNDS: usize = 10_000;
/// Measurements, of which the fastest counts.
const TRIES: usize = 300;

/// GFLOP/s of multiply-adds on registers on the calling thread, measured; none where there is no loop for it.
pub(super) fn measure(isa: Isa, slot: Slot) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let (rounds, operations): (unsafe fn(usize) -> f32, usize) = match (isa, slot) {
            (Isa::Portable, _) | (Isa::Amx, Slot::Pair) => return None,
            (Isa::Avx2, _) => (avx2, 2 * 8 * SUMS_AVX2),
            (_, Slot::Pair) => (avx512_pairs, 4 * 16 * SUMS_AVX512),
            _ => (avx512, 2 * 16 * SUMS_AVX512),
        };
        assert!(isa.is_available(), "{isa} is not available here");
        let times = (0..TRIES).map(|_| {
            let start = Instant::now();
            // SAFETY: the machine has the instructions, by the assertion.
            black_box(unsafe { rounds(black_box(ROUNDS)) });
            start.elapsed().as_secs_f64()
        });
        Some((operations * ROUNDS) as f64 / times.fold(f64::INFINITY, f64::min) / 1e9)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, slot, ROUNDS, TRIES, black_box(0), Instant::now);
        None
    }
}

/// Sums that are independent of each other: more than multiply-adds in flight, and few enough for the registers.
#[cfg(target_arch = "x86_64")]
const SUMS_AVX2: usize = 12;
#[cfg(target_arch = "x86_64")]
const SUMS_AVX512: usize = 24;

/// Defines a function that adds the product of two registers to each of some sums, so many times, and returns one of the sums.
#[cfg(target_arch = "x86_64")]
macro_rules! rounds {
    ($name:ident, $features:literal, $sums:ident, $set:ident, $first:ident, |$value:ident, $sum:ident| $step:expr) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: usize) -> f32 {
            use std::arch::x86_64::*;
            let $value = black_box($set(1.0 / 64.0));
            let mut sums = [$set(0.0); $sums];
            for _ in 0..rounds {
                for $sum in &mut sums {
                    *$sum = $step;
                }
            }
            sums.into_iter().map(|sum| $first(sum)).sum()
        }
    };
}

#[cfg(target_arch = "x86_64")]
rounds!(avx2, "avx2,fma", SUMS_AVX2, _mm256_set1_ps, _mm256_cvtss_f32, |value, sum| _mm256_fmadd_ps(value, value, *sum));
#[cfg(target_arch = "x86_64")]
rounds!(avx512, "avx512f", SUMS_AVX512, _mm512_set1_ps, _mm512_cvtss_f32, |value, sum| _mm512_fmadd_ps(value, value, *sum));
#[cfg(target_arch = "x86_64")]
rounds!(avx512_pairs, "avx512f,avx512bf16", SUMS_AVX512, _mm512_set1_ps, _mm512_cvtss_f32, |value, sum| {
    let value = super::avx512::pairs(value);
    _mm512_dpbf16_ps(*sum, value, value)
});
