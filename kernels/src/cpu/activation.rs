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
#[expect(clippy::redundant_closure, reason = "a closure can be marked as always inlined, a function passed by name cannot")]
pub(super) fn forward(cpu: &Cpu, y: &mut Tensor, x: &Tensor, kind: Activation) -> Result<()> {
    y.expect("activation", "y", x.rows, x.columns)?;
    match kind {
        Activation::GeluErf => map(
            cpu,
            y,
            x,
            #[inline(always)]
            |x| x * math::normal(x).0,
        ),
        Activation::GeluTanh => map(
            cpu,
            y,
            x,
            #[inline(always)]
            |x| x * math::sigmoid(gelu_tanh_argument(x)),
        ),
        Activation::Relu => map(
            cpu,
            y,
            x,
            #[inline(always)]
            |x| if x <= 0.0 { 0.0 } else { x },
        ),
        Activation::Tanh => map(
            cpu,
            y,
            x,
            #[inline(always)]
            |x| math::tanh(x),
        ),
    }
    Ok(())
}

/// `d_x = d_y f'(x)`.
pub(super) fn backward(cpu: &Cpu, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, kind: Activation) -> Result<()> {
    d_x.expect("activation_backward", "d_x", x.rows, x.columns)?;
    d_y.expect("activation_backward", "d_y", x.rows, x.columns)?;
    match kind {
        Activation::GeluErf => map_slope(
            cpu,
            d_x,
            d_y,
            x,
            #[inline(always)]
            |x| {
                let (cdf, bell) = math::normal(x);
                cdf + x * (bell * DENSITY)
            },
        ),
        Activation::GeluTanh => map_slope(
            cpu,
            d_x,
            d_y,
            x,
            #[inline(always)]
            |x| {
                let gate = math::sigmoid(gelu_tanh_argument(x));
                let inner = 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * (x * x));
                gate + x * (gate * (1.0 - gate)) * inner
            },
        ),
        Activation::Relu => map_slope(
            cpu,
            d_x,
            d_y,
            x,
            #[inline(always)]
            |x| {
                // NaN is neither, and stays.
                let x = if x <= 0.0 { 0.0 } else { x };
                if x > 0.0 { 1.0 } else { x }
            },
        ),
        Activation::Tanh => map_slope(
            cpu,
            d_x,
            d_y,
            x,
            #[inline(always)]
            |x| {
                let y = math::tanh(x);
                1.0 - y * y
            },
        ),
    }
    Ok(())
}

/// Twice the argument of the tanh: `(1 + tanh u) / 2` is the logistic function of `2 u`.
#[inline(always)]
fn gelu_tanh_argument(x: f32) -> f32 {
    2.0 * SQRT_2_OVER_PI * (x + CUBIC * (x * x * x))
}

#[inline(always)]
fn map(cpu: &Cpu, y: &mut Tensor, x: &Tensor, f: impl Fn(f32) -> f32 + Sync) {
    cpu.workers.run(
        y.data.chunks_mut(CHUNK).zip(x.data.chunks(CHUNK)),
        #[inline(always)]
        |(y, x)| {
            rows::update(
                y,
                x,
                x,
                #[inline(always)]
                |_, x, _| f(x),
            );
        },
    );
}

#[inline(always)]
fn map_slope(cpu: &Cpu, d_x: &mut Tensor, d_y: &Tensor, x: &Tensor, slope: impl Fn(f32) -> f32 + Sync) {
    cpu.workers.run(
        d_x.data.chunks_mut(CHUNK).zip(d_y.data.chunks(CHUNK)).zip(x.data.chunks(CHUNK)),
        #[inline(always)]
        |((d_x, d_y), x)| {
            rows::update(
                d_x,
                d_y,
                x,
                #[inline(always)]
                |_, d_y, x| d_y * slope(x),
            );
        },
    );
}
