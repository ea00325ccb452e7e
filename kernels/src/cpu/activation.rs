//! Elementwise non-linearities.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use stepsynth_core::Result;
use stepsynth_core::backend::Activation;

use super::parallel::CHUNK;
use super::{Cpu, Tensor, math, rows};

/// `sqrt(2 / pi)`.
const SQRT_2_OVER_PI: f32 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// `1 / sqrt(2 pi)`.
const DENSITY: f32 = 0.5 * SQRT_2_OVER_PI;
/// The cubic coefficient of the tanh form of GELU.
const CUBIC: f32 = 0.044_715;

/// `y = f(x)`.
pub(super) fn forward(cpu: &Cpu, y: &mut Tensor, x: &Tensor, kind: Activation) -> Result<()> {
    y.expect("activation", "y", x.rows, x.columns)?;
    cpu.workers.run(
        y.data.chunks_mut(CHUNK).zip(x.data.chunks(CHUNK)),
        #[inline(always)]
        |(y, x)| apply(y, x, kind),
    );
    Ok(())
}

/// `d_x = d_y f'(x)`.
pub(super) fn backward(cpu: &Cpu, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> Result<()> {
    d_x.expect("activation_backward", "d_x", x.rows, x.columns)?;
    d_y.expect("activation_backward", "d_y", x.rows, x.columns)?;
    cpu.workers.run(
        d_x.data.chunks_mut(CHUNK).zip(d_y.data.chunks(CHUNK)).zip(x.data.chunks(CHUNK)),
        #[inline(always)]
        |((d_x, d_y), x)| apply_slope(d_x, d_y, x, kind),
    );
    Ok(())
}

/// `y = f(x)` for slices of equal length.
#[inline(always)]
pub(super) fn apply(y: &mut [f32], x: &[f32], kind: Activation) {
    match kind {
        Activation::GeluErf => rows::update(
            y,
            x,
            x,
            #[inline(always)]
            |_, x, _| x * math::normal(x).0,
        ),
        Activation::GeluTanh => rows::update(
            y,
            x,
            x,
            #[inline(always)]
            |_, x, _| x * math::sigmoid(gelu_tanh_argument(x)),
        ),
        Activation::Relu => rows::update(
            y,
            x,
            x,
            #[inline(always)]
            |_, x, _| if x <= 0.0 { 0.0 } else { x },
        ),
        Activation::Tanh => rows::update(
            y,
            x,
            x,
            #[inline(always)]
            |_, x, _| math::tanh(x),
        ),
    }
}

/// `d_x = d_y f'(x)` for slices of equal length.
#[inline(always)]
pub(super) fn apply_slope(d_x: &mut [f32], d_y: &[f32], x: &[f32], kind: Activation) {
    match kind {
        Activation::GeluErf => rows::update(
            d_x,
            d_y,
            x,
            #[inline(always)]
            |_, d_y, x| {
                let (cdf, bell) = math::normal(x);
                d_y * (cdf + x * (bell * DENSITY))
            },
        ),
        Activation::GeluTanh => rows::update(
            d_x,
            d_y,
            x,
            #[inline(always)]
            |_, d_y, x| {
                let gate = math::sigmoid(gelu_tanh_argument(x));
                let inner = 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * (x * x));
                d_y * (gate + x * (gate * (1.0 - gate)) * inner)
            },
        ),
        Activation::Relu => rows::update(
            d_x,
            d_y,
            x,
            #[inline(always)]
            |_, d_y, x| {
                // NaN is neither, and stays.
                let x = if x <= 0.0 { 0.0 } else { x };
                d_y * if x > 0.0 { 1.0 } else { x }
            },
        ),
        Activation::Tanh => rows::update(
            d_x,
            d_y,
            x,
            #[inline(always)]
            |_, d_y, x| {
                let y = math::tanh(x);
                d_y * (1.0 - y * y)
            },
        ),
    }
}

/// Twice the argument of the tanh: `(1 + tanh u) / 2` is the logistic function of `2 u`.
#[inline(always)]
fn gelu_tanh_argument(x: f32) -> f32 {
    2.0 * SQRT_2_OVER_PI * (x + CUBIC * (x * x * x))
}
