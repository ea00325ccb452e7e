//! `add`, `copy`, `dropout`, and the conversion of a tensor to another format.

use stepsynth_core::Result;
use stepsynth_core::backend::{Backend, Dropout, expect_shape};

use super::backend::Cuda;
use super::launch::Call;
use super::tensor::Formatted;
use super::{Device, Format, Tensor};

const SOURCE: &str = "elementwise";
pub(super) const THREADS: usize = 256;
/// Elements that a thread of `cast.cu` moves at a time.
const CAST_GROUP: usize = 8;

/// Blocks of [`THREADS`] threads, each of which moves 16 bytes of every tensor at a time.
pub(super) fn blocks<D: Device>(cuda: &Cuda<D>, count: usize, format: Format) -> usize {
    cuda.blocks(count.div_ceil(16 / format.bytes()), THREADS)
}

pub(super) fn add<D: Device>(cuda: &Cuda<D>, y: &mut Tensor, x: &Tensor) -> Result<()> {
    const OP: &str = "add";
    expect_shape(OP, "x", x.shape(), y.shape())?;
    let format = cuda.format_of(OP, y)?;
    let x = formatted(cuda, OP, x, format)?;
    let kernel = match format {
        Format::F32 => "add_f32",
        Format::Bf16 => "add_bf16",
    };
    let count = y.count();
    Call::new(cuda, OP, SOURCE, kernel).grid(blocks(cuda, count, format), 1, 1).update(y).input(&x).long(count).run()
}

/// A tensor without memory becomes an activation; one that has some keeps its format.
pub(super) fn copy<D: Device>(cuda: &Cuda<D>, y: &mut Tensor, x: &Tensor) -> Result<()> {
    expect_shape("copy", "x", x.shape(), y.shape())?;
    let format = y.format().unwrap_or(cuda.activations());
    convert(cuda, "copy", y, format, x)
}

pub(super) fn dropout<D: Device>(cuda: &Cuda<D>, y: &mut Tensor, dropout: &Dropout) -> Result<()> {
    const OP: &str = "dropout";
    let format = cuda.format_of(OP, y)?;
    let kernel = match format {
        Format::F32 => "dropout_f32",
        Format::Bf16 => "dropout_bf16",
    };
    let count = y.count();
    let call = Call::new(cuda, OP, SOURCE, kernel).grid(blocks(cuda, count, format), 1, 1);
    call.update(y).dropout(Some(dropout)).long(count).run()
}

/// `tensor` in `format`. A model's tensors have the format that an operation wants but for those of heads, and those of models
/// so narrow that their layers look like heads.
pub(super) fn formatted<'a, D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    tensor: &'a Tensor,
    format: Format,
) -> Result<Formatted<'a>> {
    if cuda.format_of(op, tensor)? == format {
        return Ok(Formatted::Itself(tensor));
    }
    let mut copy = cuda.empty(tensor.rows, tensor.columns)?;
    convert(cuda, op, &mut copy, format, tensor)?;
    Ok(Formatted::Copy(copy))
}

/// `y = x` in the format `to`.
pub(super) fn convert<D: Device>(cuda: &Cuda<D>, op: &'static str, y: &mut Tensor, to: Format, x: &Tensor) -> Result<()> {
    let kernel = match (cuda.format_of(op, x)?, to) {
        (Format::F32, Format::F32) => "cast_f32_to_f32",
        (Format::F32, Format::Bf16) => "cast_f32_to_bf16",
        (Format::Bf16, Format::F32) => "cast_bf16_to_f32",
        (Format::Bf16, Format::Bf16) => "cast_bf16_to_bf16",
    };
    let count = x.count();
    let call = Call::new(cuda, op, "cast", kernel).grid(cuda.blocks(count.div_ceil(CAST_GROUP), THREADS), 1, 1);
    call.output(y, to).input(x).long(count).run()
}
