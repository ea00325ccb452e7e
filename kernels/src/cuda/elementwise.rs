//! `copy`, `add`, `dropout` and `clear`.

use stepsynth_core::Result;
use stepsynth_core::backend::{Dropout, expect_shape};

use super::backend::Cuda;
use super::launch::Call;
use super::{Device, Format, Tensor};

const SOURCE: &str = "elementwise";
const THREADS: usize = 256;

pub(super) fn add<D: Device>(cuda: &Cuda<D>, y: &mut Tensor, x: &Tensor) -> Result<()> {
    expect_shape("add", "x", x.shape(), y.shape())?;
    let kernel = match cuda.same_format("add", y, &[x])? {
        Format::F32 => "add_f32",
        Format::Bf16 => "add_bf16",
    };
    let count = y.count();
    Call::new(cuda, "add", SOURCE, kernel).grid(cuda.blocks(count, THREADS), 1, 1).update(y).input(x).long(count).run()
}

pub(super) fn copy<D: Device>(cuda: &Cuda<D>, _y: &mut Tensor, _x: &Tensor) -> Result<()> {
    Err(cuda.not_there("copy"))
}

pub(super) fn dropout<D: Device>(cuda: &Cuda<D>, _y: &mut Tensor, _dropout: &Dropout) -> Result<()> {
    Err(cuda.not_there("dropout"))
}
