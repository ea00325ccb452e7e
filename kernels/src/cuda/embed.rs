//! `embed`, `embed_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::DeviceBatch;

use super::backend::Cuda;
use super::{Device, Indices, Tensor};

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    _out: &mut Tensor,
    _batch: &DeviceBatch<Indices>,
    _word: &Tensor,
    _position: &Tensor,
    _token_type: Option<&Tensor>,
) -> Result<()> {
    Err(cuda.not_there("embed"))
}

pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    _d_word: &mut Tensor,
    _d_position: &mut Tensor,
    _d_token_type: Option<&mut Tensor>,
    _d_out: &Tensor,
    _batch: &DeviceBatch<Indices>,
) -> Result<()> {
    Err(cuda.not_there("embed_backward"))
}
