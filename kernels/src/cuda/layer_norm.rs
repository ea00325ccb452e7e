//! `layer_norm`, `layer_norm_backward`.

use stepsynth_core::Result;
use stepsynth_core::backend::expect_shape;

use super::backend::Cuda;
use super::elementwise::{THREADS, formatted};
use super::launch::Call;
use super::{Device, Format, Tensor};

const SOURCE: &str = "layer_norm";

/// Which kernel takes rows of a length.
#[derive(Clone, Copy)]
enum Width {
    /// A warp keeps a row of at most so many columns in registers.
    UpTo512,
    UpTo768,
    UpTo1024,
    /// A block goes over the row again and again.
    Any,
}

impl Width {
    fn of(columns: usize, format: Format) -> Self {
        match columns {
            _ if !(columns * format.bytes()).is_multiple_of(16) => Self::Any,
            0..=512 => Self::UpTo512,
            513..=768 => Self::UpTo768,
            769..=1024 => Self::UpTo1024,
            _ => Self::Any,
        }
    }

    fn forward(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::UpTo512, Format::F32) => "layer_norm_512_f32",
            (Self::UpTo768, Format::F32) => "layer_norm_768_f32",
            (Self::UpTo1024, Format::F32) => "layer_norm_1024_f32",
            (Self::Any, Format::F32) => "layer_norm_wide_f32",
            (Self::UpTo512, Format::Bf16) => "layer_norm_512_bf16",
            (Self::UpTo768, Format::Bf16) => "layer_norm_768_bf16",
            (Self::UpTo1024, Format::Bf16) => "layer_norm_1024_bf16",
            (Self::Any, Format::Bf16) => "layer_norm_wide_bf16",
        }
    }

    fn backward(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::UpTo512, Format::F32) => "layer_norm_backward_512_f32",
            (Self::UpTo768, Format::F32) => "layer_norm_backward_768_f32",
            (Self::UpTo1024, Format::F32) => "layer_norm_backward_1024_f32",
            (Self::Any, Format::F32) => "layer_norm_backward_wide_f32",
            (Self::UpTo512, Format::Bf16) => "layer_norm_backward_512_bf16",
            (Self::UpTo768, Format::Bf16) => "layer_norm_backward_768_bf16",
            (Self::UpTo1024, Format::Bf16) => "layer_norm_backward_1024_bf16",
            (Self::Any, Format::Bf16) => "layer_norm_backward_wide_bf16",
        }
    }

    /// Threads of a block of the backward kernel, and blocks that a multiprocessor has room for: `BACKWARD` in layer_norm.cu.
    fn backward_block(self) -> (usize, usize) {
        match self {
            Self::UpTo512 => (128, 4),
            Self::UpTo768 => (128, 3),
            Self::UpTo1024 => (128, 2),
            Self::Any => (256, 4),
        }
    }
}

pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    y: &mut Tensor,
    stats: &mut Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
) -> Result<()> {
    const OP: &str = "layer_norm";
    let (rows, columns) = x.shape();
    expect_shape(OP, "y", y.shape(), (rows, columns))?;
    expect_shape(OP, "stats", stats.shape(), (rows, 2))?;
    expect_shape(OP, "gamma", gamma.shape(), (1, columns))?;
    expect_shape(OP, "beta", beta.shape(), (1, columns))?;
    cuda.expect_f32(OP, &[gamma, beta])?;
    let format = cuda.activations();
    let x = formatted(cuda, OP, x, format)?;
    let width = Width::of(columns, format);
    let threads_a_row = if matches!(width, Width::Any) { THREADS } else { 32 };
    let call = Call::new(cuda, OP, SOURCE, width.forward(format)).grid(cuda.blocks(rows * threads_a_row, THREADS), 1, 1);
    let call = call.output(y, format).output(stats, Format::F32).input(&x).input(gamma).input(beta);
    call.int(rows).int(columns).float(epsilon).run()
}

#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward<D: Device>(
    cuda: &Cuda<D>,
    d_x: &mut Tensor,
    d_gamma: &mut Tensor,
    d_beta: &mut Tensor,
    d_y: &Tensor,
    x: &Tensor,
    stats: &Tensor,
    gamma: &Tensor,
) -> Result<()> {
    const OP: &str = "layer_norm_backward";
    let (rows, columns) = x.shape();
    expect_shape(OP, "d_x", d_x.shape(), (rows, columns))?;
    expect_shape(OP, "d_y", d_y.shape(), (rows, columns))?;
    expect_shape(OP, "stats", stats.shape(), (rows, 2))?;
    expect_shape(OP, "gamma", gamma.shape(), (1, columns))?;
    expect_shape(OP, "d_gamma", d_gamma.shape(), (1, columns))?;
    expect_shape(OP, "d_beta", d_beta.shape(), (1, columns))?;
    cuda.expect_f32(OP, &[stats, gamma, d_gamma, d_beta])?;
    let format = cuda.activations();
    let (d_y, x) = (formatted(cuda, OP, d_y, format)?, formatted(cuda, OP, x, format)?);
    let width = Width::of(columns, format);
    let (threads, fitting) = width.backward_block();
    // Four rows for a warp at the least, so that the partial sums are few beside the rows.
    let at_a_time = if matches!(width, Width::Any) { 1 } else { threads / 32 };
    let full = fitting * cuda.device().properties().multiprocessors as usize;
    let blocks = rows.div_ceil(4 * at_a_time).clamp(1, full);
    let partials = cuda.memory(blocks * 2 * columns * size_of::<f32>())?;
    let call = Call::new(cuda, OP, SOURCE, width.backward(format)).grid(blocks, 1, 1).block(threads as u32);
    let call = call.output(d_x, format).write_scratch(&partials).input(&d_y).input(&x).input(stats).input(gamma);
    call.int(rows).int(columns).run()?;
    let call =
        Call::new(cuda, OP, SOURCE, "layer_norm_backward_finish").grid((2 * columns).div_ceil(32).max(1), 1, 1).block(1024);
    call.update(d_gamma).update(d_beta).read_scratch(&partials).int(blocks).int(columns).run()
}
