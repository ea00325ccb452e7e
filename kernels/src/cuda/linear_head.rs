//! Linear layers with few outputs.

use stepsynth_core::Result;

use super::backend::Cuda;
use super::launch::Call;
use super::linear::{Then, activation_number, add_parts};
use super::{Device, Format, Tensor};

const SOURCE: &str = "gemm_head";

/// Most outputs of a head. Its logits and their gradients are in f32 in every precision.
pub(super) const OUTPUTS: usize = 16;
/// Rows that a block has under way.
const ROWS: usize = 8;
/// Outputs that share one pass over `x`.
const PASS: usize = 4;

fn kernel(format: Option<Format>, f32: &'static str, bf16: &'static str) -> &'static str {
    match format {
        Some(Format::Bf16) => bf16,
        _ => f32,
    }
}

/// `y = x w^T + b`, in f32.
pub(super) fn forward<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    y: &mut Tensor,
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    let most = 8 * cuda.device().properties().multiprocessors as usize;
    Call::new(cuda, op, SOURCE, kernel(x.format(), "head_f32", "head_bf16"))
        .grid(x.rows.div_ceil(ROWS).min(most), 1, 1)
        .output(y, Format::F32)
        .input(x)
        .input(w)
        .input(b)
        .int(x.rows)
        .int(outputs)
        .int(inputs)
        .run()
}

/// `d_x = d_y w` and what `then` makes of it; `d_y` is in f32.
pub(super) fn input_gradient<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    d_x: &mut Tensor,
    then: &Then<'_>,
    d_y: &Tensor,
    w: &Tensor,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    let format = cuda.activations();
    Call::new(cuda, op, SOURCE, kernel(Some(format), "head_input_f32", "head_input_bf16"))
        .grid(cuda.blocks(d_y.rows * inputs.div_ceil(8), 256), 1, 1)
        .output(d_x, format)
        .input(d_y)
        .input(w)
        .maybe_input(then.other)
        .int(d_y.rows)
        .int(outputs)
        .int(inputs)
        .int(activation_number(then.kind))
        .run()
}

/// `d_w += d_y^T x`; `d_y` is in f32.
pub(super) fn weight_gradient<D: Device>(
    cuda: &Cuda<D>,
    op: &'static str,
    d_w: &mut Tensor,
    d_y: &Tensor,
    x: &Tensor,
) -> Result<()> {
    let (rows, outputs, inputs) = (x.rows, d_y.columns, x.columns);
    let (groups, passes) = (inputs.div_ceil(256), outputs.div_ceil(PASS));
    let (chunks, length) = cuda.chunks(rows, groups * passes);
    let mut parts = Tensor::unwritten(chunks, outputs * inputs);
    Call::new(cuda, op, SOURCE, kernel(x.format(), "head_weights_f32", "head_weights_bf16"))
        .grid(groups, chunks, passes)
        .output(&mut parts, Format::F32)
        .input(d_y)
        .input(x)
        .int(rows)
        .int(outputs)
        .int(inputs)
        .int(length)
        .run()?;
    add_parts(cuda, op, d_w, &parts)
}
