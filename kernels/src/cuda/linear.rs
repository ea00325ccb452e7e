//! `linear`, `linear_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, Dropout, InputGradient};

use super::backend::Cuda;
use super::{Device, Tensor};

/// What happens to a product before it is stored: `drop(f(x w^T + bias)) + residual`.
pub(super) struct Finish<'a> {
    pub(super) bias: &'a Tensor,
    pub(super) activation: Option<Activation>,
    pub(super) dropout: Option<&'a Dropout>,
    pub(super) residual: Option<&'a Tensor>,
}

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    _op: &'static str,
    _y: &mut Tensor,
    _inner: Option<&mut Tensor>,
    _x: &Tensor,
    _w: &Tensor,
    _finish: &Finish<'_>,
) -> Result<()> {
    Err(cuda.not_there("linear"))
}

#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    _op: &'static str,
    _d_x: Option<&mut Tensor>,
    _then: Option<InputGradient<'_, Tensor>>,
    _d_w: &mut Tensor,
    _d_b: &mut Tensor,
    _d_y: &Tensor,
    _x: &Tensor,
    _w: &Tensor,
) -> Result<()> {
    Err(cuda.not_there("linear_backward"))
}
