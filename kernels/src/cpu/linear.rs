//! Linear layers and their gradients, by blocks of rows.

use stepsynth_core::Result;

use super::{Cpu, Tensor};

/// Rows in one block of a product: enough to read the packed operand from the third-level cache at a low rate.
const BLOCK: usize = 64;
/// Tokens whose `d_y` is summed before it is added to `d_b`, which keeps rounding errors from growing with the batch.
const BIAS_RUN: usize = 64;

/// `y = x w^T + b`.
pub(super) fn forward(cpu: &Cpu, y: &mut Tensor, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<()> {
    let (outputs, inputs) = w.shape();
    x.expect("linear", "x", x.rows, inputs)?;
    b.expect("linear", "b", 1, outputs)?;
    y.expect("linear", "y", x.rows, outputs)?;
    if x.rows == 0 || outputs == 0 {
        return Ok(());
    }
    let panels = cpu.engine.pack(&cpu.workers, w.view().transposed());
    let block = block_length(x.rows);
    cpu.workers.run(
        y.data.chunks_mut(block * outputs).enumerate(),
        #[inline(always)]
        |(index, y)| {
            cpu.engine.rows(
                y,
                x.view(),
                index * block,
                &panels,
                false,
                #[inline(always)]
                |_, column, sums, y| put_sums(y, sums, &b.data[column..]),
            );
        },
    );
    Ok(())
}

/// One independent piece of the backward pass.
enum Piece<'a> {
    /// Rows of `d_x` from `first` on.
    Input { d_x: &'a mut [f32], first: usize },
    /// Rows of `d_w` from `first` on, and their biases.
    Weights { d_w: &'a mut [f32], d_b: &'a mut [f32], first: usize },
}

/// `d_x = d_y w`, `d_w += d_y^T x`, `d_b += sum_n d_y[n]`.
pub(super) fn backward(
    cpu: &Cpu,
    d_x: Option<&mut Tensor>,
    d_w: &mut Tensor,
    d_b: &mut Tensor,
    d_y: &Tensor,
    x: &Tensor,
    w: &Tensor,
) -> Result<()> {
    let (outputs, inputs) = w.shape();
    x.expect("linear_backward", "x", x.rows, inputs)?;
    d_y.expect("linear_backward", "d_y", x.rows, outputs)?;
    d_w.expect("linear_backward", "d_w", outputs, inputs)?;
    d_b.expect("linear_backward", "d_b", 1, outputs)?;
    if let Some(d_x) = &d_x {
        d_x.expect("linear_backward", "d_x", x.rows, inputs)?;
    }
    if outputs == 0 || inputs == 0 || x.rows == 0 {
        if let Some(d_x) = d_x {
            d_x.data.fill(0.0);
        }
        add_column_sums(&mut d_b.data, &d_y.data, outputs, 0);
        return Ok(());
    }
    let weights = d_x.is_some().then(|| cpu.engine.pack(&cpu.workers, w.view()));
    let tokens = cpu.engine.pack(&cpu.workers, x.view());
    let block = block_length(x.rows);
    let input_pieces = d_x.into_iter().flat_map(|d_x| d_x.data.chunks_mut(block * inputs).enumerate());
    let input_pieces = input_pieces.map(|(index, d_x)| Piece::Input { d_x, first: index * block });
    let block = block_length(outputs);
    let weight_pieces = d_w.data.chunks_mut(block * inputs).zip(d_b.data.chunks_mut(block)).enumerate();
    let weight_pieces = weight_pieces.map(|(index, (d_w, d_b))| Piece::Weights { d_w, d_b, first: index * block });
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
                    |_, _, sums, d_x| d_x.copy_from_slice(sums),
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
    length.div_ceil(blocks)
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
