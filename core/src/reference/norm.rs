//! Layer normalisation.

use ndarray::{Array2, Axis};

use super::ReferenceReal;
use crate::Result;
use crate::backend::expect_shape;

pub(super) fn forward<T: ReferenceReal>(
    y: &mut Array2<T>,
    stats: &mut Array2<T>,
    x: &Array2<T>,
    gamma: &Array2<T>,
    beta: &Array2<T>,
    epsilon: f64,
) -> Result<()> {
    let (rows, columns) = x.dim();
    expect_shape("layer_norm", "y", y.dim(), (rows, columns))?;
    expect_shape("layer_norm", "stats", stats.dim(), (rows, 2))?;
    expect_shape("layer_norm", "gamma", gamma.dim(), (1, columns))?;
    expect_shape("layer_norm", "beta", beta.dim(), (1, columns))?;
    let count = T::of(columns as f64);
    for row in 0..rows {
        let mean = x.row(row).sum() / count;
        let variance = x.row(row).iter().map(|&value| (value - mean) * (value - mean)).sum::<T>() / count;
        let rstd = (variance + T::of(epsilon)).sqrt().recip();
        stats[[row, 0]] = mean;
        stats[[row, 1]] = rstd;
        for column in 0..columns {
            y[[row, column]] = (x[[row, column]] - mean) * rstd * gamma[[0, column]] + beta[[0, column]];
        }
    }
    Ok(())
}

/// With `z = (x - mean) rstd` and `g = d_y gamma`: `d_x = rstd (g - mean(g) - z mean(g z))`.
pub(super) fn backward<T: ReferenceReal>(
    d_x: &mut Array2<T>,
    d_gamma: &mut Array2<T>,
    d_beta: &mut Array2<T>,
    d_y: &Array2<T>,
    x: &Array2<T>,
    stats: &Array2<T>,
    gamma: &Array2<T>,
) -> Result<()> {
    let (rows, columns) = x.dim();
    expect_shape("layer_norm_backward", "d_x", d_x.dim(), (rows, columns))?;
    expect_shape("layer_norm_backward", "d_y", d_y.dim(), (rows, columns))?;
    expect_shape("layer_norm_backward", "stats", stats.dim(), (rows, 2))?;
    expect_shape("layer_norm_backward", "gamma", gamma.dim(), (1, columns))?;
    expect_shape("layer_norm_backward", "d_gamma", d_gamma.dim(), (1, columns))?;
    expect_shape("layer_norm_backward", "d_beta", d_beta.dim(), (1, columns))?;
    let normalised =
        Array2::from_shape_fn((rows, columns), |(row, column)| (x[[row, column]] - stats[[row, 0]]) * stats[[row, 1]]);
    *d_gamma += &(d_y * &normalised).sum_axis(Axis(0)).insert_axis(Axis(0));
    *d_beta += &d_y.sum_axis(Axis(0)).insert_axis(Axis(0));
    let scaled = d_y * gamma;
    let count = T::of(columns as f64);
    for row in 0..rows {
        let mean = scaled.row(row).sum() / count;
        let along = scaled.row(row).dot(&normalised.row(row)) / count;
        for column in 0..columns {
            d_x[[row, column]] = stats[[row, 1]] * (scaled[[row, column]] - mean - normalised[[row, column]] * along);
        }
    }
    Ok(())
}
