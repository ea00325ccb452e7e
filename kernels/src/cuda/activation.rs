//! `activation`, `activation_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, expect_shape};

use super::backend::Cuda;
use super::elementwise::{blocks, formatted};
use super::launch::Call;
use super::linear::activation_number;
use super::{Device, Format, Tensor};

const SOURCE: &str = "activation";

pub(super) fn forward<D: Device>(cuda: &Cuda<D>, y: &mut Tensor, x: &Tensor, kind: Activation) -> Result<()> {
    const OP: &str = "activation";
    expect_shape(OP, "y", y.shape(), x.shape())?;
    let format = cuda.activations();
    let x = formatted(cuda, OP, x, format)?;
    let kernel = match format {
        Format::F32 => "activation_f32",
        Format::Bf16 => "activation_bf16",
    };
    let count = x.count();
    let call = Call::new(cuda, OP, SOURCE, kernel).grid(blocks(cuda, count, format), 1, 1);
    call.output(y, format).input(&x).long(count).int(activation_number(Some(kind))).run()
}

pub(super) fn backward<D: Device>(cuda: &Cuda<D>, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> Result<()> {
    const OP: &str = "activation_backward";
    expect_shape(OP, "d_x", d_x.shape(), x.shape())?;
    expect_shape(OP, "d_y", d_y.shape(), x.shape())?;
    let format = cuda.activations();
    let (d_y, x) = (formatted(cuda, OP, d_y, format)?, formatted(cuda, OP, x, format)?);
    let kernel = match format {
        Format::F32 => "activation_backward_f32",
        Format::Bf16 => "activation_backward_bf16",
    };
    let count = x.count();
    let call = Call::new(cuda, OP, SOURCE, kernel).grid(blocks(cuda, count, format), 1, 1);
    call.output(d_x, format).input(&d_y).input(&x).long(count).int(activation_number(Some(kind))).run()
}
