//! What a case runs on: inputs that are the same everywhere, and outputs by name.

use std::cell::Cell;

use stepsynth_core::backend::{Backend, DeviceBatch, Real};
use stepsynth_core::random::Stream;
use stepsynth_core::{Batch, Sequence};
use stepsynth_kernels::Precision;

use super::Poison;
use crate::plain::to_bfloat16;

/// One output of a case.
pub(crate) struct Output {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
    /// Whether a model stores it as an activation, or the gradient of one.
    pub(super) activation: bool,
}

/// Draws inputs on a backend: the same f32 numbers everywhere, and collects named outputs.
pub(super) struct Bench<'a, B: Backend> {
    pub(super) backend: &'a B,
    /// How the backend under test stores activations: those that are inputs are drawn from such numbers.
    activations: Precision,
    pub(super) seed: u64,
    drawn: Cell<u64>,
    poison: Option<Poison>,
    pub(super) outputs: Vec<Output>,
}

impl<'a, B: Backend> Bench<'a, B> {
    pub(super) fn new(backend: &'a B, activations: Precision, seed: u64, poison: Option<Poison>) -> Self {
        Self { backend, activations, seed, drawn: Cell::new(0), poison, outputs: Vec::new() }
    }

    /// How many inputs were drawn.
    pub(super) fn drawn(&self) -> u64 {
        self.drawn.get()
    }

    fn draw(&self, rows: usize, columns: usize) -> Vec<f64> {
        self.drawn.set(self.drawn.get() + 1);
        let mut generator = Stream::new(self.seed, "case").child(self.drawn.get()).generator();
        let mut values: Vec<_> = (0..rows * columns).map(|_| f64::from(generator.normal() as f32)).collect();
        if let Some(poison) = self.poison.filter(|poison| poison.input == self.drawn.get()) {
            values[generator.below(rows * columns)] = poison.value;
        }
        values
    }

    fn upload(&self, rows: usize, columns: usize, values: &[f64]) -> B::Tensor {
        let host: Vec<_> = values.iter().map(|&value| B::Scalar::of(value)).collect();
        self.backend.upload(rows, columns, &host).unwrap()
    }

    /// What a model keeps in f32: parameters, their gradients, the logits and gradients of heads.
    pub(super) fn random(&self, rows: usize, columns: usize) -> B::Tensor {
        self.upload(rows, columns, &self.draw(rows, columns))
    }

    fn draw_rounded(&self, rows: usize, columns: usize) -> Vec<f64> {
        let mut values = self.draw(rows, columns);
        if self.activations == Precision::Bf16 {
            values.iter_mut().for_each(|value| *value = to_bfloat16(*value));
        }
        values
    }

    /// What a model keeps in f32 and rounds for a product: numbers that this does not change.
    pub(super) fn operand(&self, rows: usize, columns: usize) -> B::Tensor {
        self.upload(rows, columns, &self.draw_rounded(rows, columns))
    }

    /// What a model stores as an activation, or the gradient of one.
    pub(super) fn activation(&self, rows: usize, columns: usize) -> B::Tensor {
        let values = self.draw_rounded(rows, columns);
        // An operation has to write it for the backend to store it as what it is.
        let mut stored = self.empty(rows, columns);
        self.backend.copy(&mut stored, &self.upload(rows, columns, &values)).unwrap();
        stored
    }

    pub(super) fn indices(&self, length: usize, bound: usize) -> B::Indices {
        self.drawn.set(self.drawn.get() + 1);
        let mut generator = Stream::new(self.seed, "indices").child(self.drawn.get()).generator();
        let host: Vec<i32> = (0..length).map(|_| generator.below(bound) as i32).collect();
        self.backend.upload_indices(&host).unwrap()
    }

    pub(super) fn batch(&self, lengths: &[usize], vocabulary: usize) -> DeviceBatch<B::Indices> {
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

    pub(super) fn empty(&self, rows: usize, columns: usize) -> B::Tensor {
        self.backend.empty(rows, columns).unwrap()
    }

    /// An output in f32.
    pub(super) fn keep(&mut self, name: &'static str, tensor: &B::Tensor) {
        self.keep_as(name, tensor, false);
    }

    /// An output that a model stores as an activation, or the gradient of one.
    pub(super) fn keep_activation(&mut self, name: &'static str, tensor: &B::Tensor) {
        self.keep_as(name, tensor, true);
    }

    pub(super) fn keep_as(&mut self, name: &'static str, tensor: &B::Tensor, activation: bool) {
        let values = self.backend.download(tensor).unwrap().into_iter().map(Real::f64).collect();
        self.outputs.push(Output { name, values, activation });
    }
}
