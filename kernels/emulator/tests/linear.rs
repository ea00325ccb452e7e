//! Linear layers in every tier and both precisions against the reference in f64.
//!
//! In bf16 all operands are bf16 numbers to begin with. So the truth knows no rounding of operands, what is kept in f32 (the
//! gradients of weights, logits) has to be as good as in f32, and the plain run differs from f32 in what it stores alone.

#![cfg(emulated)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, Backend, Dropout, InputGradient, Real};
use stepsynth_core::random::Stream;
use stepsynth_core::reference::Reference;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::{Cuda, Device, Launch, Properties};

const KINDS: [Activation; 4] = [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh];
/// Capabilities that choose the tiers: portable, mma.
const TIERS: [(u32, u32); 2] = [(7, 5), (8, 0)];
/// Layers with at most this many outputs give f32 in every precision.
const HEAD: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

/// What is run on a case.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Forward,
    Activation(Activation),
    Residual { p: f64 },
    Backward,
    Plus,
    Through(Activation),
}

/// Names of kernels that were launched.
type Launched = Arc<Mutex<BTreeSet<&'static str>>>;

/// The emulator, and what was launched on it.
struct Recorder {
    emulator: Emulator,
    launched: Launched,
}

impl Device for Recorder {
    fn properties(&self) -> &Properties {
        self.emulator.properties()
    }
    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.emulator.allocate(bytes)
    }
    fn release(&self, address: u64) {
        self.emulator.release(address);
    }
    fn issue(&self, address: u64, bytes: usize) {
        self.emulator.issue(address, bytes);
    }
    fn retire(&self, address: u64) {
        self.emulator.retire(address);
    }
    fn copy_in(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.emulator.copy_in(address, bytes)
    }
    fn copy_out(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        self.emulator.copy_out(address, bytes)
    }
    fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.emulator.zero(address, bytes)
    }
    fn launch(&self, launch: &Launch) -> Result<()> {
        self.launched.lock().unwrap().insert(launch.kernel);
        self.emulator.launch(launch)
    }
}

/// A number as it is stored.
fn stored(value: f32, precision: Precision) -> f32 {
    match precision {
        Precision::F32 => value,
        Precision::Bf16 => {
            let bits = value.to_bits();
            f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
        }
    }
}

/// Draws inputs on a backend and collects outputs, rounded as the precision stores them.
struct Bench<'a, B: Backend> {
    backend: &'a B,
    precision: Precision,
    seed: u64,
    drawn: Cell<u64>,
    outputs: Vec<(String, Vec<f64>)>,
}

impl<B: Backend> Bench<'_, B> {
    fn parameter(&self, rows: usize, columns: usize) -> B::Tensor {
        self.draw(rows, columns, Precision::F32)
    }

    fn operand(&self, rows: usize, columns: usize) -> B::Tensor {
        self.draw(rows, columns, self.precision)
    }

    fn draw(&self, rows: usize, columns: usize, precision: Precision) -> B::Tensor {
        self.drawn.set(self.drawn.get() + 1);
        let mut generator = Stream::new(self.seed, "case").child(self.drawn.get()).generator();
        let draw = |_| B::Scalar::of(f64::from(stored(generator.normal() as f32, precision)));
        let host: Vec<_> = (0..rows * columns).map(draw).collect();
        self.backend.upload(rows, columns, &host).unwrap()
    }

    /// The same numbers in the format of activations, if the backend has one: what a layer gives that adds nothing.
    fn activation(&self, rows: usize, columns: usize) -> B::Tensor {
        let (x, residual) = (self.backend.zeros(rows, 1).unwrap(), self.operand(rows, columns));
        let (w, b) = (self.backend.zeros(columns, 1).unwrap(), self.backend.zeros(1, columns).unwrap());
        let mut y = self.empty(rows, columns);
        self.backend.linear_residual(&mut y, &x, &w, &b, None, &residual).unwrap();
        y
    }

    fn empty(&self, rows: usize, columns: usize) -> B::Tensor {
        self.backend.empty(rows, columns).unwrap()
    }

    /// Keeps an output that is stored in this precision. `round`: the backend has no such format itself.
    fn keep(&mut self, name: &str, tensor: &B::Tensor, precision: Precision, round: bool) {
        let precision = if round { precision } else { Precision::F32 };
        let values = self.backend.download(tensor).unwrap();
        // f64 stays as it is: it is the truth.
        let value = |value: &B::Scalar| if round { f64::from(stored(value.f64() as f32, precision)) } else { value.f64() };
        self.outputs.push((name.into(), values.iter().map(value).collect()));
    }
}

/// Named outputs of a case; accumulated ones start from random numbers, so that `+=` is tested.
fn run<B: Backend>(backend: &B, case: Case, work: Work, seed: u64, precision: Precision, round: bool) -> Vec<(String, Vec<f64>)> {
    let Case { rows, inputs, outputs } = case;
    let mut bench = Bench { backend, precision, seed, drawn: Cell::new(0), outputs: Vec::new() };
    let head = outputs <= HEAD;
    let w = bench.operand(outputs, inputs);
    let (b, mut y) = (bench.parameter(1, outputs), bench.empty(rows, outputs));
    let x = bench.activation(rows, inputs);
    match work {
        Work::Forward => {
            backend.linear(&mut y, &x, &w, &b).unwrap();
            bench.keep("y", &y, if head { Precision::F32 } else { precision }, round);
        }
        Work::Activation(kind) => {
            let mut inner = bench.empty(rows, outputs);
            backend.linear_activation(&mut y, Some(&mut inner), &x, &w, &b, kind).unwrap();
            bench.keep("inner", &inner, precision, round);
            bench.keep("y", &y, precision, round);
            backend.linear_activation(&mut y, None, &x, &w, &b, kind).unwrap();
            bench.keep("y, inner not kept", &y, precision, round);
        }
        Work::Residual { p } => {
            let (dropout, residual) = (Dropout::new(p, Stream::new(seed, "mask")), bench.activation(rows, outputs));
            backend.linear_residual(&mut y, &x, &w, &b, dropout.as_ref(), &residual).unwrap();
            bench.keep("y", &y, precision, round);
        }
        Work::Backward | Work::Plus | Work::Through(_) => {
            // Gradients of logits come in f32, those of activations as these are stored.
            let d_y = if head { bench.operand(rows, outputs) } else { bench.activation(rows, outputs) };
            let (mut d_x, other) = (bench.empty(rows, inputs), bench.activation(rows, inputs));
            let (mut d_w, mut d_b) = (bench.parameter(outputs, inputs), bench.parameter(1, outputs));
            let then = match work {
                Work::Plus => Some(InputGradient::Plus(&other)),
                Work::Through(kind) => Some(InputGradient::Through { inner: &other, kind }),
                _ => None,
            };
            match then {
                Some(then) => backend.linear_backward_into(&mut d_x, then, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap(),
                None => backend.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b, &d_y, &x, &w).unwrap(),
            }
            bench.keep("d_x", &d_x, precision, round);
            bench.keep("d_w", &d_w, Precision::F32, round);
            bench.keep("d_b", &d_b, Precision::F32, round);
            if then.is_none() {
                backend.linear_backward(None, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
                bench.keep("d_w without d_x", &d_w, Precision::F32, round);
            }
        }
    }
    bench.outputs
}

/// Largest difference, infinite if anything is not a number.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).fold(0.0, |worst, (a, b)| if (a - b).is_nan() { f64::INFINITY } else { worst.max((a - b).abs()) })
}

/// Every tier may be at most twice as far from the truth as the plain run is, plus four units of rounding of the largest value
/// of that output; and it gives the same bits whatever the order of
/// threads.
fn check(launched: &Launched, tiers: &[(u32, u32)], case: Case, work: Work, seed: u64, precision: Precision) {
    let truth = run(&Reference::<f64>::new(), case, work, seed, precision, false);
    let plain = run(&Reference::<f32>::new(), case, work, seed, precision, true);
    for &tier in tiers {
        let cuda = Cuda::new(Recorder { emulator: Emulator::new(tier), launched: Arc::clone(launched) }, precision);
        let got = run(&cuda, case, work, seed, precision, false);
        for (((output, truth), (_, plain)), (_, got)) in truth.iter().zip(&plain).zip(&got) {
            let largest = truth.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            let allowed = 2.0 * distance(plain, truth) + 4.0 * f64::from(f32::EPSILON) * largest;
            let error = distance(got, truth);
            assert!(
                error <= allowed,
                "{precision:?} {tier:?} {case:?} {work:?} {seed}: {output} is off by {error:e}, allowed {allowed:e}"
            );
        }
        let again = Cuda::new(Emulator::new(tier).with_order(seed), precision);
        assert!(run(&again, case, work, seed, precision, false) == got, "{tier:?} {case:?} {work:?}: not the same bits");
    }
}

/// Odd sizes, sizes around those of tiles, and rows that are and are not multiples of 16 bytes.
const CASES: [Case; 10] = [
    Case { rows: 1, inputs: 1, outputs: 1 },
    Case { rows: 15, inputs: 3, outputs: 17 },
    Case { rows: 17, inputs: 96, outputs: 3 },
    Case { rows: 33, inputs: 64, outputs: 96 },
    Case { rows: 40, inputs: 96, outputs: 24 },
    Case { rows: 65, inputs: 17, outputs: 64 },
    Case { rows: 130, inputs: 40, outputs: 136 },
    Case { rows: 513, inputs: 3, outputs: 16 },
    Case { rows: 513, inputs: 72, outputs: 24 },
    Case { rows: 1, inputs: 384, outputs: 96 },
];

/// Each of the works on every case, or on its share of them. All of these kernels have to be launched by that.
fn check_all(works: &[Work], kernels: &[&str]) {
    if !Emulator::available() {
        return;
    }
    let launched = Launched::default();
    for (seed, case) in (0..).zip(CASES) {
        let work = works[seed as usize % works.len()];
        // f32 is the same in every tier.
        check(&launched, &TIERS[..1], case, work, seed, Precision::F32);
        check(&launched, &TIERS, case, work, seed, Precision::Bf16);
    }
    let launched = launched.lock().unwrap();
    assert!(kernels.iter().all(|kernel| launched.contains(kernel)), "{launched:?}");
}

#[test]
fn forward() {
    let portable = ["forward_f32_64", "forward_f32_128", "forward_bf16_64", "forward_bf16_128", "head_f32", "head_bf16"];
    let mma = ["mma_forward_128x128", "mma_forward_128x64", "mma_forward_64x64"];
    check_all(&[Work::Forward], &[&portable[..], &mma].concat());
}

#[test]
fn activations() {
    check_all(&KINDS.map(Work::Activation), &[]);
}

#[test]
fn residuals() {
    check_all(&[Work::Residual { p: 0.3 }, Work::Residual { p: 0.0 }, Work::Residual { p: 0.3 }], &[]);
}

#[test]
fn backward() {
    let input = ["input_f32_64", "input_f32_128", "input_bf16_64", "input_bf16_128", "head_input_f32", "head_input_bf16"];
    let weights = ["weights_f32_64", "weights_f32_128", "weights_bf16_64", "weights_bf16_128"];
    let mma_input = ["mma_input_128x128", "mma_input_128x64", "mma_input_64x64"];
    let mma_weights = ["mma_weights_128x128", "mma_weights_128x64", "mma_weights_64x64"];
    let sums = ["head_weights_f32", "head_weights_bf16", "add_parts", "column_sums_f32", "column_sums_bf16", "cast_f32_to_bf16"];
    check_all(&[Work::Backward], &[&input[..], &weights, &mma_input, &mma_weights, &sums].concat());
}

#[test]
fn backward_plus_another() {
    check_all(&[Work::Plus], &[]);
}

#[test]
fn backward_through_activations() {
    check_all(&KINDS.map(Work::Through), &[]);
}

/// The copy of weights in bf16 is made anew after they were written.
#[test]
fn weights_are_never_stale() {
    if !Emulator::available() {
        return;
    }
    let cuda = Cuda::new(Emulator::new((8, 0)), Precision::Bf16);
    let [mut w, more] = [1.0, 2.0].map(|value| cuda.upload(32, 8, &[value; 256]).unwrap());
    let (x, b) = (cuda.upload(4, 8, &[1.0; 32]).unwrap(), cuda.zeros(1, 32).unwrap());
    let mut y = cuda.empty(4, 32).unwrap();
    cuda.linear(&mut y, &x, &w, &b).unwrap();
    assert_eq!(cuda.download(&y).unwrap(), [8.0; 128]);
    cuda.add(&mut w, &more).unwrap();
    cuda.linear(&mut y, &x, &w, &b).unwrap();
    assert_eq!(cuda.download(&y).unwrap(), [24.0; 128]);
    cuda.clear(&mut w).unwrap();
    cuda.linear(&mut y, &x, &w, &b).unwrap();
    assert_eq!(cuda.download(&y).unwrap(), [0.0; 128]);
}

/// A NaN among the operands reaches the outputs that depend on it, and no other.
#[test]
fn nan_survives() {
    if !Emulator::available() {
        return;
    }
    for precision in [Precision::F32, Precision::Bf16] {
        let cuda = Cuda::new(Emulator::new((8, 0)), precision);
        let mut host = [1.0; 3 * 24];
        host[24 + 5] = f32::NAN;
        let x = cuda.upload(3, 24, &host).unwrap();
        let (w, b) = (cuda.upload(32, 24, &[0.5; 32 * 24]).unwrap(), cuda.zeros(1, 32).unwrap());
        for kind in KINDS {
            let mut y = cuda.empty(3, 32).unwrap();
            cuda.linear_activation(&mut y, None, &x, &w, &b, kind).unwrap();
            let y = cuda.download(&y).unwrap();
            assert!(y[32..64].iter().all(|y| y.is_nan()) && y[..32].iter().chain(&y[64..]).all(|y| y.is_finite()), "{kind:?}");
        }
    }
}

#[test]
fn nothing_to_do() {
    if !Emulator::available() {
        return;
    }
    let cuda = Cuda::new(Emulator::new((8, 0)), Precision::Bf16);
    let (w, b, x) = (cuda.zeros(20, 8).unwrap(), cuda.zeros(1, 20).unwrap(), cuda.zeros(0, 8).unwrap());
    let (mut y, mut d_x) = (cuda.empty(0, 20).unwrap(), cuda.empty(0, 8).unwrap());
    cuda.linear(&mut y, &x, &w, &b).unwrap();
    let (mut d_w, mut d_b) = (cuda.zeros(20, 8).unwrap(), cuda.zeros(1, 20).unwrap());
    cuda.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b, &y, &x, &w).unwrap();
    assert_eq!(cuda.download(&d_w).unwrap(), [0.0; 160]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn random_sizes(
        (rows, inputs, outputs) in (1..140_usize, 1..70_usize, 1..70_usize),
        whole: bool,
        work in 0..6_usize,
        seed in 0..1000_u64,
    ) {
        if !Emulator::available() {
            return Ok(());
        }
        // Matrices whose rows are multiples of 16 bytes take other ways.
        let fit = |size: usize| if whole { size.next_multiple_of(8) } else { size };
        let case = Case { rows, inputs: fit(inputs), outputs: fit(outputs) };
        let kind = KINDS[seed as usize % 4];
        let works = [Work::Forward, Work::Activation(kind), Work::Residual { p: 0.2 }, Work::Backward, Work::Plus, Work::Through(kind)];
        check(&Launched::default(), &TIERS[..1], case, works[work], seed, Precision::F32);
        check(&Launched::default(), &TIERS, case, works[work], seed, Precision::Bf16);
    }
}
