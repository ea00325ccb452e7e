//! The CUDA backend's kernels, run by the emulator.

use proptest::prelude::*;
use stepsynth_core::backend::Backend;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::Cuda;

use crate::backend_cases::{Case, cases, check};
use crate::cpu_cases::any_case;
use crate::plain::Plain;

/// Operations that come in tiers in each tier that can be emulated, the rest in one.
fn check_emulated<P: Backend>(plain: &P, precision: Precision, case: &Case, seed: u64) {
    let tiers = if matches!(case, Case::Linear { .. } | Case::Attention { .. }) { &[(8, 0), (7, 5)][..] } else { &[(8, 0)] };
    let groups: Vec<_> = tiers.iter().map(|&capability| vec![Cuda::new(Emulator::new(capability), precision)]).collect();
    check(plain, &groups, precision, case, seed);
}

#[test]
fn emulated_cuda() {
    for (seed, case) in (0..).zip(&cases()) {
        check_emulated(&Plain::chaining(), Precision::F32, case, seed);
    }
}

#[test]
fn emulated_cuda_in_bfloat16() {
    for (seed, case) in (0..).zip(&cases()) {
        check_emulated(&Plain::storing(), Precision::Bf16, case, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn emulated_cuda_at_random_sizes(case in any_case(), seed in 0..1000_u64) {
        check_emulated(&Plain::chaining(), Precision::F32, &case, seed);
        check_emulated(&Plain::storing(), Precision::Bf16, &case, seed);
    }
}
