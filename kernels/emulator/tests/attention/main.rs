//! Attention on every tier against the reference in f64.
//!
//! On each sequence a tier may be twice as far from the truth as the plain run of its precision is, at most and in the mean
//! square, plus four units of rounding (f32) of the largest value of that output. The plain run of f32 is the reference in f32; that of bf16 is `plain`, with the roundings that
//! the tier prescribes; inputs are numbers of the precision. NaN fails.

#![cfg(emulated)]

mod device;
mod plain;

use device::{cuda, to_bf16, upload};
use plain::Rounding;
use stepsynth_core::backend::{Backend, DeviceBatch, Dropout, Real};
use stepsynth_core::random::Stream;
use stepsynth_core::reference::Reference;
use stepsynth_core::{Batch, Sequence};
use stepsynth_kernels::Precision;

/// Capabilities that choose the portable and the mma tier.
const PORTABLE: (u32, u32) = (7, 5);
const MMA: (u32, u32) = (8, 0);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    lengths: &'static [usize],
    heads: usize,
    size: usize,
    p: f64,
}

impl Case {
    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
    fn hidden(&self) -> usize {
        self.heads * self.size
    }
    fn dropout(&self) -> Option<Dropout> {
        Dropout::new(self.p, Stream::new(self.size as u64, "mask"))
    }
    fn random(&self, columns: usize, purpose: &str) -> Vec<f32> {
        let mut generator = Stream::new(self.size as u64, purpose).generator();
        (0..self.tokens() * columns).map(|_| generator.normal() as f32).collect()
    }
    fn qkv(&self) -> Vec<f32> {
        self.random(3 * self.hidden(), "qkv")
    }
    fn d_out(&self) -> Vec<f32> {
        self.random(self.hidden(), "d_out")
    }
}

/// The outputs' names, in the order of [`Outputs`].
const NAMES: [&str; 3] = ["out", "lse", "d_qkv"];
pub(crate) type Outputs = [Vec<f64>; 3];

fn run<B: Backend>(backend: &B, case: &Case, qkv: &B::Tensor, d_out: &B::Tensor) -> Outputs {
    let sequences: Vec<Sequence> =
        case.lengths.iter().map(|&length| Sequence { ids: vec![0; length], token_types: vec![0; length] }).collect();
    run_batch(backend, case, Batch::pack(&sequences).unwrap(), qkv, d_out)
}

fn run_batch<B: Backend>(backend: &B, case: &Case, batch: Batch, qkv: &B::Tensor, d_out: &B::Tensor) -> Outputs {
    let batch: DeviceBatch<B::Indices> = backend.upload_batch(batch).unwrap();
    let empty = |columns| backend.empty(case.tokens(), columns).unwrap();
    let (mut out, mut lse, mut d_qkv) = (empty(case.hidden()), empty(case.heads), empty(3 * case.hidden()));
    let dropout = case.dropout();
    backend.attention(&mut out, &mut lse, qkv, &batch, case.heads, dropout.as_ref()).unwrap();
    backend.attention_backward(&mut d_qkv, d_out, &out, &lse, qkv, &batch, case.heads, dropout.as_ref()).unwrap();
    let values = |tensor: &B::Tensor| backend.download(tensor).unwrap().into_iter().map(Real::f64).collect();
    [values(&out), values(&lse), values(&d_qkv)]
}

fn run_cuda(capability: (u32, u32), precision: Precision, case: &Case, qkv: &[f32], d_out: &[f32]) -> Outputs {
    let cuda = cuda(capability, precision);
    let qkv = upload(&cuda, case.tokens(), 3 * case.hidden(), qkv);
    let d_out = upload(&cuda, case.tokens(), case.hidden(), d_out);
    run(&cuda, case, &qkv, &d_out)
}

fn run_reference<T: stepsynth_core::reference::ReferenceReal>(case: &Case, qkv: &[f32], d_out: &[f32]) -> Outputs {
    let reference = Reference::<T>::new();
    let tensor = |columns, values: &[f32]| {
        let values: Vec<T> = values.iter().map(|&value| T::of(f64::from(value))).collect();
        reference.upload(case.tokens(), columns, &values).unwrap()
    };
    run(&reference, case, &tensor(3 * case.hidden(), qkv), &tensor(case.hidden(), d_out))
}

/// Largest difference, infinite if anything is not a number.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).fold(0.0, |worst, (a, b)| if (a - b).is_nan() { f64::INFINITY } else { worst.max((a - b).abs()) })
}

/// Root of the mean square of the differences.
fn spread(left: &[f64], right: &[f64]) -> f64 {
    let squares = left.iter().zip(right).map(|(a, b)| (a - b).powi(2));
    (squares.sum::<f64>() / left.len() as f64).sqrt()
}

fn expect_close(what: &str, case: &Case, got: &Outputs, plain: &Outputs, truth: &Outputs) {
    let columns = [case.hidden(), case.heads, 3 * case.hidden()];
    for (output, columns) in columns.into_iter().enumerate() {
        for (sequence, length) in case.lengths.iter().enumerate() {
            let [got, plain, truth] = [got, plain, truth].map(|run| rows(&run[output], case, sequence, columns));
            let unit = 4.0 * f64::from(f32::EPSILON) * truth.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            for (kind, measure) in [("at most", distance as fn(&[f64], &[f64]) -> f64), ("on average", spread)] {
                let (error, allowed) = (measure(got, truth), 2.0 * measure(plain, truth) + unit);
                let name = NAMES[output];
                assert!(error <= allowed, "{what}: {name} of {length} rows is {kind} off by {error:e}, allowed {allowed:e}");
            }
        }
    }
}

/// The check of one tier on one case, twice: the same bits.
fn check(capability: (u32, u32), precision: Precision, rounding: Rounding, case: &Case) {
    let (mut qkv, mut d_out) = (case.qkv(), case.d_out());
    if precision == Precision::Bf16 {
        // The truth has the same inputs, so that their rounding hides nothing.
        [&mut qkv, &mut d_out].into_iter().flatten().for_each(|value| *value = to_bf16(*value));
    }
    let truth = run_reference::<f64>(case, &qkv, &d_out);
    let plain = match rounding {
        Rounding::None => run_reference::<f32>(case, &qkv, &d_out),
        _ => plain::run(case, case.dropout().as_ref(), &qkv, &d_out, rounding),
    };
    let got = run_cuda(capability, precision, case, &qkv, &d_out);
    expect_close(&format!("{capability:?} {precision:?} {case:?}"), case, &got, &plain, &truth);
    assert!(got == run_cuda(capability, precision, case, &qkv, &d_out), "{case:?}: not the same bits");
}

const CASES: [Case; 7] = [
    Case { lengths: &[1, 17, 129, 2, 65, 15], heads: 1, size: 64, p: 0.0 },
    Case { lengths: &[64, 1, 33, 16, 2], heads: 2, size: 64, p: 0.1 },
    Case { lengths: &[129, 16, 1, 33, 17], heads: 3, size: 32, p: 0.3 },
    Case { lengths: &[15, 65, 64, 2, 1], heads: 4, size: 32, p: 0.0 },
    Case { lengths: &[33, 2, 65], heads: 2, size: 24, p: 0.1 },
    Case { lengths: &[17, 64, 1], heads: 3, size: 8, p: 0.0 },
    Case { lengths: &[270], heads: 1, size: 32, p: 0.1 },
];

#[test]
fn plain_run_is_right() {
    for case in &CASES {
        let (qkv, d_out) = (case.qkv(), case.d_out());
        let got = plain::run(case, case.dropout().as_ref(), &qkv, &d_out, Rounding::None);
        let plain = run_reference::<f32>(case, &qkv, &d_out);
        expect_close(&format!("{case:?}"), case, &got, &plain, &run_reference::<f64>(case, &qkv, &d_out));
    }
}

#[test]
fn portable_in_f32() {
    for case in &CASES {
        check(PORTABLE, Precision::F32, Rounding::None, case);
    }
}

/// Head sizes that are no multiple of four, one column, and the widest.
#[test]
fn portable_with_odd_heads() {
    for size in [1, 21, 128] {
        check(PORTABLE, Precision::F32, Rounding::None, &Case { lengths: &[9, 34], heads: 2, size, p: 0.2 });
    }
    check(PORTABLE, Precision::Bf16, Rounding::Stored, &Case { lengths: &[9, 34], heads: 2, size: 21, p: 0.2 });
    check(PORTABLE, Precision::Bf16, Rounding::Stored, &Case { lengths: &[9, 34], heads: 2, size: 100, p: 0.2 });
}

#[test]
fn portable_in_bf16() {
    for case in &CASES {
        check(PORTABLE, Precision::Bf16, Rounding::Stored, case);
    }
}

/// The rows of one sequence of a `(rows, columns)` matrix.
fn rows<'a, T>(values: &'a [T], case: &Case, sequence: usize, columns: usize) -> &'a [T] {
    let first: usize = case.lengths[..sequence].iter().sum();
    &values[first * columns..(first + case.lengths[sequence]) * columns]
}

/// What a sequence meets does not depend on its neighbours.
fn alone_equals_in_a_batch(capability: (u32, u32), precision: Precision, size: usize) {
    let all = Case { lengths: &[3, 65, 17, 33], heads: 2, size, p: 0.0 };
    let columns = [all.hidden(), all.heads, 3 * all.hidden()];
    let (qkv, d_out) = (all.qkv(), all.d_out());
    let together = run_cuda(capability, precision, &all, &qkv, &d_out);
    for sequence in 0..all.lengths.len() {
        let one = Case { lengths: &all.lengths[sequence..=sequence], ..all };
        let own = [rows(&qkv, &all, sequence, columns[2]), rows(&d_out, &all, sequence, columns[0])];
        let alone = run_cuda(capability, precision, &one, own[0], own[1]);
        for output in 0..3 {
            let together = rows(&together[output], &all, sequence, columns[output]);
            assert!(alone[output] == together, "{} of sequence {sequence} depends on the others", NAMES[output]);
        }
    }
}

/// A NaN reaches what it reaches in the reference, and nothing of other sequences.
fn nan_propagates(capability: (u32, u32), precision: Precision, size: usize) {
    let case = Case { lengths: &[5, 18, 2], heads: 2, size, p: 0.4 };
    for part in 0..4 {
        let (mut qkv, mut d_out) = (case.qkv(), case.d_out());
        let (row, column) = (5 + 7, size + 3);
        match part {
            3 => d_out[row * case.hidden() + column] = f32::NAN,
            part => qkv[row * 3 * case.hidden() + part * case.hidden() + column] = f32::NAN,
        }
        let expected = run_reference::<f32>(&case, &qkv, &d_out);
        let got = run_cuda(capability, precision, &case, &qkv, &d_out);
        for (output, columns) in [case.hidden(), case.heads, 3 * case.hidden()].into_iter().enumerate() {
            let (got, expected, output) = (&got[output], &expected[output], NAMES[output]);
            assert!(got.iter().zip(expected).all(|(got, expected)| got.is_nan() || !expected.is_nan()), "{part}: {output}");
            let others = [rows(got, &case, 0, columns), rows(got, &case, 2, columns)].concat();
            assert!(others.iter().all(|value| value.is_finite()), "{part}: {output} of another sequence");
        }
    }
}

#[test]
fn portable_keeps_sequences_apart() {
    for (precision, size) in [(Precision::F32, 64), (Precision::Bf16, 20)] {
        alone_equals_in_a_batch(PORTABLE, precision, size);
        nan_propagates(PORTABLE, precision, size);
    }
}

/// A batch padded to a bucket, as a captured graph has it: empty sequences, and one of the rows that are left over.
fn serves_a_bucket(capability: (u32, u32), precision: Precision, size: usize) {
    let exact = Case { lengths: &[5, 34, 17], heads: 2, size, p: 0.2 };
    let bucket = Case { lengths: &[5, 34, 17, 60], ..exact };
    let (qkv, d_out) = (bucket.qkv(), bucket.d_out());
    let columns = [exact.hidden(), exact.heads, 3 * exact.hidden()];
    let cuda = cuda(capability, precision);
    let tensors = [(columns[2], &qkv), (columns[0], &d_out)].map(|(columns, values)| {
        [
            upload(&cuda, bucket.tokens(), columns, values),
            upload(&cuda, exact.tokens(), columns, &values[..exact.tokens() * columns]),
        ]
    });
    let batch = |tokens, cu_seqlens: &[i32]| Batch {
        ids: vec![0; tokens],
        token_types: vec![0; tokens],
        positions: vec![0; tokens],
        cu_seqlens: cu_seqlens.to_vec(),
    };
    let in_bucket = batch(bucket.tokens(), &[0, 5, 5, 39, 56, 116, 116]);
    let in_bucket = run_batch(&cuda, &bucket, in_bucket, &tensors[0][0], &tensors[1][0]);
    let got = run_batch(&cuda, &exact, batch(exact.tokens(), &[0, 5, 39, 56]), &tensors[0][1], &tensors[1][1]);
    for (output, columns) in columns.into_iter().enumerate() {
        let (got, in_bucket, output) = (&got[output], &in_bucket[output], NAMES[output]);
        assert!(got == &in_bucket[..exact.tokens() * columns], "{output} depends on the bucket");
    }
}

#[test]
fn a_bucket_changes_nothing() {
    serves_a_bucket(PORTABLE, Precision::F32, 64);
    serves_a_bucket(MMA, Precision::Bf16, 32);
}

#[test]
fn impossible_shapes_are_errors() {
    let cuda = cuda(PORTABLE, Precision::F32);
    let tensor = |rows, columns| cuda.zeros(rows, columns).unwrap();
    let sequence = Sequence { ids: vec![0; 3], token_types: vec![0; 3] };
    let batch = cuda.upload_batch(Batch::pack([&sequence]).unwrap()).unwrap();
    let run = |hidden: usize, heads| {
        let (mut out, mut lse) = (tensor(3, hidden), tensor(3, heads));
        cuda.attention(&mut out, &mut lse, &tensor(3, 3 * hidden), &batch, heads, None).unwrap_err().to_string()
    };
    assert!(run(129, 1).contains("heads have 1 to 128 columns, not 129"));
    assert!(run(4, 0).contains("at least one head"));
    assert!(run(4, 8).contains("out"), "{}", run(4, 8));
}

#[test]
fn mma() {
    for case in CASES.iter().filter(|case| [32, 64].contains(&case.size)) {
        check(MMA, Precision::Bf16, Rounding::Products, case);
    }
}

#[test]
fn mma_keeps_sequences_apart() {
    alone_equals_in_a_batch(MMA, Precision::Bf16, 32);
    nan_propagates(MMA, Precision::Bf16, 64);
}
