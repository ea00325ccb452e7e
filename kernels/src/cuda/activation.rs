//! `activation`, `activation_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::Activation;

use super::backend::Cuda;
use super::{Device, Tensor};

pub(super) fn forward<D: Device>(cuda: &Cuda<D>, _y: &mut Tensor, _x: &Tensor, _kind: Activation) -> Result<()> {
    Err(cuda.not_there("activation"))
}

pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    _d_x: &mut Tensor,
    _d_y: &Tensor,
    _x: &Tensor,
    _kind: Activation,
) -> Result<()> {
    Err(cuda.not_there("activation_backward"))
}
