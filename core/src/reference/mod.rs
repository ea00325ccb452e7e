//! The oracle: every operation written plainly over `ndarray`, in the number type of one's choice. Clear before fast;
//! with `f64` it is what finite differences and every other backend are checked against.

mod activation;
mod attention;
mod embed;
#[cfg(test)]
mod finite_differences;
mod loss;
mod norm;
mod optimizer;

use std::marker::PhantomData;

use ndarray::{Array2, Axis, LinalgScalar, ScalarOperand, Zip};

use crate::Result;
use crate::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout, Real, expect_index, expect_shape};

/// Numbers the reference can compute with.
pub trait ReferenceReal: Real + LinalgScalar + ScalarOperand {}
impl ReferenceReal for f32 {}
impl ReferenceReal for f64 {}

/// The plain backend with numbers of type `T`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference<T>(PhantomData<T>);

impl<T> Reference<T> {
    /// The backend; it has no state.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: ReferenceReal> Backend for Reference<T> {
    type Scalar = T;
    type Tensor = Array2<T>;
    type Indices = Vec<i32>;

    fn name(&self) -> String {
        format!("reference-f{}", 8 * size_of::<T>())
    }

    fn empty(&self, rows: usize, columns: usize) -> Result<Array2<T>> {
        // Contents are unspecified by contract: NaN shows a caller that reads them.
        Ok(Array2::from_elem((rows, columns), T::nan()))
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Array2<T>> {
        Ok(Array2::zeros((rows, columns)))
    }

    fn upload(&self, rows: usize, columns: usize, host: &[T]) -> Result<Array2<T>> {
        expect_shape("upload", "host data", (1, host.len()), (1, rows * columns))?;
        Ok(Array2::from_shape_fn((rows, columns), |(row, column)| host[row * columns + column]))
    }

    fn upload_indices(&self, host: &[i32]) -> Result<Vec<i32>> {
        Ok(host.to_vec())
    }

    fn download(&self, tensor: &Array2<T>) -> Result<Vec<T>> {
        Ok(tensor.iter().copied().collect())
    }

    fn shape(&self, tensor: &Array2<T>) -> (usize, usize) {
        tensor.dim()
    }

    fn clear(&self, tensor: &mut Array2<T>) -> Result<()> {
        tensor.fill(T::zero());
        Ok(())
    }

    fn embed(
        &self,
        out: &mut Array2<T>,
        batch: &DeviceBatch<Vec<i32>>,
        word: &Array2<T>,
        position: &Array2<T>,
        token_type: Option<&Array2<T>>,
    ) -> Result<()> {
        embed::forward(out, batch, word, position, token_type)
    }

    fn embed_backward(
        &self,
        d_word: &mut Array2<T>,
        d_position: &mut Array2<T>,
        d_token_type: Option<&mut Array2<T>>,
        d_out: &Array2<T>,
        batch: &DeviceBatch<Vec<i32>>,
    ) -> Result<()> {
        embed::backward(d_word, d_position, d_token_type, d_out, batch)
    }

    fn linear(&self, y: &mut Array2<T>, x: &Array2<T>, w: &Array2<T>, b: &Array2<T>) -> Result<()> {
        let (outputs, inputs) = w.dim();
        expect_shape("linear", "x", x.dim(), (x.nrows(), inputs))?;
        expect_shape("linear", "b", b.dim(), (1, outputs))?;
        expect_shape("linear", "y", y.dim(), (x.nrows(), outputs))?;
        y.assign(&(x.dot(&w.t()) + b));
        Ok(())
    }

    fn linear_backward(
        &self,
        d_x: Option<&mut Array2<T>>,
        d_w: &mut Array2<T>,
        d_b: &mut Array2<T>,
        d_y: &Array2<T>,
        x: &Array2<T>,
        w: &Array2<T>,
    ) -> Result<()> {
        let (outputs, inputs) = w.dim();
        expect_shape("linear_backward", "x", x.dim(), (d_y.nrows(), inputs))?;
        expect_shape("linear_backward", "d_y", d_y.dim(), (x.nrows(), outputs))?;
        expect_shape("linear_backward", "d_w", d_w.dim(), (outputs, inputs))?;
        expect_shape("linear_backward", "d_b", d_b.dim(), (1, outputs))?;
        *d_w += &d_y.t().dot(x);
        *d_b += &d_y.sum_axis(Axis(0)).insert_axis(Axis(0));
        if let Some(d_x) = d_x {
            expect_shape("linear_backward", "d_x", d_x.dim(), x.dim())?;
            d_x.assign(&d_y.dot(w));
        }
        Ok(())
    }

    fn layer_norm(
        &self,
        y: &mut Array2<T>,
        stats: &mut Array2<T>,
        x: &Array2<T>,
        gamma: &Array2<T>,
        beta: &Array2<T>,
        epsilon: f64,
    ) -> Result<()> {
        norm::forward(y, stats, x, gamma, beta, epsilon)
    }

    fn layer_norm_backward(
        &self,
        d_x: &mut Array2<T>,
        d_gamma: &mut Array2<T>,
        d_beta: &mut Array2<T>,
        d_y: &Array2<T>,
        x: &Array2<T>,
        stats: &Array2<T>,
        gamma: &Array2<T>,
    ) -> Result<()> {
        norm::backward(d_x, d_gamma, d_beta, d_y, x, stats, gamma)
    }

    fn activation(&self, y: &mut Array2<T>, x: &Array2<T>, kind: Activation) -> Result<()> {
        expect_shape("activation", "y", y.dim(), x.dim())?;
        Zip::from(y).and(x).for_each(|y, &x| *y = T::of(activation::value(kind, x.f64())));
        Ok(())
    }

    fn activation_backward(&self, d_x: &mut Array2<T>, d_y: &Array2<T>, x: &Array2<T>, kind: Activation) -> Result<()> {
        expect_shape("activation_backward", "d_x", d_x.dim(), x.dim())?;
        expect_shape("activation_backward", "d_y", d_y.dim(), x.dim())?;
        Zip::from(d_x).and(d_y).and(x).for_each(|d_x, &d_y, &x| *d_x = d_y * T::of(activation::slope(kind, x.f64())));
        Ok(())
    }

    fn attention(
        &self,
        out: &mut Array2<T>,
        lse: &mut Array2<T>,
        qkv: &Array2<T>,
        batch: &DeviceBatch<Vec<i32>>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        attention::forward(out, lse, qkv, &batch.host, heads, dropout)
    }

    fn attention_backward(
        &self,
        d_qkv: &mut Array2<T>,
        d_out: &Array2<T>,
        _out: &Array2<T>,
        _lse: &Array2<T>,
        qkv: &Array2<T>,
        batch: &DeviceBatch<Vec<i32>>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        attention::backward(d_qkv, d_out, qkv, &batch.host, heads, dropout)
    }

    fn dropout(&self, y: &mut Array2<T>, dropout: &Dropout) -> Result<()> {
        for (index, value) in y.iter_mut().enumerate() {
            *value *= T::of(dropout.factor(index as u64));
        }
        Ok(())
    }

    fn copy(&self, y: &mut Array2<T>, x: &Array2<T>) -> Result<()> {
        expect_shape("copy", "x", x.dim(), y.dim())?;
        y.assign(x);
        Ok(())
    }

    fn add(&self, y: &mut Array2<T>, x: &Array2<T>) -> Result<()> {
        expect_shape("add", "x", x.dim(), y.dim())?;
        *y += x;
        Ok(())
    }

    fn gather_rows(&self, out: &mut Array2<T>, x: &Array2<T>, rows: &Vec<i32>) -> Result<()> {
        expect_shape("gather_rows", "out", out.dim(), (rows.len(), x.ncols()))?;
        for (mut target, &row) in out.rows_mut().into_iter().zip(rows) {
            target.assign(&x.row(expect_index("gather_rows", "row", row, x.nrows())?));
        }
        Ok(())
    }

    fn scatter_rows(&self, d_x: &mut Array2<T>, d_out: &Array2<T>, rows: &Vec<i32>) -> Result<()> {
        expect_shape("scatter_rows", "d_out", d_out.dim(), (rows.len(), d_x.ncols()))?;
        d_x.fill(T::zero());
        for (source, &row) in d_out.rows().into_iter().zip(rows) {
            let row = expect_index("scatter_rows", "row", row, d_x.nrows())?;
            d_x.row_mut(row).assign(&source);
        }
        Ok(())
    }

    fn cross_entropy(
        &self,
        losses: &mut Array2<T>,
        d_logits: &mut Array2<T>,
        logits: &Array2<T>,
        labels: &Vec<i32>,
    ) -> Result<()> {
        loss::cross_entropy(losses, d_logits, logits, labels)
    }

    fn span_loss(
        &self,
        losses: &mut Array2<T>,
        d_logits: &mut Array2<T>,
        logits: &Array2<T>,
        batch: &DeviceBatch<Vec<i32>>,
        starts: &Vec<i32>,
        ends: &Vec<i32>,
    ) -> Result<()> {
        loss::span(losses, d_logits, logits, &batch.host, starts, ends)
    }

    fn sum_of_squares(&self, tensors: &[Array2<T>]) -> Result<f64> {
        Ok(tensors.iter().flatten().map(|value| value.f64().powi(2)).sum())
    }

    fn adamw(&self, slots: &mut [AdamWSlot<'_, Array2<T>>], step: &AdamWStep) -> Result<()> {
        slots.iter_mut().try_for_each(|slot| optimizer::adamw(slot, step))
    }
}
