//! Non-linearities and their slopes, in `f64`.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use crate::backend::Activation;

/// `f(x)`.
pub(super) fn value(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::GeluErf => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
        Activation::GeluTanh => 0.5 * x * (1.0 + tanh_argument(x).tanh()),
        // Not `x.max(0.0)`, which would turn NaN into 0.
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Tanh => x.tanh(),
    }
}

/// `f'(x)`.
pub(super) fn slope(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::GeluErf => 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
        Activation::GeluTanh => {
            let tanh = tanh_argument(x).tanh();
            let inner = (2.0 / PI).sqrt() * (1.0 + 3.0 * 0.044_715 * x * x);
            0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
        }
        Activation::Relu => {
            if x.is_nan() {
                x
            } else {
                f64::from(x > 0.0)
            }
        }
        Activation::Tanh => 1.0 - x.tanh().powi(2),
    }
}

fn tanh_argument(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))
}

/// The error function to about 1e-16: its Maclaurin series for small arguments, and beyond the continued fraction of
/// `erfc` (Abramowitz and Stegun 7.1.5 and 7.1.14).
fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let magnitude = x.abs();
    let result = if magnitude < 2.5 {
        // sum (-1)^n z^(2n+1) / (n! (2n+1)), rewritten as e^(-z^2) sum 2^n z^(2n+1) / (1 3 5 ...): no cancellation.
        let (mut term, mut sum, mut n) = (magnitude, magnitude, 0.0);
        while term > 1e-18 * sum {
            n += 1.0;
            term *= 2.0 * magnitude * magnitude / (2.0 * n + 1.0);
            sum += term;
        }
        2.0 / PI.sqrt() * (-magnitude * magnitude).exp() * sum
    } else if magnitude < 6.0 {
        let fraction = (1..=60).rev().fold(0.0, |tail, k| f64::from(k) / 2.0 / (magnitude + tail));
        1.0 - (-magnitude * magnitude).exp() / (PI.sqrt() * (magnitude + fraction))
    } else {
        1.0
    };
    result.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Abramowitz and Stegun, table 7.1, and of any computer algebra system.
    #[test]
    fn erf_matches_published_values() {
        for (x, expected) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (2.5, 0.999_593_047_982_555),
            (3.0, 0.999_977_909_503_001_4),
        ] {
            assert!((erf(x) - expected).abs() < 4e-16, "erf({x}) = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn slopes_are_the_derivatives() {
        for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
            for step in -40..=40 {
                let (x, h) = (f64::from(step) * 0.13 + 0.01, 1e-5);
                let difference = (value(kind, x + h) - value(kind, x - h)) / (2.0 * h);
                assert!((difference - slope(kind, x)).abs() < 1e-9, "{kind:?} at {x}");
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        for kind in [Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
            assert!(value(kind, f64::NAN).is_nan() && slope(kind, f64::NAN).is_nan(), "{kind:?}");
        }
    }
}
