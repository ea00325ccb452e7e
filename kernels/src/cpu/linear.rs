//! Linear layers and their gradients, by blocks of rows.

use stepsynth_core::Result;

use super::gemm::{View, gemm};
use super::{Cpu, Tensor};

/// Token rows in one block of the forward product or of `d_x`: enough to pay for packing the weights anew.
const TOKEN_BLOCK: usize = 256;
/// Rows of `d_w` in one block.
const WEIGHT_BLOCK: usize = 32;
/// Most blocks a product is cut into.
const MOST_BLOCKS: usize = 32;
/// Tokens whose `d_y` is summed before it is added to `d_b`, which keeps rounding errors from growing with the batch.
const BIAS_RUN: usize = 64;

/// `y = x w^T + b`.
pub(super) fn forward(cpu: &Cpu, y: &mut Tensor, x: &Tensor, w: &Tensor, b: &Tensor) -> Result<()> {
    let (outputs, inputs) = w.shape();
    x.expect("linear", "x", x.rows, inputs)?;
    b.expect("linear", "b", 1, outputs)?;
    y.expect("linear", "y", x.rows, outputs)?;
    if x.rows == 0 || inputs == 0 || outputs == 0 {
        y.data.chunks_exact_mut(outputs.max(1)).for_each(|y| y.copy_from_slice(&b.data));
        return Ok(());
    }
    let block = block_length(x.rows, TOKEN_BLOCK);
    let items = y.data.chunks_mut(block * outputs).zip(x.data.chunks(block * inputs));
    cpu.workers.run(
        items,
        #[inline(always)]
        |(y, x)| {
            y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(&b.data));
            gemm(y, View::new(x, inputs), View::new(&w.data, inputs).transposed(), true);
        },
    );
    Ok(())
}

/// One independent piece of the backward pass.
enum Piece<'a> {
    /// Some rows of `d_x`, and those rows of `d_y`.
    Input { d_x: &'a mut [f32], d_y: &'a [f32] },
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
    if inputs == 0 || outputs == 0 || x.rows == 0 {
        if let Some(d_x) = d_x {
            d_x.data.fill(0.0);
        }
        if outputs > 0 {
            add_column_sums(&mut d_b.data, &d_y.data, outputs, 0);
        }
        return Ok(());
    }
    let tokens = block_length(x.rows, TOKEN_BLOCK);
    let inputs_pieces = d_x.into_iter().flat_map(|d_x| {
        let blocks = d_x.data.chunks_mut(tokens * inputs).zip(d_y.data.chunks(tokens * outputs));
        blocks.map(|(d_x, d_y)| Piece::Input { d_x, d_y })
    });
    let block = block_length(outputs, WEIGHT_BLOCK);
    let weight_pieces = d_w.data.chunks_mut(block * inputs).zip(d_b.data.chunks_mut(block)).enumerate();
    let weight_pieces = weight_pieces.map(|(index, (d_w, d_b))| Piece::Weights { d_w, d_b, first: index * block });
    cpu.workers.run(
        inputs_pieces.chain(weight_pieces),
        #[inline(always)]
        |piece| match piece {
            Piece::Input { d_x, d_y } => gemm(d_x, View::new(d_y, outputs), View::new(&w.data, inputs), false),
            Piece::Weights { d_w, d_b, first } => {
                let d_y_columns = View::columns(&d_y.data, outputs, first, d_b.len());
                gemm(d_w, d_y_columns.transposed(), View::new(&x.data, inputs), true);
                add_column_sums(d_b, &d_y.data, outputs, first);
            }
        },
    );
    Ok(())
}

/// Length of the blocks that `length` rows are cut into: about `target` rows each, an even number of blocks if several.
fn block_length(length: usize, target: usize) -> usize {
    let blocks = (length / target).min(MOST_BLOCKS);
    let blocks = if blocks > 1 { blocks.next_multiple_of(2) } else { 1 };
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
