//! Layer normalisation.

use stepsynth_core::Result;

use super::parallel::rows_per_chunk;
use super::rows::{add, dot, dot3, squared_deviations, sum};
use super::{Cpu, Tensor};

/// `y = (x - mean) rstd gamma + beta`; `stats` receives `mean, rstd`.
pub(super) fn forward(
    cpu: &Cpu,
    y: &mut Tensor,
    stats: &mut Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
) -> Result<()> {
    let (rows, columns) = x.shape();
    y.expect("layer_norm", "y", rows, columns)?;
    stats.expect("layer_norm", "stats", rows, 2)?;
    gamma.expect("layer_norm", "gamma", 1, columns)?;
    beta.expect("layer_norm", "beta", 1, columns)?;
    let width = columns.max(1);
    let per_chunk = rows_per_chunk(columns);
    let items = y.data.chunks_mut(per_chunk * width).zip(stats.data.chunks_mut(per_chunk * 2));
    cpu.workers.run(
        items.zip(x.data.chunks(per_chunk * width)),
        #[inline(always)]
        |((y, stats), x)| {
            let rows = y.chunks_exact_mut(width).zip(stats.as_chunks_mut::<2>().0).zip(x.chunks_exact(width));
            for ((y, stats), x) in rows {
                let mean = sum(x) / columns as f32;
                let variance = squared_deviations(x, mean) / columns as f32;
                let rstd = 1.0 / (variance + epsilon as f32).sqrt();
                *stats = [mean, rstd];
                for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma.data.iter()).zip(beta.data.iter()) {
                    *y = (x - mean) * rstd * gamma + beta;
                }
            }
        },
    );
    Ok(())
}

/// With `z = (x - mean) rstd` and `g = d_y gamma`: `d_x = rstd (g - mean(g) - z mean(g z))`, `d_gamma += sum_n d_y z`,
/// `d_beta += sum_n d_y`.
#[expect(clippy::too_many_arguments, reason = "the operation has this many tensors")]
pub(super) fn backward(
    cpu: &Cpu,
    d_x: &mut Tensor,
    d_gamma: &mut Tensor,
    d_beta: &mut Tensor,
    d_y: &Tensor,
    x: &Tensor,
    stats: &Tensor,
    gamma: &Tensor,
) -> Result<()> {
    let (rows, columns) = x.shape();
    d_x.expect("layer_norm_backward", "d_x", rows, columns)?;
    d_y.expect("layer_norm_backward", "d_y", rows, columns)?;
    stats.expect("layer_norm_backward", "stats", rows, 2)?;
    gamma.expect("layer_norm_backward", "gamma", 1, columns)?;
    d_gamma.expect("layer_norm_backward", "d_gamma", 1, columns)?;
    d_beta.expect("layer_norm_backward", "d_beta", 1, columns)?;
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let per_chunk = rows_per_chunk(columns);
    // One row of partial sums a chunk, `d_gamma` then `d_beta`, added in the order of the chunks below.
    let mut partials = cpu.memory.zeroed(rows.div_ceil(per_chunk) * 2 * columns);
    let items = d_x.data.chunks_mut(per_chunk * columns).zip(partials.chunks_mut(2 * columns));
    let items = items.zip(d_y.data.chunks(per_chunk * columns)).zip(x.data.chunks(per_chunk * columns));
    cpu.workers.run(
        items.zip(stats.data.chunks(per_chunk * 2)),
        #[inline(always)]
        |((((d_x, partials), d_y), x), stats)| {
            let (d_gamma, d_beta) = partials.split_at_mut(columns);
            let rows = d_x.chunks_exact_mut(columns).zip(d_y.chunks_exact(columns)).zip(x.chunks_exact(columns));
            for (((d_x, d_y), x), &[mean, rstd]) in rows.zip(stats.as_chunks::<2>().0) {
                // `d_x` holds `z` until its last use.
                for (z, &x) in d_x.iter_mut().zip(x) {
                    *z = (x - mean) * rstd;
                }
                let mean = dot(d_y, &gamma.data) / columns as f32;
                let along = dot3(d_y, &gamma.data, d_x) / columns as f32;
                for ((d_gamma, &z), &d_y) in d_gamma.iter_mut().zip(d_x.iter()).zip(d_y) {
                    *d_gamma += d_y * z;
                }
                add(d_beta, d_y);
                for ((d_x, &d_y), &gamma) in d_x.iter_mut().zip(d_y).zip(gamma.data.iter()) {
                    *d_x = rstd * (d_y * gamma - mean - *d_x * along);
                }
            }
        },
    );
    for partial in partials.chunks_exact(2 * columns) {
        add(&mut d_gamma.data, &partial[..columns]);
        add(&mut d_beta.data, &partial[columns..]);
    }
    Ok(())
}
