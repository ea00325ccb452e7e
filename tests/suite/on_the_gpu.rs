//! The cases of `tests/cases.toml`, and others of the sizes of real encoders, on a real GPU, where there is one.
//!
//! Without one the tests say so and pass, unless STEPSYNTH_REQUIRE_CUDA is 1. STEPSYNTH_SMALL_CASES=1 leaves out what takes
//! minutes under compute-sanitizer. `kernels/lab/on_device.sh` runs them with both, and with memory that is NaN before it is
//! written.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stepsynth_core::backend::Backend;
use stepsynth_core::reference::Reference;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::Cuda;
use stepsynth_kernels::cuda::driver::Driver;

use crate::backend_cases::{Case, Kind, cases, check};
use crate::plain::Plain;

fn asked(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// The first GPU twice over, so that both have to give the same bits.
fn gpus(precision: Precision) -> Option<Vec<Cuda<Driver>>> {
    let open = || Driver::open(0).map(|driver| Cuda::new(driver, precision));
    match open().and_then(|one| Ok(vec![one, open()?])) {
        Ok(both) => Some(both),
        Err(reason) if asked("STEPSYNTH_REQUIRE_CUDA") => panic!("{reason}"),
        Err(reason) => {
            eprintln!("not run: {reason}");
            None
        }
    }
}

/// Checks all cases before it fails, since a machine with a GPU may not be there for long.
fn check_all<P: Backend>(plain: &P, precision: Precision, cases: &[Case]) {
    let Some(gpus) = gpus(precision) else { return };
    let groups = [gpus];
    let failed: Vec<String> = (0..)
        .zip(cases)
        .filter(|(_, case)| !asked("STEPSYNTH_SMALL_CASES") || is_small(case))
        .filter(|(seed, case)| catch_unwind(AssertUnwindSafe(|| check(plain, &groups, precision, case, *seed))).is_err())
        .map(|(seed, case)| format!("{seed} {case:?}"))
        .collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}

fn is_small(case: &Case) -> bool {
    match case {
        Case::Linear { rows, inputs, outputs } => rows * inputs * outputs < 2_000_000,
        Case::Attention { lengths, .. } => lengths.iter().sum::<usize>() < 150,
        _ => true,
    }
}

/// Shapes of real encoders, with odd numbers of rows.
fn real_sizes() -> Vec<Case> {
    let linear = |rows, inputs, outputs| Case::Linear { rows, inputs, outputs };
    let attention = |head_size| Case::Attention { lengths: vec![512, 3, 129, 256, 64, 1], heads: 12, head_size, dropout: 0.1 };
    let mut cases = vec![
        linear(331, 768, 2304),
        linear(520, 384, 1536),
        linear(257, 3072, 768),
        linear(1031, 768, 2),
        attention(64),
        attention(32),
        Case::Embed { lengths: vec![512, 90, 7], columns: 768 },
        Case::Embed { lengths: vec![512, 90, 7], columns: 384 },
        Case::SpanLoss { lengths: vec![512, 384, 1, 77] },
        Case::CrossEntropy { rows: 257, columns: 3 },
        Case::Adamw { rows: 3001, columns: 768 },
        Case::Norm { rows: 3001, columns: 768 },
        Case::Dropout { rows: 1003, columns: 768, p: 0.1 },
    ];
    for columns in [384, 768, 1024] {
        cases.push(Case::LayerNorm { rows: 1003, columns });
        cases.push(Case::Activation { rows: 401, columns: 4 * columns, kind: Kind::GeluErf });
    }
    cases
}

#[test]
fn on_the_gpu() {
    check_all(&Reference::<f32>::new(), Precision::F32, &cases());
}

#[test]
fn on_the_gpu_in_bfloat16() {
    check_all(&Plain::storing(), Precision::Bf16, &cases());
}

#[test]
fn on_the_gpu_at_real_sizes() {
    if !asked("STEPSYNTH_SMALL_CASES") {
        check_all(&Reference::<f32>::new(), Precision::F32, &real_sizes());
        check_all(&Plain::storing(), Precision::Bf16, &real_sizes());
    }
}
