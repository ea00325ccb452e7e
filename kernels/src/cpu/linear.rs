//! Linear layers and their gradients, by blocks of rows. What follows a layer elementwise is done while its block of rows is
//! in the cache.

use stepsynth_core::Result;
use stepsynth_core::backend::{Activation, Dropout, InputGradient};

use super::gemm::Panels;
use super::memory::Buffer;
use super::{Cpu, Tensor, activation, dropout};

/// Rows in one block of a product: enough to read the packed operand from the third-level cache at a low rate.
const BLOCK: usize = 64;
/// Columns in one block of a product of few rows.
const COLUMNS: usize = 128;
/// Tokens whose `d_y` is summed before it is added to `d_b`, which keeps rounding errors from growing with the batch.
const BIAS_RUN: usize = 64;

/// What is made of `x w^T`.
pub(super) struct Finish<'a> {
    pub(super) bias: &'a Tensor,
    /// Applied to the sum with the bias.
    pub(super) activation: Option<Activation>,
    /// Applied after that.
    pub(super) dropout: Option<&'a Dropout>,
    /// Added at last.
    pub(super) residual: Option<&'a Tensor>,
}

impl Finish<'_> {
    /// Bias and activation of the sums from `column` on of a row that starts at `start` in `inner`.
    #[inline(always)]
    fn piece(&self, y: &mut [f32], inner: Option<&mut [f32]>, sums: &mut [f32], start: usize, column: usize) {
        let bias = &self.bias.data[column..][..sums.len()];
        match (self.activation, inner) {
            (None, _) => put_sums(y, sums, bias),
            (Some(kind), Some(inner)) => {
                let inner = &mut inner[start + column..][..sums.len()];
                put_sums(inner, sums, bias);
                activation::apply(y, inner, kind);
            }
            (Some(kind), None) => {
                super::rows::add(sums, bias);
                activation::apply(y, sums, kind);
            }
        }
    }
}

/// `y = drop(f(x w^T + b)) + residual`; `inner`, if asked for, is the argument of `f`.
pub(super) fn forward(
    cpu: &Cpu,
    op: &'static str,
    y: &mut Tensor,
    inner: Option<&mut Tensor>,
    x: &Tensor,
    w: &Tensor,
    finish: &Finish<'_>,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    x.expect(op, "x", x.rows, inputs)?;
    finish.bias.expect(op, "b", 1, outputs)?;
    y.expect(op, "y", x.rows, outputs)?;
    if let Some(residual) = finish.residual {
        residual.expect(op, "residual", x.rows, outputs)?;
    }
    if let Some(inner) = &inner {
        inner.expect(op, "inner", x.rows, outputs)?;
    }
    if x.rows == 0 || outputs == 0 {
        return Ok(());
    }
    let panels = cpu.engine.pack_transposed(&cpu.workers, w);
    // A single block of rows would leave all but one thread idle.
    let sums = (x.rows <= BLOCK && cpu.threads() > 1).then(|| by_columns(cpu, x, &panels, outputs));
    let block = block_length(x.rows);
    let mut inner = inner.map(|inner| inner.data.chunks_mut(block * outputs));
    let items = y.data.chunks_mut(block * outputs).enumerate();
    cpu.workers.run(
        items.map(|(index, y)| (index * block, y, inner.as_mut().and_then(Iterator::next))),
        #[inline(always)]
        |(first, y, mut inner)| {
            match &sums {
                None => cpu.engine.rows(
                    y,
                    x.view(),
                    first,
                    &panels,
                    false,
                    #[inline(always)]
                    |row, column, sums, y| finish.piece(y, inner.as_deref_mut(), sums, (row - first) * outputs, column),
                ),
                Some(sums) => finish_columns(
                    y,
                    sums,
                    x.rows,
                    #[inline(always)]
                    |row, column, sums, y| finish.piece(y, inner.as_deref_mut(), sums, row * outputs, column),
                ),
            }
            // Whole rows, still in the second-level cache.
            if let Some(dropout) = finish.dropout {
                dropout::scale(y, first * outputs, dropout);
            }
            if let Some(residual) = finish.residual {
                super::rows::add(y, &residual.data[first * outputs..][..y.len()]);
            }
        },
    );
    Ok(())
}

/// All sums of few rows: blocks of [`COLUMNS`] columns, each a matrix by itself.
fn by_columns(cpu: &Cpu, x: &Tensor, panels: &Panels, outputs: usize) -> Buffer {
    let mut sums = cpu.memory.buffer(x.rows * outputs);
    cpu.workers.run(
        sums.chunks_mut(x.rows * COLUMNS).enumerate(),
        #[inline(always)]
        |(index, sums)| {
            let width = sums.len() / x.rows;
            cpu.engine.columns(sums, x.view(), panels, index * COLUMNS, width);
        },
    );
    sums
}

/// Calls `finish` as a product of rows does, with the sums of [`by_columns`].
#[inline(always)]
fn finish_columns(y: &mut [f32], sums: &[f32], rows: usize, mut finish: impl FnMut(usize, usize, &mut [f32], &mut [f32])) {
    let outputs = y.len() / rows;
    for (index, sums) in sums.chunks(rows * COLUMNS).enumerate() {
        let width = sums.len() / rows;
        for (row, sums) in sums.chunks_exact(width).enumerate() {
            let mut piece = [0.0; COLUMNS];
            let piece = &mut piece[..width];
            piece.copy_from_slice(sums);
            finish(row, index * COLUMNS, piece, &mut y[row * outputs + index * COLUMNS..][..width]);
        }
    }
}

/// One independent piece of the backward pass.
enum Piece<'a> {
    /// Rows of `d_x` from `first` on.
    Input { d_x: &'a mut [f32], first: usize },
    /// Rows of `d_w` from `first` on, and their biases.
    Weights { d_w: &'a mut [f32], d_b: &'a mut [f32], first: usize },
}

/// `d_x = d_y w` with what `then` makes of it, `d_w += d_y^T x`, `d_b += sum_n d_y[n]`.
#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward(
    cpu: &Cpu,
    op: &'static str,
    d_x: Option<&mut Tensor>,
    then: Option<InputGradient<'_, Tensor>>,
    d_w: &mut Tensor,
    d_b: &mut Tensor,
    d_y: &Tensor,
    x: &Tensor,
    w: &Tensor,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    x.expect(op, "x", x.rows, inputs)?;
    d_y.expect(op, "d_y", x.rows, outputs)?;
    d_w.expect(op, "d_w", outputs, inputs)?;
    d_b.expect(op, "d_b", 1, outputs)?;
    if let Some(d_x) = &d_x {
        d_x.expect(op, "d_x", x.rows, inputs)?;
    }
    match then {
        None => {}
        Some(InputGradient::Plus(other)) => other.expect(op, "other", x.rows, inputs)?,
        Some(InputGradient::Through { inner, .. }) => inner.expect(op, "inner", x.rows, inputs)?,
    }
    if x.rows == 0 {
        return Ok(());
    }
    let weights = d_x.is_some().then(|| cpu.engine.pack(&cpu.workers, w.view()));
    let tokens = cpu.engine.pack(&cpu.workers, x.view());
    let block = block_length(x.rows);
    let input_pieces = d_x.into_iter().flat_map(|d_x| d_x.data.chunks_mut((block * inputs).max(1)).enumerate());
    let input_pieces = input_pieces.map(|(index, d_x)| Piece::Input { d_x, first: index * block });
    let block = block_length(outputs).max(1);
    let mut d_w_blocks = d_w.data.chunks_mut((block * inputs).max(1));
    let weight_pieces = d_b.data.chunks_mut(block).enumerate().map(|(index, d_b)| {
        // Without inputs there is no block of weights, but there are biases.
        Piece::Weights { d_w: d_w_blocks.next().unwrap_or_default(), d_b, first: index * block }
    });
    cpu.workers.run(
        input_pieces.chain(weight_pieces),
        #[inline(always)]
        |piece| match (piece, &weights) {
            (Piece::Input { d_x, first }, Some(weights)) => {
                cpu.engine.rows(
                    d_x,
                    d_y.view(),
                    first,
                    weights,
                    false,
                    #[inline(always)]
                    |row, column, sums, d_x| match then {
                        None => d_x.copy_from_slice(sums),
                        Some(InputGradient::Plus(other)) => put_sums(d_x, sums, &other.data[row * inputs + column..]),
                        Some(InputGradient::Through { inner, kind }) => {
                            activation::apply_slope(d_x, sums, &inner.data[row * inputs + column..][..sums.len()], kind);
                        }
                    },
                );
            }
            (Piece::Input { .. }, None) => unreachable!("weights are packed where d_x is asked for"),
            (Piece::Weights { d_w, d_b, first }, _) => {
                add_column_sums(d_b, &d_y.data, outputs, first);
                cpu.engine.rows(
                    d_w,
                    d_y.view().transposed(),
                    first,
                    &tokens,
                    true,
                    #[inline(always)]
                    |_, _, sums, d_w| d_w.copy_from_slice(sums),
                );
            }
        },
    );
    Ok(())
}

/// `y = sums + b`, for as many as `y` has.
#[inline(always)]
fn put_sums(y: &mut [f32], sums: &[f32], b: &[f32]) {
    for ((y, sum), b) in y.iter_mut().zip(sums).zip(b) {
        *y = sum + b;
    }
}

/// Length of the blocks that `length` rows are cut into: at most about [`BLOCK`] rows each, an even number of blocks if several.
fn block_length(length: usize) -> usize {
    let blocks = length.div_ceil(BLOCK);
    let blocks = if blocks > 1 { blocks.next_multiple_of(2) } else { 1 };
    // Rounded up, so that blocks of about 64 rows are two whole ones of the tile unit.
    length.div_ceil(blocks).next_multiple_of(8)
}

/// `sums[j] += sum_n data[n, first + j]` for a row-major matrix of `stride` columns.
#[inline(always)]
fn add_column_sums(sums: &mut [f32], data: &[f32], stride: usize, first: usize) {
    const WIDTH: usize = 64;
    for (part, sums) in sums.chunks_mut(WIDTH).enumerate() {
        let from = first + part * WIDTH;
        for run in data.chunks(BIAS_RUN * stride) {
            let mut partial = [0.0; WIDTH];
            let partial = &mut partial[..sums.len()];
            for row in run.chunks_exact(stride) {
                super::rows::add(partial, &row[from..from + partial.len()]);
            }
            super::rows::add(sums, partial);
        }
    }
}

#[cfg(test)]
mod tests;
