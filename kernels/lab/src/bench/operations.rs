//! Every operation of a training step, in the shapes of one encoder on one batch.

use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend as _, DeviceBatch, Dropout, InputGradient};
use stepsynth_core::random::Stream;
use stepsynth_core::{Batch, Result, Sequence};
use stepsynth_kernels::Precision;
use stepsynth_kernels::cuda::{Indices, Tensor};

use crate::cublaslt::{Form, Yardstick};
use crate::shapes::{Encoder, POSITIONS, VOCABULARY, Workload};
use crate::timer::Timer;

/// What limits an operation, and so what it is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// What a copy moves.
    Memory,
    /// Seconds that cuBLASLt takes for the same products, where it is there.
    Product(Option<f64>),
    /// Products with a softmax between them, for which there is no yardstick here.
    Attention,
}

/// One operation's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) operation: &'static str,
    pub(crate) seconds: f64,
    /// Floating-point operations of its products.
    pub(crate) flops: f64,
    /// Bytes that it has to read and write.
    pub(crate) bytes: f64,
    pub(crate) bound: Bound,
}

/// All operations. Sizes: N tokens, C hidden, F feed-forward.
pub(crate) fn all(
    timer: &Timer<'_>,
    encoder: &Encoder,
    workload: &Workload,
    yardstick: Option<&Yardstick>,
) -> Result<Vec<Measured>> {
    let mut bench = Bench { timer, yardstick, found: Vec::new() };
    let (hidden, wide) = (encoder.hidden, encoder.feed_forward());
    let batch = batch(timer, workload)?;
    let tokens = batch.host.tokens();
    bench.linear("linear qkv", tokens, hidden, 3 * hidden, Finish::Bias)?;
    bench.linear("linear attention out + residual", tokens, hidden, hidden, Finish::Residual)?;
    bench.linear("linear feed-forward in + GELU", tokens, hidden, wide, Finish::Gelu)?;
    bench.linear("linear feed-forward out + residual", tokens, wide, hidden, Finish::Residual)?;
    bench.linear_backward("linear backward qkv", tokens, hidden, 3 * hidden, false)?;
    bench.linear_backward("linear backward attention out", tokens, hidden, hidden, false)?;
    bench.linear_backward("linear backward feed-forward in", tokens, hidden, wide, false)?;
    bench.linear_backward("linear backward feed-forward out through GELU", tokens, wide, hidden, true)?;
    bench.attention(encoder, &batch, &workload.lengths)?;
    bench.layer_norm(tokens, hidden)?;
    bench.embed(encoder, &batch)?;
    bench.optimizer(encoder)?;
    Ok(bench.found)
}

fn batch(timer: &Timer<'_>, workload: &Workload) -> Result<DeviceBatch<Indices>> {
    let mut generator = Stream::new(0, "tokens").generator();
    let mut sequences = Vec::with_capacity(workload.lengths.len());
    for &length in &workload.lengths {
        let ids = (0..length).map(|_| 1_000 + generator.below(VOCABULARY - 1_000) as i32).collect();
        sequences.push(Sequence { ids, token_types: vec![0; length] });
    }
    timer.cuda.upload_batch(Batch::pack(&sequences)?)
}

/// The end of a linear layer.
#[derive(Clone, Copy, PartialEq)]
enum Finish {
    Bias,
    /// GELU, with what it is applied to kept for the backward pass.
    Gelu,
    /// Dropout and the residual.
    Residual,
}

struct Bench<'a> {
    timer: &'a Timer<'a>,
    yardstick: Option<&'a Yardstick>,
    found: Vec<Measured>,
}

impl Bench<'_> {
    /// Bytes of a number that is stored as an activation.
    fn number(&self) -> f64 {
        if self.timer.cuda.precision() == Precision::Bf16 { 2.0 } else { 4.0 }
    }

    fn dropout() -> Option<Dropout> {
        Dropout::new(0.1, Stream::new(0, "mask"))
    }

    /// Buffers that take turns.
    fn activations(&self, copies: usize, rows: usize, columns: usize) -> Result<Vec<Tensor>> {
        (0..copies).map(|_| self.timer.activation(rows, columns)).collect()
    }

    /// Seconds that cuBLASLt takes for products of a layer, if it is there; where it fails, that is said.
    fn ceiling(&self, forms: &[Form], rows: usize, inputs: usize, outputs: usize) -> Bound {
        let seconds = |yardstick: &Yardstick| -> Option<f64> {
            let each = forms.iter().map(|&form| yardstick.seconds(form, rows, inputs, outputs));
            each.sum::<Result<f64, String>>().map_err(|error| eprintln!("cuBLASLt: {error}")).ok()
        };
        Bound::Product(self.yardstick.and_then(seconds))
    }

    fn linear(&mut self, operation: &'static str, rows: usize, inputs: usize, outputs: usize, finish: Finish) -> Result<()> {
        let cuda = self.timer.cuda;
        let written = if finish == Finish::Bias { 1 } else { 2 } * rows * outputs;
        let bytes = self.number() * (rows * inputs + outputs * inputs + written) as f64;
        let copies = Timer::copies(bytes);
        let (w, b) = (self.timer.parameter(outputs, inputs)?, self.timer.parameter(1, outputs)?);
        let x = self.activations(copies, rows, inputs)?;
        let [mut y, mut other] = [self.activations(copies, rows, outputs)?, self.activations(copies, rows, outputs)?];
        let dropout = Self::dropout();
        let seconds = self.timer.seconds(|call| {
            let at = call % copies;
            match finish {
                Finish::Bias => cuda.linear(&mut y[at], &x[at], &w, &b),
                Finish::Gelu => cuda.linear_activation(&mut y[at], Some(&mut other[at]), &x[at], &w, &b, Activation::GeluErf),
                Finish::Residual => cuda.linear_residual(&mut y[at], &x[at], &w, &b, dropout.as_ref(), &other[at]),
            }
        })?;
        let flops = 2.0 * (rows * inputs * outputs) as f64;
        let bound = self.ceiling(&[Form::Forward], rows, inputs, outputs);
        self.found.push(Measured { operation, seconds, flops, bytes, bound });
        Ok(())
    }

    /// Gradients of input, weights and bias; `through` a GELU before the layer.
    fn linear_backward(
        &mut self,
        operation: &'static str,
        rows: usize,
        inputs: usize,
        outputs: usize,
        through: bool,
    ) -> Result<()> {
        let cuda = self.timer.cuda;
        let numbers = rows * (2 * outputs + 2 * inputs + if through { inputs } else { 0 }) + outputs * inputs;
        let bytes = self.number() * numbers as f64 + 8.0 * (outputs * inputs) as f64;
        let copies = Timer::copies(bytes);
        let w = self.timer.parameter(outputs, inputs)?;
        let (mut d_w, mut d_b) = (cuda.zeros(outputs, inputs)?, cuda.zeros(1, outputs)?);
        let [x, mut d_x] = [self.activations(copies, rows, inputs)?, self.activations(copies, rows, inputs)?];
        let d_y = self.activations(copies, rows, outputs)?;
        let inner = self.activations(if through { copies } else { 0 }, rows, inputs)?;
        let seconds = self.timer.seconds(|call| {
            let at = call % copies;
            match inner.get(at) {
                Some(inner) => {
                    let then = InputGradient::Through { inner, kind: Activation::GeluErf };
                    cuda.linear_backward_into(&mut d_x[at], then, &mut d_w, &mut d_b, &d_y[at], &x[at], &w)
                }
                None => cuda.linear_backward(Some(&mut d_x[at]), &mut d_w, &mut d_b, &d_y[at], &x[at], &w),
            }
        })?;
        let flops = 4.0 * (rows * inputs * outputs) as f64;
        let bound = self.ceiling(&[Form::Input, Form::Weight], rows, inputs, outputs);
        self.found.push(Measured { operation, seconds, flops, bytes, bound });
        Ok(())
    }

    fn attention(&mut self, encoder: &Encoder, batch: &DeviceBatch<Indices>, lengths: &[usize]) -> Result<()> {
        let cuda = self.timer.cuda;
        let (tokens, hidden, heads) = (batch.host.tokens(), encoder.hidden, encoder.heads);
        let pairs: f64 = lengths.iter().map(|&length| (length * length) as f64).sum();
        let bytes = self.number() * (4 * tokens * hidden) as f64;
        let copies = Timer::copies(bytes);
        let qkv = self.activations(copies, tokens, 3 * hidden)?;
        let mut out = self.activations(copies, tokens, hidden)?;
        let mut lse = (0..copies).map(|_| cuda.empty(tokens, heads)).collect::<Result<Vec<_>>>()?;
        for (operation, dropout) in [("attention", Self::dropout()), ("attention without dropout", None)] {
            let seconds = self.timer.seconds(|call| {
                let at = call % copies;
                cuda.attention(&mut out[at], &mut lse[at], &qkv[at], batch, heads, dropout.as_ref())
            })?;
            let flops = 4.0 * pairs * hidden as f64;
            self.found.push(Measured { operation, seconds, flops, bytes, bound: Bound::Attention });
        }
        let dropout = Self::dropout();
        for at in 0..copies {
            cuda.attention(&mut out[at], &mut lse[at], &qkv[at], batch, heads, dropout.as_ref())?;
        }
        let d_out = self.activations(copies, tokens, hidden)?;
        let mut d_qkv = self.activations(copies, tokens, 3 * hidden)?;
        let seconds = self.timer.seconds(|call| {
            let at = call % copies;
            cuda.attention_backward(&mut d_qkv[at], &d_out[at], &out[at], &lse[at], &qkv[at], batch, heads, dropout.as_ref())
        })?;
        let (operation, flops, bytes) = ("attention backward", 10.0 * pairs * hidden as f64, 2.0 * bytes);
        self.found.push(Measured { operation, seconds, flops, bytes, bound: Bound::Attention });
        Ok(())
    }

    fn memory_bound(&mut self, operation: &'static str, bytes: f64, seconds: f64) {
        self.found.push(Measured { operation, seconds, flops: 0.0, bytes, bound: Bound::Memory });
    }

    fn layer_norm(&mut self, rows: usize, columns: usize) -> Result<()> {
        let cuda = self.timer.cuda;
        let bytes = self.number() * (2 * rows * columns) as f64;
        let copies = Timer::copies(bytes);
        let [gamma, beta] = [self.timer.parameter(1, columns)?, self.timer.parameter(1, columns)?];
        let [x, mut y] = [self.activations(copies, rows, columns)?, self.activations(copies, rows, columns)?];
        let mut stats = (0..copies).map(|_| cuda.empty(rows, 2)).collect::<Result<Vec<_>>>()?;
        let seconds = self.timer.seconds(|call| {
            let at = call % copies;
            cuda.layer_norm(&mut y[at], &mut stats[at], &x[at], &gamma, &beta, 1e-12)
        })?;
        self.memory_bound("layer norm", bytes, seconds);
        for at in 0..copies {
            cuda.layer_norm(&mut y[at], &mut stats[at], &x[at], &gamma, &beta, 1e-12)?;
        }
        let mut d_x = self.activations(copies, rows, columns)?;
        let [mut d_gamma, mut d_beta] = [cuda.zeros(1, columns)?, cuda.zeros(1, columns)?];
        let seconds = self.timer.seconds(|call| {
            let at = call % copies;
            cuda.layer_norm_backward(&mut d_x[at], &mut d_gamma, &mut d_beta, &y[at], &x[at], &stats[at], &gamma)
        })?;
        self.memory_bound("layer norm backward", 1.5 * bytes, seconds);
        let seconds = self.timer.seconds(|call| cuda.add(&mut y[call % copies], &x[call % copies]))?;
        self.memory_bound("add", 1.5 * bytes, seconds);
        Ok(())
    }

    fn embed(&mut self, encoder: &Encoder, batch: &DeviceBatch<Indices>) -> Result<()> {
        let cuda = self.timer.cuda;
        let (tokens, hidden) = (batch.host.tokens(), encoder.hidden);
        let [mut word, mut position] = [self.timer.parameter(VOCABULARY, hidden)?, self.timer.parameter(POSITIONS, hidden)?];
        let mut token_type = (encoder.token_types > 0).then(|| self.timer.parameter(2, hidden)).transpose()?;
        let mut out = self.activations(1, tokens, hidden)?.remove(0);
        let seconds = self.timer.seconds(|_| cuda.embed(&mut out, batch, &word, &position, token_type.as_ref()))?;
        let numbers = (tokens * hidden) as f64;
        self.memory_bound("embed", (4.0 + self.number()) * numbers, seconds);
        let seconds = self.timer.seconds(|_| cuda.embed_backward(&mut word, &mut position, token_type.as_mut(), &out, batch))?;
        self.memory_bound("embed backward", (8.0 + self.number()) * numbers, seconds);
        Ok(())
    }

    /// Over tensors of the sizes of all the encoder's parameters.
    fn optimizer(&mut self, encoder: &Encoder) -> Result<()> {
        let cuda = self.timer.cuda;
        let shapes = parameters(encoder);
        let new = || shapes.iter().map(|&(rows, columns)| cuda.zeros(rows, columns)).collect::<Result<Vec<_>>>();
        let (mut parameters, mut first, mut second) = (new()?, new()?, new()?);
        let gradients = shapes.iter().map(|&(rows, columns)| self.timer.parameter(rows, columns)).collect::<Result<Vec<_>>>()?;
        let count: f64 = shapes.iter().map(|&(rows, columns)| (rows * columns) as f64).sum();
        let seconds = self.timer.seconds(|_| cuda.sum_of_squares(&gradients).map(drop))?;
        self.memory_bound("gradient norm, with the wait for its value", 4.0 * count, seconds);
        let step = AdamWStep {
            learning_rate: 1e-5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            step: 1,
            gradient_scale: 1.0,
        };
        let seconds = self.timer.seconds(|_| {
            let state = parameters.iter_mut().zip(&gradients).zip(first.iter_mut().zip(&mut second));
            let mut slots: Vec<AdamWSlot<'_, Tensor>> = state
                .map(|((parameter, gradient), (first, second))| AdamWSlot { parameter, gradient, first, second, decay: true })
                .collect();
            cuda.adamw(&mut slots, &step)
        })?;
        self.memory_bound("AdamW", 28.0 * count, seconds);
        Ok(())
    }
}

/// Rows and columns of every parameter of the encoder.
fn parameters(encoder: &Encoder) -> Vec<(usize, usize)> {
    let (hidden, wide) = (encoder.hidden, encoder.feed_forward());
    let layer = [
        (3 * hidden, hidden),
        (1, 3 * hidden),
        (hidden, hidden),
        (1, hidden),
        (wide, hidden),
        (1, wide),
        (hidden, wide),
        (1, hidden),
        (1, hidden),
        (1, hidden),
        (1, hidden),
        (1, hidden),
    ];
    let mut all = vec![(VOCABULARY, hidden), (POSITIONS, hidden), (1, hidden), (1, hidden)];
    if encoder.token_types > 0 {
        all.push((encoder.token_types, hidden));
    }
    (0..encoder.layers).for_each(|_| all.extend(layer));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::ENCODERS;

    #[test]
    fn parameters_are_as_many_as_published() {
        let count = |encoder| parameters(encoder).iter().map(|(rows, columns)| rows * columns).sum::<usize>();
        // DistilBERT without a head; MiniLM-L6 without its pooler.
        assert_eq!(count(&ENCODERS[0]), 66_362_880);
        assert_eq!(count(&ENCODERS[1]), 22_713_216 - 384 * 385);
    }
}
