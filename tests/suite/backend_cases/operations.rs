//! Forward and backward of every operation. Accumulated outputs start from random numbers, so that `+=` is tested.

use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, Dropout, InputGradient};
use stepsynth_core::random::Stream;
use stepsynth_kernels::Precision;

use super::bench::{Bench, Output};
use super::{Case, Poison};
use crate::plain::HEAD;

/// Runs one case on a backend, for one that stores `activations` so, perhaps with some poison among the inputs; also counts
/// them.
pub(crate) fn run_counted<B: Backend>(
    backend: &B,
    activations: Precision,
    case: &Case,
    seed: u64,
    poison: Option<Poison>,
) -> (Vec<Output>, u64) {
    let mut bench = Bench::new(backend, activations, seed, poison);
    match case.clone() {
        Case::Embed { lengths, columns } => embed(&mut bench, &lengths, columns),
        Case::Linear { rows, inputs, outputs } => linear(&mut bench, rows, inputs, outputs),
        Case::LayerNorm { rows, columns } => layer_norm(&mut bench, rows, columns),
        Case::Activation { rows, columns, kind } => activation(&mut bench, rows, columns, kind.into()),
        Case::Attention { lengths, heads, head_size, dropout } => attention(&mut bench, &lengths, heads, head_size, dropout),
        Case::Dropout { rows, columns, p } => {
            let mut y = bench.activation(rows, columns);
            backend.dropout(&mut y, &Dropout::new(p, Stream::new(seed, "mask")).unwrap()).unwrap();
            bench.keep_activation("y", &y);
        }
        Case::Elementwise { rows, columns } => {
            let (mut sum, x, mut copy) =
                (bench.activation(rows, columns), bench.activation(rows, columns), bench.empty(rows, columns));
            backend.add(&mut sum, &x).unwrap();
            backend.copy(&mut copy, &sum).unwrap();
            backend.clear(&mut sum).unwrap();
            bench.keep_activation("copy of the sum", &copy);
            bench.keep_activation("cleared", &sum);
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
            let values = vec![backend.sum_of_squares(&tensors).unwrap()];
            bench.outputs.push(Output { name: "sum of squares", values, activation: false });
        }
    }
    let drawn = bench.drawn();
    (bench.outputs, drawn)
}

fn embed<B: Backend>(bench: &mut Bench<'_, B>, lengths: &[usize], columns: usize) {
    let batch = bench.batch(lengths, 11);
    let (tokens, longest) = (batch.host.tokens(), batch.host.max_length());
    let (word, position, token_type) = (bench.random(11, columns), bench.random(longest, columns), bench.random(2, columns));
    let mut out = bench.empty(tokens, columns);
    bench.backend.embed(&mut out, &batch, &word, &position, Some(&token_type)).unwrap();
    bench.keep_activation("out with segments", &out);
    bench.backend.embed(&mut out, &batch, &word, &position, None).unwrap();
    bench.keep_activation("out without segments", &out);
    let d_out = bench.activation(tokens, columns);
    let (mut d_word, mut d_position, mut d_type) = (word, position, token_type);
    bench.backend.embed_backward(&mut d_word, &mut d_position, Some(&mut d_type), &d_out, &batch).unwrap();
    bench.keep("d_word", &d_word);
    bench.keep("d_position", &d_position);
    bench.keep("d_token_type", &d_type);
}

/// A layer with few outputs is a head, whose outputs and their gradients stay in f32.
fn linear<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, inputs: usize, outputs: usize) {
    let (backend, stored) = (bench.backend, outputs > HEAD);
    let (x, w, b) = (bench.activation(rows, inputs), bench.operand(outputs, inputs), bench.random(1, outputs));
    let (residual, other) = (bench.activation(rows, outputs), bench.activation(rows, inputs));
    let d_y = if stored { bench.activation(rows, outputs) } else { bench.operand(rows, outputs) };
    let (mut y, mut inner) = (bench.empty(rows, outputs), bench.empty(rows, outputs));
    backend.linear(&mut y, &x, &w, &b).unwrap();
    bench.keep_as("y", &y, stored);
    for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        backend.linear_activation(&mut y, Some(&mut inner), &x, &w, &b, kind).unwrap();
        bench.keep_activation("inner", &inner);
        bench.keep_activation("activated", &y);
        backend.linear_activation(&mut y, None, &x, &w, &b, kind).unwrap();
        bench.keep_activation("activated, inner not kept", &y);
    }
    for p in [0.0, 0.3] {
        let dropout = Dropout::new(p, Stream::new(bench.seed, "mask"));
        backend.linear_residual(&mut y, &x, &w, &b, dropout.as_ref(), &residual).unwrap();
        bench.keep_activation("with residual", &y);
    }

    let (mut d_x, mut d_w, mut d_b) = (bench.empty(rows, inputs), bench.random(outputs, inputs), bench.random(1, outputs));
    backend.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
    bench.keep_activation("d_x", &d_x);
    bench.keep("d_w", &d_w);
    bench.keep("d_b", &d_b);
    backend.linear_backward(None, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
    bench.keep("d_w without d_x", &d_w);
    let plus = InputGradient::Plus(&other);
    backend.linear_backward_into(&mut d_x, plus, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
    bench.keep_activation("d_x plus another", &d_x);
    for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        let through = InputGradient::Through { inner: &other, kind };
        backend.linear_backward_into(&mut d_x, through, &mut d_w, &mut d_b, &d_y, &x, &w).unwrap();
        bench.keep_activation("d_x through an activation", &d_x);
    }
    bench.keep("d_w in the end", &d_w);
    bench.keep("d_b in the end", &d_b);
}

fn layer_norm<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize) {
    let (x, gamma, beta) = (bench.activation(rows, columns), bench.random(1, columns), bench.random(1, columns));
    let (mut y, mut stats) = (bench.empty(rows, columns), bench.empty(rows, 2));
    bench.backend.layer_norm(&mut y, &mut stats, &x, &gamma, &beta, 1e-12).unwrap();
    bench.keep_activation("y", &y);
    bench.keep("stats", &stats);
    let d_y = bench.activation(rows, columns);
    let (mut d_x, mut d_gamma, mut d_beta) = (bench.empty(rows, columns), bench.random(1, columns), bench.random(1, columns));
    bench.backend.layer_norm_backward(&mut d_x, &mut d_gamma, &mut d_beta, &d_y, &x, &stats, &gamma).unwrap();
    bench.keep_activation("d_x", &d_x);
    bench.keep("d_gamma", &d_gamma);
    bench.keep("d_beta", &d_beta);
}

fn activation<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize, kind: Activation) {
    let (x, d_y) = (bench.activation(rows, columns), bench.activation(rows, columns));
    let (mut y, mut d_x) = (bench.empty(rows, columns), bench.empty(rows, columns));
    bench.backend.activation(&mut y, &x, kind).unwrap();
    bench.backend.activation_backward(&mut d_x, &d_y, &x, kind).unwrap();
    bench.keep_activation("y", &y);
    bench.keep_activation("d_x", &d_x);
}

fn attention<B: Backend>(bench: &mut Bench<'_, B>, lengths: &[usize], heads: usize, head_size: usize, p: f64) {
    let batch = bench.batch(lengths, 11);
    let (tokens, hidden) = (batch.host.tokens(), heads * head_size);
    let dropout = Dropout::new(p, Stream::new(bench.seed, "mask"));
    let qkv = bench.activation(tokens, 3 * hidden);
    let (mut out, mut lse) = (bench.empty(tokens, hidden), bench.empty(tokens, heads));
    bench.backend.attention(&mut out, &mut lse, &qkv, &batch, heads, dropout.as_ref()).unwrap();
    bench.keep_activation("out", &out);
    bench.keep("lse", &lse);
    let d_out = bench.activation(tokens, hidden);
    let mut d_qkv = bench.empty(tokens, 3 * hidden);
    bench.backend.attention_backward(&mut d_qkv, &d_out, &out, &lse, &qkv, &batch, heads, dropout.as_ref()).unwrap();
    bench.keep_activation("d_qkv", &d_qkv);
}

fn gather<B: Backend>(bench: &mut Bench<'_, B>, rows: usize, columns: usize) {
    let x = bench.activation(rows, columns);
    let picked = Stream::new(bench.seed, "rows").generator().choose(rows, 5);
    let picked = bench.backend.upload_indices(&picked.iter().map(|&row| row as i32).collect::<Vec<_>>()).unwrap();
    let (mut out, mut d_x) = (bench.empty(5, columns), bench.empty(rows, columns));
    bench.backend.gather_rows(&mut out, &x, &picked).unwrap();
    bench.backend.scatter_rows(&mut d_x, &out, &picked).unwrap();
    bench.keep_activation("out", &out);
    bench.keep_activation("d_x", &d_x);
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
