//! `gather_rows`, `scatter_rows`.

use stepsynth_core::Result;
use stepsynth_core::backend::expect_shape;

use super::backend::Cuda;
use super::elementwise::{THREADS, formatted};
use super::launch::Call;
use super::{Device, Format, Indices, Tensor};

const SOURCE: &str = "rows";
/// Rows of `d_x` that a block of the scattering kernel writes: `OWNED` in rows.cu.
const OWNED: usize = 64;

pub(super) fn gather<D: Device>(cuda: &Cuda<D>, out: &mut Tensor, x: &Tensor, rows: &Indices) -> Result<()> {
    const OP: &str = "gather_rows";
    let (count, columns) = (rows.length(), x.columns);
    expect_shape(OP, "out", out.shape(), (count, columns))?;
    rows.expect_below(OP, "row", x.rows)?;
    let format = cuda.activations();
    let x = formatted(cuda, OP, x, format)?;
    let kernel = match format {
        Format::F32 => "gather_rows_f32",
        Format::Bf16 => "gather_rows_bf16",
    };
    let call = Call::new(cuda, OP, SOURCE, kernel).grid(cuda.blocks(count * 32, THREADS), 1, 1);
    call.output(out, format).input(&x).indices(rows).int(count).int(columns).run()
}

pub(super) fn scatter<D: Device>(cuda: &Cuda<D>, d_x: &mut Tensor, d_out: &Tensor, rows: &Indices) -> Result<()> {
    const OP: &str = "scatter_rows";
    let (tokens, columns) = d_x.shape();
    expect_shape(OP, "d_out", d_out.shape(), (rows.length(), columns))?;
    rows.expect_below(OP, "row", tokens)?;
    let format = cuda.activations();
    let d_out = formatted(cuda, OP, d_out, format)?;
    let kernel = match format {
        Format::F32 => "scatter_rows_f32",
        Format::Bf16 => "scatter_rows_bf16",
    };
    let call = Call::new(cuda, OP, SOURCE, kernel).grid(tokens.div_ceil(OWNED).max(1), 1, 1);
    call.output(d_x, format).input(&d_out).indices(rows).int(rows.length()).int(tokens).int(columns).run()
}
