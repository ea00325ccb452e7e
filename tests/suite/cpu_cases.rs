//! The CPU backend, forced to each set of instructions that the machine has.

use proptest::prelude::*;
use proptest::sample::select;
use stepsynth_core::reference::Reference;
use stepsynth_kernels::cpu::{Cpu, Isa, Precision};

use crate::backend_cases::{Case, Kind, Poison, cases, check, run_counted};
use crate::plain::Plain;

/// Numbers of rows, or lengths, about the sizes of registers, tiles and blocks.
const ODD: [usize; 5] = [1, 15, 17, 511, 513];

/// Backends that have to agree bit for bit: over numbers of threads and, where nothing depends on it, instruction sets.
fn groups(precision: Precision, case: &Case) -> Vec<Vec<Cpu>> {
    let cpu = |isa, threads| Cpu::with_isa(threads, precision, isa).unwrap();
    if matches!(case, Case::Linear { .. }) {
        // Tiles of other sizes sum in other orders.
        return Isa::available().map(|isa| [1, 2, 3].map(|threads| cpu(isa, threads)).into()).collect();
    }
    let best = Isa::choose().unwrap();
    let others = Isa::available().filter(|&isa| isa != best).map(|isa| cpu(isa, 2));
    vec![[1, 2, 3].map(|threads| cpu(best, threads)).into_iter().chain(others).collect()]
}

fn check_all(precision: Precision, case: &Case, seed: u64) {
    let groups = groups(precision, case);
    match precision {
        Precision::F32 => check(&Reference::<f32>::new(), &groups, Precision::F32, case, seed),
        Precision::Bf16 => check(&Plain::multiplying(), &groups, Precision::F32, case, seed),
    }
}

#[test]
fn cpu() {
    for (seed, case) in (0..).zip(&cases()) {
        check_all(Precision::F32, case, seed);
    }
}

#[test]
fn cpu_in_bfloat16() {
    for (seed, case) in (0..).zip(&cases()).filter(|(_, case)| matches!(case, Case::Linear { .. })) {
        check_all(Precision::Bf16, case, seed);
    }
}

/// A value that is not finite reaches the same elements of the results as in the reference, from any element of any input.
#[test]
fn what_is_not_finite_reaches_the_same_results() {
    let lengths = || vec![17, 1, 33];
    let cases = [
        Case::Embed { lengths: lengths(), columns: 19 },
        Case::Linear { rows: 35, inputs: 18, outputs: 37 },
        Case::LayerNorm { rows: 5, columns: 37 },
        Case::Activation { rows: 3, columns: 19, kind: Kind::GeluErf },
        Case::Activation { rows: 3, columns: 19, kind: Kind::GeluTanh },
        Case::Activation { rows: 3, columns: 19, kind: Kind::Relu },
        Case::Activation { rows: 3, columns: 19, kind: Kind::Tanh },
        Case::Attention { lengths: lengths(), heads: 2, head_size: 18, dropout: 0.0 },
        Case::Attention { lengths: lengths(), heads: 2, head_size: 18, dropout: 0.3 },
        Case::Dropout { rows: 5, columns: 19, p: 0.3 },
        Case::Elementwise { rows: 5, columns: 19 },
        Case::Gather { rows: 7, columns: 19 },
        Case::CrossEntropy { rows: 5, columns: 19 },
        Case::SpanLoss { lengths: lengths() },
        Case::Adamw { rows: 5, columns: 19 },
        Case::Norm { rows: 5, columns: 19 },
    ];
    for case in &cases {
        for seed in 0..3 {
            for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                spread(case, seed, value);
            }
        }
    }
}

fn spread(case: &Case, seed: u64, value: f64) {
    let inputs = run_counted(&Reference::<f64>::new(), Precision::F32, case, seed, None).1;
    for poison in (1..=inputs).map(|input| Poison { input, value }) {
        let expected = run_counted(&Reference::<f64>::new(), Precision::F32, case, seed, Some(poison)).0;
        for (isa, precision) in Isa::available().flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Bf16)]) {
            let cpu = Cpu::with_isa(1, precision, isa).unwrap();
            let found = run_counted(&cpu, Precision::F32, case, seed, Some(poison)).0;
            for (expected, found) in expected.iter().zip(&found) {
                let (name, expected, found) = (expected.name, &expected.values, &found.values);
                let differs = expected.iter().zip(found).position(|(expected, found)| expected.is_finite() != found.is_finite());
                let pair = differs.map(|at| (at, expected[at], found[at]));
                assert_eq!(
                    pair, None,
                    "{name} of {case:?}, seed {seed}, {poison:?}, on {isa} in {precision:?}: at, expected, found"
                );
            }
        }
    }
}

/// A case of any sizes.
pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    let size = || 1..40_usize;
    let rows = || prop_oneof![3 => 1..200_usize, 1 => select(&ODD[..])];
    let lengths = || prop::collection::vec(size(), 1..6);
    let kind = select(vec![Kind::GeluErf, Kind::GeluTanh, Kind::Relu, Kind::Tanh]);
    prop_oneof![
        (lengths(), size()).prop_map(|(lengths, columns)| Case::Embed { lengths, columns }),
        any_linear(),
        (rows(), size()).prop_map(|(rows, columns)| Case::LayerNorm { rows, columns }),
        (rows(), size(), kind).prop_map(|(rows, columns, kind)| Case::Activation { rows, columns, kind }),
        (lengths(), 1..4_usize, 1..20_usize, select(vec![0.0, 0.2]))
            .prop_map(|(lengths, heads, head_size, dropout)| Case::Attention { lengths, heads, head_size, dropout }),
        (rows(), size()).prop_map(|(rows, columns)| Case::Dropout { rows, columns, p: 0.3 }),
        (rows(), size()).prop_map(|(rows, columns)| Case::Elementwise { rows, columns }),
        (5..200_usize, size()).prop_map(|(rows, columns)| Case::Gather { rows, columns }),
        (rows(), size()).prop_map(|(rows, columns)| Case::CrossEntropy { rows, columns }),
        lengths().prop_map(|lengths| Case::SpanLoss { lengths }),
        (rows(), size()).prop_map(|(rows, columns)| Case::Adamw { rows, columns }),
        (rows(), size()).prop_map(|(rows, columns)| Case::Norm { rows, columns }),
    ]
}

/// A linear layer of any sizes: each of the three odd, or any.
fn any_linear() -> impl Strategy<Value = Case> {
    let size = || prop_oneof![3 => 1..70_usize, 1 => select(&ODD[..])];
    (size(), 1..70_usize, size()).prop_map(|(rows, inputs, outputs)| Case::Linear { rows, inputs, outputs })
}

/// Attention over sequences of odd lengths, with the heads of real models.
fn any_attention() -> impl Strategy<Value = Case> {
    let length = prop_oneof![2 => select(&ODD[..]), 1 => 1..300_usize];
    (prop::collection::vec(length, 1..3), 1..3_usize, select(vec![32, 64]), select(vec![0.0, 0.1]))
        .prop_map(|(lengths, heads, head_size, dropout)| Case::Attention { lengths, heads, head_size, dropout })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn cpu_at_random_sizes(case in any_case(), seed in 0..1000_u64) {
        check_all(Precision::F32, &case, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn cpu_in_bfloat16_at_random_sizes(case in any_linear(), seed in 0..1000_u64) {
        check_all(Precision::Bf16, &case, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn attention_at_odd_lengths(case in any_attention(), seed in 0..1000_u64) {
        check_all(Precision::F32, &case, seed);
    }
}
