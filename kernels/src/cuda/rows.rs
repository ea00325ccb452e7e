//! `gather_rows`, `scatter_rows`.

use stepsynth_core::Result;

use super::backend::Cuda;
use super::{Device, Indices, Tensor};

pub(super) fn gather<D: Device>(cuda: &Cuda<D>, _out: &mut Tensor, _x: &Tensor, _rows: &Indices) -> Result<()> {
    Err(cuda.not_there("gather_rows"))
}

pub(super) fn scatter<D: Device>(cuda: &Cuda<D>, _d_x: &mut Tensor, _d_out: &Tensor, _rows: &Indices) -> Result<()> {
    Err(cuda.not_there("scatter_rows"))
}
