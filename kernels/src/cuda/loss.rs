//! `cross_entropy`, `span_loss`.

use stepsynth_core::Result;
use stepsynth_core::backend::DeviceBatch;

use super::backend::Cuda;
use super::{Device, Indices, Tensor};

pub(super) fn cross_entropy<D: Device>(
    cuda: &Cuda<D>,
    _losses: &mut Tensor,
    _d_logits: &mut Tensor,
    _logits: &Tensor,
    _labels: &Indices,
) -> Result<()> {
    Err(cuda.not_there("cross_entropy"))
}

pub(super) fn span<D: Device>(
    cuda: &Cuda<D>,
    _losses: &mut Tensor,
    _d_logits: &mut Tensor,
    _logits: &Tensor,
    _batch: &DeviceBatch<Indices>,
    _starts: &Indices,
    _ends: &Indices,
) -> Result<()> {
    Err(cuda.not_there("span_loss"))
}
