//! `sum_of_squares`, `adamw`.

use stepsynth_core::Result;
use stepsynth_core::backend::{AdamWSlot, AdamWStep};

use super::backend::Cuda;
use super::{Device, Tensor};

pub(super) fn sum_of_squares<D: Device>(cuda: &Cuda<D>, _tensors: &[Tensor]) -> Result<f64> {
    Err(cuda.not_there("sum_of_squares"))
}

pub(super) fn adamw<D: Device>(cuda: &Cuda<D>, _slots: &mut [AdamWSlot<'_, Tensor>], _step: &AdamWStep) -> Result<()> {
    Err(cuda.not_there("adamw"))
}
