//! Every operation's backward pass against central differences of its forward pass, in `f64`.

use ndarray::Array2;

use super::Reference;
use crate::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout};
use crate::random::Stream;
use crate::{Batch, Sequence};

type Tensors = Vec<Array2<f64>>;

const BACKEND: Reference<f64> = Reference(std::marker::PhantomData);

/// Step of the central difference. Its error is `h^2/6 f'''` (about 1e-10 for our functions of order one) plus rounding
/// `1e-16 |f| / h` (about 1e-10 for sums of order ten): 1e-7 relative to the largest gradient leaves room for both.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;

fn random(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut generator = Stream::new(seed, "finite differences").generator();
    Array2::from_shape_fn((rows, columns), |_| generator.normal())
}

fn empty(rows: usize, columns: usize) -> Array2<f64> {
    BACKEND.empty(rows, columns).unwrap()
}

/// Sequences of lengths 3, 1 and 5 over a vocabulary of 7 with two segments.
fn batch() -> DeviceBatch<Vec<i32>> {
    let sequence = |ids: &[i32]| Sequence { ids: ids.to_vec(), token_types: ids.iter().map(|id| id % 2).collect() };
    let sequences = [sequence(&[1, 2, 1]), sequence(&[6]), sequence(&[3, 4, 5, 3, 0])];
    BACKEND.upload_batch(Batch::pack(&sequences).unwrap()).unwrap()
}

/// Compares `analytic[i]`, the gradient by `inputs[i]` of `objective`, with central differences.
fn check(name: &str, inputs: &Tensors, analytic: &Tensors, objective: impl Fn(&Tensors) -> f64) {
    for (which, gradient) in analytic.iter().enumerate() {
        let largest = gradient.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
        for index in 0..gradient.len() {
            let place = (index / gradient.ncols(), index % gradient.ncols());
            let shifted = |by: f64| {
                let mut moved = inputs.clone();
                moved[which][place] += by;
                objective(&moved)
            };
            let difference = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            let error = (difference - gradient[place]).abs();
            // Written so that NaN fails.
            assert!(error <= TOLERANCE * largest, "{name}: input {which} at {place:?}: {difference} but {}", gradient[place]);
        }
    }
}

/// The scalar whose gradient by `output` is `weights`.
fn weighted(output: &Array2<f64>, weights: &Array2<f64>) -> f64 {
    (output * weights).sum()
}

#[test]
fn embed() {
    let batch = batch();
    let weights = random(9, 4, 1);
    let inputs = vec![random(7, 4, 2), random(5, 4, 3), random(2, 4, 4)];
    let mut gradients: Tensors = inputs.iter().map(|table| Array2::zeros(table.dim())).collect();
    let [d_word, d_position, d_type] = &mut gradients[..] else { unreachable!() };
    BACKEND.embed_backward(d_word, d_position, Some(d_type), &weights, &batch).unwrap();
    check("embed", &inputs, &gradients, |tables| {
        let mut out = empty(9, 4);
        BACKEND.embed(&mut out, &batch, &tables[0], &tables[1], Some(&tables[2])).unwrap();
        weighted(&out, &weights)
    });
}

#[test]
fn linear() {
    let weights = random(5, 3, 1);
    let inputs = vec![random(5, 4, 2), random(3, 4, 3), random(1, 3, 4)];
    let mut d_x = empty(5, 4);
    let (mut d_w, mut d_b) = (Array2::zeros((3, 4)), Array2::zeros((1, 3)));
    BACKEND.linear_backward(Some(&mut d_x), &mut d_w, &mut d_b, &weights, &inputs[0], &inputs[1]).unwrap();
    check("linear", &inputs, &vec![d_x, d_w, d_b], |inputs| {
        let mut y = empty(5, 3);
        BACKEND.linear(&mut y, &inputs[0], &inputs[1], &inputs[2]).unwrap();
        weighted(&y, &weights)
    });
}

#[test]
fn layer_norm() {
    let weights = random(4, 6, 1);
    let inputs = vec![random(4, 6, 2), random(1, 6, 3), random(1, 6, 4)];
    let forward = |inputs: &Tensors| {
        let (mut y, mut stats) = (empty(4, 6), empty(4, 2));
        BACKEND.layer_norm(&mut y, &mut stats, &inputs[0], &inputs[1], &inputs[2], 1e-5).unwrap();
        (y, stats)
    };
    let stats = forward(&inputs).1;
    let mut d_x = empty(4, 6);
    let (mut d_gamma, mut d_beta) = (Array2::zeros((1, 6)), Array2::zeros((1, 6)));
    BACKEND.layer_norm_backward(&mut d_x, &mut d_gamma, &mut d_beta, &weights, &inputs[0], &stats, &inputs[1]).unwrap();
    check("layer_norm", &inputs, &vec![d_x, d_gamma, d_beta], |inputs| weighted(&forward(inputs).0, &weights));
}

#[test]
fn activation() {
    for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        let (weights, inputs) = (random(3, 5, 1), vec![random(3, 5, 2)]);
        let mut d_x = empty(3, 5);
        BACKEND.activation_backward(&mut d_x, &weights, &inputs[0], kind).unwrap();
        check("activation", &inputs, &vec![d_x], |inputs| {
            let mut y = empty(3, 5);
            BACKEND.activation(&mut y, &inputs[0], kind).unwrap();
            weighted(&y, &weights)
        });
    }
}

#[test]
fn attention_with_and_without_dropout() {
    let batch = batch();
    for dropout in [None, Dropout::new(0.3, Stream::new(5, "mask"))] {
        let (weights, inputs) = (random(9, 4, 1), vec![random(9, 12, 2)]);
        let forward = |inputs: &Tensors| {
            let (mut out, mut lse) = (empty(9, 4), empty(9, 2));
            BACKEND.attention(&mut out, &mut lse, &inputs[0], &batch, 2, dropout.as_ref()).unwrap();
            (out, lse)
        };
        let (out, lse) = forward(&inputs);
        let mut d_qkv = empty(9, 12);
        BACKEND.attention_backward(&mut d_qkv, &weights, &out, &lse, &inputs[0], &batch, 2, dropout.as_ref()).unwrap();
        check("attention", &inputs, &vec![d_qkv], |inputs| weighted(&forward(inputs).0, &weights));
    }
}

#[test]
fn dropout_is_its_own_backward() {
    let dropout = Dropout::new(0.4, Stream::new(3, "mask")).unwrap();
    let (weights, inputs) = (random(6, 7, 1), vec![random(6, 7, 2)]);
    let mut d_x = weights.clone();
    BACKEND.dropout(&mut d_x, &dropout).unwrap();
    check("dropout", &inputs, &vec![d_x], |inputs| {
        let mut y = inputs[0].clone();
        BACKEND.dropout(&mut y, &dropout).unwrap();
        weighted(&y, &weights)
    });
}

#[test]
fn gather_rows() {
    let (weights, inputs, rows) = (random(2, 3, 1), vec![random(5, 3, 2)], vec![4, 1]);
    let mut d_x = empty(5, 3);
    BACKEND.scatter_rows(&mut d_x, &weights, &rows).unwrap();
    check("gather_rows", &inputs, &vec![d_x], |inputs| {
        let mut out = empty(2, 3);
        BACKEND.gather_rows(&mut out, &inputs[0], &rows).unwrap();
        weighted(&out, &weights)
    });
}

#[test]
fn cross_entropy() {
    let (inputs, labels) = (vec![random(4, 3, 1)], vec![2, 0, 1, 1]);
    let forward = |inputs: &Tensors| {
        let (mut losses, mut d_logits) = (empty(4, 1), empty(4, 3));
        BACKEND.cross_entropy(&mut losses, &mut d_logits, &inputs[0], &labels).unwrap();
        (losses, d_logits)
    };
    check("cross_entropy", &inputs, &vec![forward(&inputs).1], |inputs| forward(inputs).0.mean().unwrap());
}

#[test]
fn span_loss() {
    let batch = batch();
    let (inputs, starts, ends) = (vec![random(9, 2, 1)], vec![0, 0, 1], vec![2, 0, 3]);
    let forward = |inputs: &Tensors| {
        let (mut losses, mut d_logits) = (empty(3, 1), empty(9, 2));
        BACKEND.span_loss(&mut losses, &mut d_logits, &inputs[0], &batch, &starts, &ends).unwrap();
        (losses, d_logits)
    };
    check("span_loss", &inputs, &vec![forward(&inputs).1], |inputs| forward(inputs).0.mean().unwrap());
}

/// One element worked by hand from the formula of Loshchilov and Hutter, Algorithm 2.
#[test]
fn adamw_first_step_by_hand() {
    let [mut parameter, gradient] = [2.0, 0.5].map(|value| Array2::from_elem((1, 1), value));
    let (mut first, mut second) = (Array2::zeros((1, 1)), Array2::zeros((1, 1)));
    let slot = AdamWSlot { parameter: &mut parameter, gradient: &gradient, first: &mut first, second: &mut second, decay: true };
    let step = AdamWStep {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.01,
        step: 1,
        gradient_scale: 0.5,
    };
    BACKEND.adamw(&mut [slot], &step).unwrap();
    // g = 0.25: m = 0.025, v = 0.000625; corrected 0.25 and 0.0625, so the update is 0.25 / (0.25 + 1e-8).
    let expected = 2.0 - 0.1 * 0.01 * 2.0 - 0.1 * 0.25 / (0.25 + 1e-8);
    assert!((parameter[[0, 0]] - expected).abs() < 1e-15);
    assert!((first[[0, 0]] - 0.025).abs() < 1e-15 && (second[[0, 0]] - 0.000_625).abs() < 1e-15);
}
