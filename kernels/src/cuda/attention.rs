//! `attention`, `attention_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::{DeviceBatch, Dropout};

use super::backend::Cuda;
use super::{Device, Indices, Tensor};

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    _out: &mut Tensor,
    _lse: &mut Tensor,
    _qkv: &Tensor,
    _batch: &DeviceBatch<Indices>,
    _heads: usize,
    _dropout: Option<&Dropout>,
) -> Result<()> {
    Err(cuda.not_there("attention"))
}

#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    _d_qkv: &mut Tensor,
    _d_out: &Tensor,
    _out: &Tensor,
    _lse: &Tensor,
    _qkv: &Tensor,
    _batch: &DeviceBatch<Indices>,
    _heads: usize,
    _dropout: Option<&Dropout>,
) -> Result<()> {
    Err(cuda.not_there("attention_backward"))
}
