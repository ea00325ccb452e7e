//! Where each parameter stands in the layout's order.

use super::Model;
use crate::backend::{Backend, Dropout, InputGradient};
use crate::config::Family;

/// Index of a linear layer's weight; its bias follows.
#[derive(Clone, Copy)]
pub(super) struct Linear(pub usize);

/// Index of a normalisation's gain; its shift follows.
#[derive(Clone, Copy)]
pub(super) struct Norm(pub usize);

/// Indices of one encoder layer's parameters.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    pub qkv: Linear,
    pub attention_out: Linear,
    pub attention_norm: Norm,
    pub ffn_in: Linear,
    pub ffn_out: Linear,
    pub ffn_norm: Norm,
}

/// Parameters of one layer in the layout.
const PER_LAYER: usize = 12;

/// Index of the token table; the position table follows.
pub(super) const WORD: usize = 0;
pub(super) const POSITION: usize = 1;

impl<B: Backend> Model<B> {
    pub(super) fn token_type(&self) -> Option<usize> {
        (self.config.family == Family::Bert).then_some(POSITION + 1)
    }

    pub(super) fn embedding_norm(&self) -> Norm {
        Norm(self.token_type().unwrap_or(POSITION) + 1)
    }

    pub(super) fn layer(&self, layer: usize) -> Layer {
        let base = self.embedding_norm().0 + 2 + PER_LAYER * layer;
        Layer {
            qkv: Linear(base),
            attention_out: Linear(base + 2),
            attention_norm: Norm(base + 4),
            ffn_in: Linear(base + 6),
            ffn_out: Linear(base + 8),
            ffn_norm: Norm(base + 10),
        }
    }

    /// Classification's `head.pre`.
    pub(super) fn head_pre(&self) -> Linear {
        Linear(self.layer(self.config.layers).qkv.0)
    }

    pub(super) fn head_out(&self) -> Linear {
        Linear(self.layout.len() - 2)
    }

    /// `y = x w^T + b` into a new tensor.
    pub(super) fn apply(&self, backend: &B, linear: Linear, x: &B::Tensor) -> crate::Result<B::Tensor> {
        let mut y = backend.empty(backend.shape(x).0, self.layout[linear.0].rows)?;
        backend.linear(&mut y, x, &self.parameters[linear.0], &self.parameters[linear.0 + 1])?;
        Ok(y)
    }

    /// `f(x w^T + b)` into a new tensor; `inner` keeps the argument of `f`.
    pub(super) fn apply_activated(
        &self,
        backend: &B,
        linear: Linear,
        x: &B::Tensor,
        inner: Option<&mut B::Tensor>,
    ) -> crate::Result<B::Tensor> {
        let mut y = backend.empty(backend.shape(x).0, self.layout[linear.0].rows)?;
        let (w, b) = (&self.parameters[linear.0], &self.parameters[linear.0 + 1]);
        backend.linear_activation(&mut y, inner, x, w, b, self.config.activation)?;
        Ok(y)
    }

    /// `drop(x w^T + b) + residual` into a new tensor.
    pub(super) fn apply_residual(
        &self,
        backend: &B,
        linear: Linear,
        x: &B::Tensor,
        dropout: Option<&Dropout>,
        residual: &B::Tensor,
    ) -> crate::Result<B::Tensor> {
        let (rows, columns) = backend.shape(residual);
        let mut y = backend.empty(rows, columns)?;
        let (w, b) = (&self.parameters[linear.0], &self.parameters[linear.0 + 1]);
        backend.linear_residual(&mut y, x, w, b, dropout, residual)?;
        Ok(y)
    }

    /// A copy of `x`.
    pub(super) fn copied(&self, backend: &B, x: &B::Tensor) -> crate::Result<B::Tensor> {
        let (rows, columns) = backend.shape(x);
        let mut copy = backend.empty(rows, columns)?;
        backend.copy(&mut copy, x)?;
        Ok(copy)
    }

    /// Gradients of [`apply`](Self::apply): returns `d_x`, adds to the layer's gradients.
    pub(super) fn apply_backward(
        &self,
        backend: &B,
        linear: Linear,
        d_y: &B::Tensor,
        x: &B::Tensor,
        gradients: &mut [B::Tensor],
    ) -> crate::Result<B::Tensor> {
        let (rows, columns) = backend.shape(x);
        let mut d_x = backend.empty(rows, columns)?;
        let [d_w, d_b] = pair(gradients, linear.0);
        backend.linear_backward(Some(&mut d_x), d_w, d_b, d_y, x, &self.parameters[linear.0])?;
        Ok(d_x)
    }

    /// As [`apply_backward`](Self::apply_backward), with what `then` makes of `d_x`.
    pub(super) fn apply_backward_into(
        &self,
        backend: &B,
        linear: Linear,
        d_y: &B::Tensor,
        x: &B::Tensor,
        then: InputGradient<'_, B::Tensor>,
        gradients: &mut [B::Tensor],
    ) -> crate::Result<B::Tensor> {
        let (rows, columns) = backend.shape(x);
        let mut d_x = backend.empty(rows, columns)?;
        let [d_w, d_b] = pair(gradients, linear.0);
        backend.linear_backward_into(&mut d_x, then, d_w, d_b, d_y, x, &self.parameters[linear.0])?;
        Ok(d_x)
    }
}

/// Two neighbours, both mutable.
pub(super) fn pair<T>(tensors: &mut [T], first: usize) -> [&mut T; 2] {
    let (head, tail) = tensors.split_at_mut(first + 1);
    [&mut head[first], &mut tail[0]]
}
