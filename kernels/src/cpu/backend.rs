//! [`Backend`] for [`Cpu`]: every operation is in the file named after it.

use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, AdamWSlot, AdamWStep, Backend, DeviceBatch, Dropout, InputGradient, expect_shape};

use super::linear::Finish;
use super::{Cpu, Precision, Tensor, activation, attention, dropout, elementwise, embed, linear, loss, norm, optimizer};

impl Backend for Cpu {
    type Scalar = f32;
    type Tensor = Tensor;
    type Indices = Vec<i32>;

    fn name(&self) -> String {
        match self.precision() {
            Precision::F32 => "cpu".into(),
            Precision::Bf16 => "cpu-bf16".into(),
        }
    }

    fn empty(&self, rows: usize, columns: usize) -> Result<Tensor> {
        Ok(Tensor { rows, columns, data: self.memory.buffer(rows * columns) })
    }

    fn zeros(&self, rows: usize, columns: usize) -> Result<Tensor> {
        Ok(Tensor { rows, columns, data: self.memory.zeroed(rows * columns) })
    }

    fn upload(&self, rows: usize, columns: usize, host: &[f32]) -> Result<Tensor> {
        expect_shape("upload", "host data", (1, host.len()), (1, rows * columns))?;
        let mut tensor = self.empty(rows, columns)?;
        tensor.data.copy_from_slice(host);
        Ok(tensor)
    }

    fn upload_indices(&self, host: &[i32]) -> Result<Vec<i32>> {
        Ok(host.to_vec())
    }

    fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        Ok(tensor.data.to_vec())
    }

    fn shape(&self, tensor: &Tensor) -> (usize, usize) {
        tensor.shape()
    }

    fn clear(&self, tensor: &mut Tensor) -> Result<()> {
        elementwise::clear(self, tensor);
        Ok(())
    }

    fn embed(
        &self,
        out: &mut Tensor,
        batch: &DeviceBatch<Vec<i32>>,
        word: &Tensor,
        position: &Tensor,
        token_type: Option<&Tensor>,
    ) -> Result<()> {
        embed::forward(self, out, batch, word, position, token_type)
    }

    fn embed_backward(
        &self,
        d_word: &mut Tensor,
        d_position: &mut Tensor,
        d_token_type: Option<&mut Tensor>,
        d_out: &Tensor,
        batch: &DeviceBatch<Vec<i32>>,
    ) -> Result<()> {
        embed::backward(self, d_word, d_position, d_token_type, d_out, batch)
    }

    fn linear(&self, y: &mut Tensor, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<()> {
        let finish = Finish { bias: b, activation: None, dropout: None, residual: None };
        linear::forward(self, "linear", y, None, x, w, &finish)
    }

    fn linear_activation(
        &self,
        y: &mut Tensor,
        inner: Option<&mut Tensor>,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        kind: Activation,
    ) -> Result<()> {
        let finish = Finish { bias: b, activation: Some(kind), dropout: None, residual: None };
        linear::forward(self, "linear_activation", y, inner, x, w, &finish)
    }

    fn linear_residual(
        &self,
        y: &mut Tensor,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        dropout: Option<&Dropout>,
        residual: &Tensor,
    ) -> Result<()> {
        let finish = Finish { bias: b, activation: None, dropout, residual: Some(residual) };
        linear::forward(self, "linear_residual", y, None, x, w, &finish)
    }

    fn linear_backward(
        &self,
        d_x: Option<&mut Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        linear::backward(self, "linear_backward", d_x, None, d_w, d_b, d_y, x, w)
    }

    fn linear_backward_into(
        &self,
        d_x: &mut Tensor,
        then: InputGradient<'_, Tensor>,
        d_w: &mut Tensor,
        d_b: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        w: &Tensor,
    ) -> Result<()> {
        linear::backward(self, "linear_backward_into", Some(d_x), Some(then), d_w, d_b, d_y, x, w)
    }

    fn layer_norm(
        &self,
        y: &mut Tensor,
        stats: &mut Tensor,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        epsilon: f64,
    ) -> Result<()> {
        norm::forward(self, y, stats, x, gamma, beta, epsilon)
    }

    fn layer_norm_backward(
        &self,
        d_x: &mut Tensor,
        d_gamma: &mut Tensor,
        d_beta: &mut Tensor,
        d_y: &Tensor,
        x: &Tensor,
        stats: &Tensor,
        gamma: &Tensor,
    ) -> Result<()> {
        norm::backward(self, d_x, d_gamma, d_beta, d_y, x, stats, gamma)
    }

    fn activation(&self, y: &mut Tensor, x: &Tensor, kind: Activation) -> Result<()> {
        activation::forward(self, y, x, kind)
    }

    fn activation_backward(&self, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> Result<()> {
        activation::backward(self, d_x, d_y, x, kind)
    }

    fn attention(
        &self,
        out: &mut Tensor,
        lse: &mut Tensor,
        qkv: &Tensor,
        batch: &DeviceBatch<Vec<i32>>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        attention::forward(self, out, lse, qkv, batch, heads, dropout)
    }

    fn attention_backward(
        &self,
        d_qkv: &mut Tensor,
        d_out: &Tensor,
        out: &Tensor,
        lse: &Tensor,
        qkv: &Tensor,
        batch: &DeviceBatch<Vec<i32>>,
        heads: usize,
        dropout: Option<&Dropout>,
    ) -> Result<()> {
        attention::backward(self, d_qkv, d_out, out, lse, qkv, batch, heads, dropout)
    }

    fn dropout(&self, y: &mut Tensor, dropout: &Dropout) -> Result<()> {
        dropout::apply(self, y, dropout)
    }

    fn copy(&self, y: &mut Tensor, x: &Tensor) -> Result<()> {
        elementwise::copy(self, y, x)
    }

    fn add(&self, y: &mut Tensor, x: &Tensor) -> Result<()> {
        elementwise::add(self, y, x)
    }

    fn gather_rows(&self, out: &mut Tensor, x: &Tensor, rows: &Vec<i32>) -> Result<()> {
        elementwise::gather_rows(out, x, rows)
    }

    fn scatter_rows(&self, d_x: &mut Tensor, d_out: &Tensor, rows: &Vec<i32>) -> Result<()> {
        elementwise::scatter_rows(self, d_x, d_out, rows)
    }

    fn cross_entropy(&self, losses: &mut Tensor, d_logits: &mut Tensor, logits: &Tensor, labels: &Vec<i32>) -> Result<()> {
        loss::cross_entropy(self, losses, d_logits, logits, labels)
    }

    fn span_loss(
        &self,
        losses: &mut Tensor,
        d_logits: &mut Tensor,
        logits: &Tensor,
        batch: &DeviceBatch<Vec<i32>>,
        starts: &Vec<i32>,
        ends: &Vec<i32>,
    ) -> Result<()> {
        loss::span(self, losses, d_logits, logits, batch, starts, ends)
    }

    fn sum_of_squares(&self, tensors: &[Tensor]) -> Result<f64> {
        Ok(optimizer::sum_of_squares(self, tensors))
    }

    fn adamw(&self, slots: &mut [AdamWSlot<'_, Tensor>], step: &AdamWStep) -> Result<()> {
        optimizer::adamw(self, slots, step)
    }
}
