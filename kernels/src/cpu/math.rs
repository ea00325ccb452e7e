//! Elementary functions made of additions, multiplications, divisions and selections only, so that loops over them
//! vectorise.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// `e^x` to about 2 units in the last place, subnormal results included; exact at the infinities.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; the polynomial in `r` and the split of `ln 2` are those of `expf` in the Cephes
/// library (S. L. Moshier).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // Beyond these bounds the result is infinite or zero anyway. The comparisons are false for NaN, which passes.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let p = horner(r, [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_2e-3, 1.987_569_1e-4]);
    let p = p.mul_add(r * r, r) + 1.0;
    // In two factors, since 2^n alone may leave the range of f32 where the product does not.
    // Wrapping, for a check of overflow would keep loops of builds that have it from vectorising.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `2^n` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `sum_i coefficients[i] x^i`.
#[inline(always)]
fn horner<const LENGTH: usize>(x: f32, coefficients: [f32; LENGTH]) -> f32 {
    let mut sum = coefficients[LENGTH - 1];
    let mut index = LENGTH - 1;
    while index > 0 {
        index -= 1;
        sum = sum.mul_add(x, coefficients[index]);
    }
    sum
}

/// The normal distribution function `Phi(x) = (1 + erf(x / sqrt 2)) / 2` to 1.2e-7, and `exp(-x^2 / 2)`, which is
/// `sqrt(2 pi)` times its derivative. The left tail keeps its relative precision.
///
/// Within `|x| < 1`, `Phi(x) = 1/2 + x P(x^2)`; beyond, `Phi(-|x|) = exp(-x^2 / 2) u Q(u)` with `u = 1 / (1 + 0.2828 |x|)`,
/// the form of Abramowitz and Stegun 7.1.26. Coefficients: weighted least squares towards the least maximal relative error
/// (4e-8 and 1.1e-7), against `erfcx` in double precision.
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    let bell = exp(-0.5 * (x * x));
    let u = 1.0 / (1.0 + 0.4 * FRAC_1_SQRT_2 * x.abs());
    let q = horner(u, [0.112_821_236, 0.113_222_69, 0.100_178_33, 0.103_965_364, 8.627_496e-3, 0.117_746_055, -5.665_667_4e-2]);
    let tail = bell * (u * q);
    let p = horner(x * x, [0.398_942_26, -6.648_958_5e-2, 9.967_197e-3, -1.169_353_7e-3, 9.423_524e-5]);
    let outer = if x < 0.0 { tail } else { 1.0 - tail };
    (if x.abs() < 1.0 { 0.5 + x * p } else { outer }, bell)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh x` to 1.2e-7, and to a few units in the last place near zero (the polynomial of `tanhf` in Cephes).
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let square = x * x;
    let p = horner(square, [-3.333_328e-1, 1.333_144_2e-1, -5.373_971_6e-2, 2.063_908_8e-2, -5.704_988_7e-3]);
    let inner = x + x * (square * p);
    let outer = (1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { inner } else { outer }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 257th float of the line, NaN and infinities apart.
    fn grid() -> impl Iterator<Item = f32> {
        (0..u32::MAX).step_by(257).map(f32::from_bits).filter(|x| x.is_finite())
    }

    #[test]
    fn exp_is_accurate_everywhere() {
        for x in grid() {
            let (got, exact) = (f64::from(exp(x)), f64::from(x).exp());
            if exact > f64::from(f32::MAX) * (1.0 + 1e-7) {
                assert_eq!(got, f64::INFINITY, "exp({x})");
            } else if exact < f64::from(f32::MAX) * (1.0 - 1e-6) {
                // Two units in the last place, or half the least subnormal and a little.
                assert!((got - exact).abs() <= 2.4e-7 * exact + 0.75e-45, "exp({x}) = {got}, not {exact}");
            }
        }
        assert_eq!((exp(f32::NEG_INFINITY), exp(f32::INFINITY), exp(0.0)), (0.0, f32::INFINITY, 1.0));
    }

    #[test]
    fn normal_agrees_with_the_series_of_erf() {
        // Phi(x) - 1/2 = exp(-x^2/2) / sqrt(2 pi) * sum_k x^(2k+1) / (1 3 5 ... (2k+1)): all terms of one sign.
        let exact = |x: f64| {
            let (mut term, mut sum, mut k) = (x, 0.0, 1.0);
            while sum + term != sum {
                sum += term;
                k += 2.0;
                term *= x * x / k;
            }
            0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
        };
        for step in -900_000..=900_000 {
            let x = step as f32 * 1e-5;
            let (cdf, bell) = normal(x);
            let expected = exact(f64::from(x));
            assert!((f64::from(cdf) - expected).abs() < 1.2e-7, "normal({x}) = {cdf}, not {expected}");
            assert!((f64::from(bell) - (-0.5 * f64::from(x).powi(2)).exp()).abs() < 1.2e-7, "bell({x}) = {bell}");
            if (-4.0..0.0).contains(&x) {
                assert!((f64::from(cdf) / expected - 1.0).abs() < 1e-6, "tail({x}) = {cdf}, not {expected}");
            }
        }
        assert_eq!(normal(f32::INFINITY), (1.0, 0.0));
        assert_eq!(normal(f32::NEG_INFINITY), (0.0, 0.0));
    }

    #[test]
    fn tanh_and_sigmoid_are_accurate_everywhere() {
        for x in grid() {
            let exact = f64::from(x).tanh();
            assert!((f64::from(tanh(x)) - exact).abs() <= (4e-7 * exact.abs()).min(1.2e-7), "tanh({x}) = {}", tanh(x));
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            // Subnormal results, below 1.2e-38, may be zero.
            assert!((f64::from(sigmoid(x)) - exact).abs() <= 4e-7 * exact + 3e-39, "sigmoid({x}) = {}", sigmoid(x));
        }
        assert_eq!((tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn nan_stays_nan() {
        for x in [f32::NAN, -f32::NAN] {
            assert!(exp(x).is_nan() && tanh(x).is_nan() && sigmoid(x).is_nan());
            assert!(normal(x).0.is_nan() && normal(x).1.is_nan());
        }
    }
}
