//! `layer_norm`, `layer_norm_backward`.

use stepsynth_core::Result;

use super::backend::Cuda;
use super::{Device, Tensor};

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    _y: &mut Tensor,
    _stats: &mut Tensor,
    _x: &Tensor,
    _gamma: &Tensor,
    _beta: &Tensor,
    _epsilon: f64,
) -> Result<()> {
    Err(cuda.not_there("layer_norm"))
}

#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    _d_x: &mut Tensor,
    _d_gamma: &mut Tensor,
    _d_beta: &mut Tensor,
    _d_y: &Tensor,
    _x: &Tensor,
    _stats: &Tensor,
    _gamma: &Tensor,
) -> Result<()> {
    Err(cuda.not_there("layer_norm_backward"))
}
