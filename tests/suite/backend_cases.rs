//! Every operation of every backend on the cases of `tests/cases.toml`.
//!
//! The truth is the reference in f64. A backend may be at most twice as far from it as the reference in f32 is, plus four
//! units of rounding of the largest value of that output. NaN fails. What a linear layer makes of its sums is not closer than
//! the sums, and in few values the plain run can be close by luck, so there the largest value of all outputs counts; and a
//! score of attention is a sum of terms of order one, however small it is itself, so there no less than one.
//!
//! Where linear layers multiply in bfloat16 and where activations are stored in it, the plain run is [`Plain`]; inputs that a
//! model stores are then drawn from such numbers.

mod bench;
mod operations;

use serde::Deserialize;
use stepsynth_core::backend::{Activation, Backend};
use stepsynth_core::reference::Reference;
use stepsynth_kernels::Precision;

use self::bench::Output;
pub(crate) use self::operations::run_counted;
use crate::plain::to_bfloat16;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Case {
    Embed {
        lengths: Vec<usize>,
        columns: usize,
    },
    Linear {
        rows: usize,
        inputs: usize,
        outputs: usize,
    },
    LayerNorm {
        rows: usize,
        columns: usize,
    },
    Activation {
        rows: usize,
        columns: usize,
        kind: Kind,
    },
    Attention {
        lengths: Vec<usize>,
        heads: usize,
        head_size: usize,
        #[serde(default)]
        dropout: f64,
    },
    Dropout {
        rows: usize,
        columns: usize,
        p: f64,
    },
    /// `copy`, `add` and `clear`.
    Elementwise {
        rows: usize,
        columns: usize,
    },
    Gather {
        rows: usize,
        columns: usize,
    },
    CrossEntropy {
        rows: usize,
        columns: usize,
    },
    SpanLoss {
        lengths: Vec<usize>,
    },
    Adamw {
        rows: usize,
        columns: usize,
    },
    Norm {
        rows: usize,
        columns: usize,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    GeluErf,
    GeluTanh,
    Relu,
    Tanh,
}

impl From<Kind> for Activation {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::GeluErf => Self::GeluErf,
            Kind::GeluTanh => Self::GeluTanh,
            Kind::Relu => Self::Relu,
            Kind::Tanh => Self::Tanh,
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    toml::from_str::<Cases>(include_str!("../cases.toml")).unwrap().case
}

/// One element of one input that is not finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poison {
    /// Which of the inputs, in the order in which they are drawn, from 1 on.
    pub(crate) input: u64,
    pub(crate) value: f64,
}

/// Largest difference, infinite if anything is not a number.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).fold(0.0, |worst, (a, b)| if (a - b).is_nan() { f64::INFINITY } else { worst.max((a - b).abs()) })
}

/// The check every backend passes, on one case: beside a plain run in the same numbers, for a backend that stores `activations`
/// so. The backends of one group have to agree bit for bit.
pub(crate) fn check<P: Backend, B: Backend>(plain: &P, groups: &[Vec<B>], activations: Precision, case: &Case, seed: u64) {
    fn run<B: Backend>(backend: &B, activations: Precision, case: &Case, seed: u64) -> Vec<Output> {
        run_counted(backend, activations, case, seed, None).0
    }
    let truth = run(&Reference::<f64>::new(), activations, case, seed);
    let plain = run(plain, activations, case, seed);
    let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let of_all = truth.iter().map(|output| largest(&output.values)).fold(0.0, f64::max);
    // The backward pass of attention on CUDA has the probabilities from the logarithms of their sums alone. Each of these is kept
    // in f32, half a unit of rounding of itself off, which is a relative error of all probabilities of its row.
    let shared = truth.iter().find(|output| output.name == "lse").map_or(0.0, |output| 0.5 * largest(&output.values));
    for group in groups {
        let name = group[0].name();
        let got = run(&group[0], activations, case, seed);
        for ((truth, plain), got) in truth.iter().zip(&plain).zip(&got) {
            let (output, truth) = (got.name, &truth.values);
            let largest = match case {
                Case::Linear { .. } => of_all,
                Case::Attention { .. } => largest(truth).max(1.0),
                _ => largest(truth),
            };
            let units = if output == "d_qkv" && name.starts_with("cuda") { 4.0 + shared } else { 4.0 };
            let allowed = 2.0 * distance(&plain.values, truth) + units * f64::from(f32::EPSILON) * largest;
            let error = distance(&got.values, truth);
            assert!(error <= allowed, "{name} on case {seed} {case:?}: {output} is off by {error:e}, allowed {allowed:e}");
            if activations == Precision::Bf16 && got.activation {
                let stored_so = got.values.iter().all(|&value| value == to_bfloat16(value));
                assert!(stored_so, "{name} on case {seed} {case:?}: {output} is not stored in bfloat16");
            }
        }
        for other in &group[1..] {
            let other = run(other, activations, case, seed);
            let same = other.iter().zip(&got).all(|(other, got)| other.values == got.values);
            assert!(same, "{name} on case {seed} {case:?}: not the same bits");
        }
    }
}

#[test]
fn reference_f32() {
    let plain = Reference::<f32>::new();
    for (seed, case) in (0..).zip(&cases()) {
        check(&plain, &[vec![plain]], Precision::F32, case, seed);
    }
}
