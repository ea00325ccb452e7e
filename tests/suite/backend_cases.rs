//! Every operation of every backend on the cases of `tests/cases.toml`.
//!
//! The truth is the reference in f64. A backend may be at most twice as far from it as the reference in f32 is, plus four
//! units of rounding of the largest value of that output. NaN fails. What a linear layer makes of its sums is not closer than
//! the sums, and in few values the plain run can be close by luck, so there the largest value of all outputs counts; and a
//! score of attention is a sum of terms of order one, however small it is itself, so there no less than one. Where linear
//! layers multiply in bfloat16, the plain run is the reference in f32 with the operands of their products rounded to it.

use std::path::Path;

use serde::Deserialize;
use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout, InputGradient, Real};
use stepsynth_core::random::Stream;
use stepsynth_core::reference::Reference;
use stepsynth_core::{Batch, Sequence};
use stepsynth_kernels::Precision;

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
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases.toml");
    toml::from_str::<Cases>(&std::fs::read_to_string(path).unwrap()).unwrap().case
}

/// One element of one input that is not finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poison {
    /// Which of the inputs, in the order in which they are drawn, from 1 on.
    pub(crate) input: u64,
    pub(crate) value: f64,
}

/// Draws inputs on a backend: the same f32 numbers everywhere, and collects named outputs.
struct Bench<'a, B: Backend> {
    backend: &'a B,
    /// Numbers in which linear layers multiply, for a backend that knows only its own: operands are rounded to it here.
    operands: Precision,
    seed: u64,
    drawn: std::cell::Cell<u64>,
    poison: Option<Poison>,
    outputs: Vec<(&'static str, Vec<f64>)>,
}

impl<B: Backend> Bench<'_, B> {
    fn random(&self, rows: usize, columns: usize) -> B::Tensor {
        self.drawn.set(self.drawn.get() + 1);
        let mut generator = Stream::new(self.seed, "case").child(self.drawn.get()).generator();
        let mut host: Vec<_> = (0..rows * columns).map(|_| B::Scalar::of(f64::from(generator.normal() as f32))).collect();
        if let Some(poison) = self.poison.filter(|poison| poison.input == self.drawn.get()) {
            let place = generator.below(host.len());
            host[place] = B::Scalar::of(poison.value);
        }
        self.backend.upload(rows, columns, &host).unwrap()
    }

    fn indices(&self, length: usize, bound: usize) -> B::Indices {
        self.drawn.set(self.drawn.get() + 1);
        let mut generator = Stream::new(self.seed, "indices").child(self.drawn.get()).generator();
        let host: Vec<i32> = (0..length).map(|_| generator.below(bound) as i32).collect();
        self.backend.upload_indices(&host).unwrap()
    }

    fn batch(&self, lengths: &[usize], vocabulary: usize) -> DeviceBatch<B::Indices> {
        let mut generator = Stream::new(self.seed, "batch").generator();
        let sequences: Vec<Sequence> = lengths
            .iter()
            .map(|&length| Sequence {
                ids: (0..length).map(|_| generator.below(vocabulary) as i32).collect(),
                token_types: (0..length).map(|_| generator.below(2) as i32).collect(),
            })
            .collect();
        self.backend.upload_batch(Batch::pack(&sequences).unwrap()).unwrap()
    }

    fn empty(&self, rows: usize, columns: usize) -> B::Tensor {
        self.backend.empty(rows, columns).unwrap()
    }

    /// An operand of a linear layer's product.
    fn operand(&self, tensor: &B::Tensor) -> B::Tensor {
        let (rows, columns) = self.backend.shape(tensor);
        let mut host = self.backend.download(tensor).unwrap();
        if self.operands == Precision::Bf16 {
            host.iter_mut().for_each(|value| *value = B::Scalar::of(to_bfloat16(value.f64())));
        }
        self.backend.upload(rows, columns, &host).unwrap()
    }

    fn keep(&mut self, name: &'static str, tensor: &B::Tensor) {
        let values = self.backend.download(tensor).unwrap().into_iter().map(Real::f64).collect();
        self.outputs.push((name, values));
    }
}

/// Rounded to the eight significant bits of bfloat16, to nearest with ties to even; for numbers of its normal range.
fn to_bfloat16(x: f64) -> f64 {
    let place = 2.0_f64.powi(x.abs().max(f64::MIN_POSITIVE).log2().floor() as i32 - 7);
    (x / place).round_ties_even() * place
}

/// Named outputs of a case.
pub(crate) type Outputs = Vec<(&'static str, Vec<f64>)>;

/// Runs forward and backward of one case; accumulated outputs start from random numbers, so that `+=` is tested.
fn run<B: Backend>(backend: &B, case: &Case, seed: u64, operands: Precision) -> Outputs {
    run_counted(backend, case, seed, operands, None).0
}

/// As [`run`], with some poison among the inputs; also counts them.
pub(crate) fn run_counted<B: Backend>(
    backend: &B,
    case: &Case,
    seed: u64,
    operands: Precision,
    poison: Option<Poison>,
) -> (Outputs, u64) {
    let mut bench = Bench { backend, operands, seed, drawn: std::cell::Cell::new(0), poison, outputs: Vec::new() };
    match case.clone() {
        Case::Embed { lengths, columns } => embed(&mut bench, &lengths, columns),
        Case::Linear { rows, inputs, outputs } => linear(&mut bench, rows, inputs, outputs),
        Case::LayerNorm { rows, columns } => layer_norm(&mut bench, rows, columns),
        Case::Activation { rows, columns, kind } => activation(&mut bench, rows, columns, kind.into()),
        Case::Attention { lengths, heads, head_size, dropout } => attention(&mut bench, &lengths, heads, head_size, dropout),
        Case::Dropout { rows, columns, p } => {
            let mut y = bench.random(rows, columns);
            backend.dropout(&mut y, &Dropout::new(p, Stream::new(seed, "mask")).unwrap()).unwrap();
            bench.keep("y", &y);
        }
        Case::Elementwise { rows, columns } => {
            let (mut sum, x, mut copy) = (bench.random(rows, columns), bench.random(rows, columns), bench.empty(rows, columns));
            backend.add(&mut sum, &x).unwrap();
            backend.copy(&mut copy, &sum).unwrap();
            backend.clear(&mut sum).unwrap();
            bench.keep("copy of the sum", &copy);
            bench.keep("cleared", &sum);
        }
        Case::Gather { rows, columns } => gather(&mut bench, rows, columns),
        Case::CrossEntropy { rows, columns } => {
            let (logits, labels) = (bench.random(rows, columns), bench.indices(rows, columns));
            let (mut losses, mut d_logits) = (bench.empty(rows, 1), bench.empty(rows, columns));
            backend.cross_entropy(&mut losses, &mut d_logits, &logits, &labels).unwrap();
            bench.keep("losses", &losses);
            bench.keep("d_logits", &d_logits);
        }
        Case::SpanLoss { lengths } => span_loss(&mut bench, &lengths),
        Case::Adamw { rows, columns } => adamw(&mut bench, rows, columns),
        Case::Norm { rows, columns } => {
            let tensors = [bench.random(rows, columns), bench.random(1, columns)];
            bench.outputs.push(("sum of squares", vec![backend.sum_of_squares(&tensors).unwrap()]));
        }
    }
    (bench.outputs, bench.drawn.get())
}

fn embed<B: Backend>(bench: &mut Bench<'_, B>, lengths: &[usize], columns: usize) {
    let batch = bench.batch(lengths, 11);
    let (tokens, longest) = (batch.host.tokens(), batch.host.max_length());
    let (word, position, token_type) = (bench.random(11, columns), bench.random(longest, columns), bench.random(2, columns));
    let mut out = bench.empty(tokens, columns);
    bench.backend.embed(&mut out, &batch, &word, &position, Some(&token_type)).unwrap();
    bench.keep("out with segments", &out);
    bench.backend.embed(&mut out, &batch, &word, &position, None).unwrap();
    bench.keep("out without segments", &out);
    let d_out = bench.random(tokens, columns);
    let (mut d_word, mut d_position, mut d_type) = (word, position, token_type);
    bench.backend.embed_backward(&mut d_word, &mut d_position, Some(&mut d_type), &d_out, &batch).unwrap();
    bench.keep("d_word", &d_word);
    bench.keep("d_position", &d_position);
    bench.keep("d_token_type", &d_type);
}

fn linear<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, inputs: usize, outputs: usize) {
    let backend = bench.backend;
    let (x, w, b) = (bench.random(rows, inputs), bench.random(outputs, inputs), bench.random(1, outputs));
    let (residual, d_y, other) = (bench.random(rows, outputs), bench.random(rows, outputs), bench.random(rows, inputs));
    let (x, w, d_y_operand) = (bench.operand(&x), bench.operand(&w), bench.operand(&d_y));
    let (mut y, mut inner) = (bench.empty(rows, outputs), bench.empty(rows, outputs));
    backend.linear(&mut y, &x, &w, &b).unwrap();
    bench.keep("y", &y);
    for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        backend.linear_activation(&mut y, Some(&mut inner), &x, &w, &b, kind).unwrap();
        bench.keep("inner", &inner);
        bench.keep("activated", &y);
        backend.linear_activation(&mut y, None, &x, &w, &b, kind).unwrap();
        bench.keep("activated, inner not kept", &y);
    }
    for p in [0.0, 0.3] {
        let dropout = Dropout::new(p, Stream::new(bench.seed, "mask"));
        backend.linear_residual(&mut y, &x, &w, &b, dropout.as_ref(), &residual).unwrap();
        bench.keep("with residual", &y);
    }

    let (mut d_x, mut d_w, mut d_b) = (bench.empty(rows, inputs), bench.random(outputs, inputs), bench.random(1, outputs));
    // The sum of `d_y` is taken before anything is rounded.
    let (mut d_w_unused, mut d_b_unused) = (bench.random(outputs, inputs), bench.random(1, outputs));
    backend.linear_backward(None, &mut d_w_unused, &mut d_b, &d_y, &x, &w).unwrap();
    bench.keep("d_b", &d_b);
    backend.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b_unused, &d_y_operand, &x, &w).unwrap();
    bench.keep("d_x", &d_x);
    bench.keep("d_w", &d_w);
    backend.linear_backward(None, &mut d_w, &mut d_b_unused, &d_y_operand, &x, &w).unwrap();
    bench.keep("d_w without d_x", &d_w);
    let plus = InputGradient::Plus(&other);
    backend.linear_backward_into(&mut d_x, plus, &mut d_w, &mut d_b_unused, &d_y_operand, &x, &w).unwrap();
    bench.keep("d_x plus another", &d_x);
    for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        let through = InputGradient::Through { inner: &other, kind };
        backend.linear_backward_into(&mut d_x, through, &mut d_w, &mut d_b_unused, &d_y_operand, &x, &w).unwrap();
        bench.keep("d_x through an activation", &d_x);
    }
    bench.keep("d_w in the end", &d_w);
}

fn layer_norm<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize) {
    let (x, gamma, beta) = (bench.random(rows, columns), bench.random(1, columns), bench.random(1, columns));
    let (mut y, mut stats) = (bench.empty(rows, columns), bench.empty(rows, 2));
    bench.backend.layer_norm(&mut y, &mut stats, &x, &gamma, &beta, 1e-12).unwrap();
    bench.keep("y", &y);
    bench.keep("stats", &stats);
    let d_y = bench.random(rows, columns);
    let (mut d_x, mut d_gamma, mut d_beta) = (bench.empty(rows, columns), bench.random(1, columns), bench.random(1, columns));
    bench.backend.layer_norm_backward(&mut d_x, &mut d_gamma, &mut d_beta, &d_y, &x, &stats, &gamma).unwrap();
    bench.keep("d_x", &d_x);
    bench.keep("d_gamma", &d_gamma);
    bench.keep("d_beta", &d_beta);
}

fn activation<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize, kind: Activation) {
    let (x, d_y) = (bench.random(rows, columns), bench.random(rows, columns));
    let (mut y, mut d_x) = (bench.empty(rows, columns), bench.empty(rows, columns));
    bench.backend.activation(&mut y, &x, kind).unwrap();
    bench.backend.activation_backward(&mut d_x, &d_y, &x, kind).unwrap();
    bench.keep("y", &y);
    bench.keep("d_x", &d_x);
}

fn attention<B: Backend>(bench: &mut Bench<'_, B>, lengths: &[usize], heads: usize, head_size: usize, p: f64) {
    let batch = bench.batch(lengths, 11);
    let (tokens, hidden) = (batch.host.tokens(), heads * head_size);
    let dropout = Dropout::new(p, Stream::new(bench.seed, "mask"));
    let qkv = bench.random(tokens, 3 * hidden);
    let (mut out, mut lse) = (bench.empty(tokens, hidden), bench.empty(tokens, heads));
    bench.backend.attention(&mut out, &mut lse, &qkv, &batch, heads, dropout.as_ref()).unwrap();
    bench.keep("out", &out);
    bench.keep("lse", &lse);
    let d_out = bench.random(tokens, hidden);
    let mut d_qkv = bench.empty(tokens, 3 * hidden);
    bench.backend.attention_backward(&mut d_qkv, &d_out, &out, &lse, &qkv, &batch, heads, dropout.as_ref()).unwrap();
    bench.keep("d_qkv", &d_qkv);
}

fn gather<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize) {
    let x = bench.random(rows, columns);
    let picked = Stream::new(bench.seed, "rows").generator().choose(rows, 5);
    let picked = bench.backend.upload_indices(&picked.iter().map(|&row| row as i32).collect::<Vec<_>>()).unwrap();
    let (mut out, mut d_x) = (bench.empty(5, columns), bench.empty(rows, columns));
    bench.backend.gather_rows(&mut out, &x, &picked).unwrap();
    bench.backend.scatter_rows(&mut d_x, &out, &picked).unwrap();
    bench.keep("out", &out);
    bench.keep("d_x", &d_x);
}

fn span_loss<B: Backend>(bench: &mut Bench<'_, B>, lengths: &[usize]) {
    let batch = bench.batch(lengths, 11);
    let tokens = batch.host.tokens();
    let logits = bench.random(tokens, 2);
    let last: Vec<i32> = lengths.iter().map(|&length| length as i32 - 1).collect();
    let (starts, ends) = (last.iter().map(|&end| end / 2).collect::<Vec<_>>(), last);
    let (starts, ends) = (bench.backend.upload_indices(&starts).unwrap(), bench.backend.upload_indices(&ends).unwrap());
    let (mut losses, mut d_logits) = (bench.empty(lengths.len(), 1), bench.empty(tokens, 2));
    bench.backend.span_loss(&mut losses, &mut d_logits, &logits, &batch, &starts, &ends).unwrap();
    bench.keep("losses", &losses);
    bench.keep("d_logits", &d_logits);
}

fn adamw<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize) {
    let (mut matrix, mut bias) = (bench.random(rows, columns), bench.random(1, columns));
    let [mut m1, mut v1] = [(); 2].map(|()| bench.backend.zeros(rows, columns).unwrap());
    let [mut m2, mut v2] = [(); 2].map(|()| bench.backend.zeros(1, columns).unwrap());
    for step in 1..=3 {
        let (d_matrix, d_bias) = (bench.random(rows, columns), bench.random(1, columns));
        let constants = AdamWStep {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.1,
            step,
            gradient_scale: 0.7,
        };
        let mut slots = [
            AdamWSlot { parameter: &mut matrix, gradient: &d_matrix, first: &mut m1, second: &mut v1, decay: true },
            AdamWSlot { parameter: &mut bias, gradient: &d_bias, first: &mut m2, second: &mut v2, decay: false },
        ];
        bench.backend.adamw(&mut slots, &constants).unwrap();
    }
    for (name, tensor) in [("matrix", &matrix), ("bias", &bias), ("first moment", &m1), ("second moment", &v1)] {
        bench.keep(name, tensor);
    }
}

/// Largest difference, infinite if anything is not a number.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).fold(0.0, |worst, (a, b)| if (a - b).is_nan() { f64::INFINITY } else { worst.max((a - b).abs()) })
}

/// The check every backend passes, on one case. The backends of one group have to agree bit for bit.
pub(crate) fn check<B: Backend>(groups: &[Vec<B>], operands: Precision, case: &Case, seed: u64) {
    let truth = run(&Reference::<f64>::new(), case, seed, Precision::F32);
    let plain = run(&Reference::<f32>::new(), case, seed, operands);
    for group in groups {
        let name = group[0].name();
        let got = run(&group[0], case, seed, Precision::F32);
        let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let of_all = truth.iter().map(|(_, values)| largest(values)).fold(0.0, f64::max);
        for (((output, truth), (_, plain)), (_, got)) in truth.iter().zip(&plain).zip(&got) {
            let largest = match case {
                Case::Linear { .. } => of_all,
                Case::Attention { .. } => largest(truth).max(1.0),
                _ => largest(truth),
            };
            let allowed = 2.0 * distance(plain, truth) + 4.0 * f64::from(f32::EPSILON) * largest;
            let error = distance(got, truth);
            assert!(error <= allowed, "{name} on case {seed} {case:?}: {output} is off by {error:e}, allowed {allowed:e}");
        }
        for other in &group[1..] {
            assert!(run(other, case, seed, Precision::F32) == got, "{name} on case {seed} {case:?}: not the same bits");
        }
    }
}

#[test]
fn reference_f32() {
    for (seed, case) in (0..).zip(&cases()) {
        check(&[vec![Reference::<f32>::new()]], Precision::F32, case, seed);
    }
}
