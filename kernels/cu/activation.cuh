// The elementwise non-linearities and their slopes, in f32.
//
// GELU in either form costs one exponential and one approximate reciprocal, for it runs inside the epilogue of a product,
// where a multiprocessor has about one f32 instruction for four products' additions.
#pragma once
#include "common.cuh"

/// What `kind` is in the calls below; the host passes the number.
enum ActivationKind {
    ACTIVATION_NONE = 0,
    ACTIVATION_GELU_ERF = 1,
    ACTIVATION_GELU_TANH = 2,
    ACTIVATION_RELU = 3,
    ACTIVATION_TANH = 4,
};

#ifdef STEPSYNTH_EMULATOR
DEVICE float exponential(float x) { return expf(x); }
DEVICE float reciprocal(float x) { return 1.0f / x; }
#else
/// e^x, from the hardware's 2^x: two units in the last place, more for large |x|; infinite beyond 88, zero below -87.
DEVICE float exponential(float x) { return __expf(x); }
/// 1 / x to one unit in the last place; zero from 2^126 on.
DEVICE float reciprocal(float x) { return __fdividef(1.0f, x); }
#endif

/// The normal distribution function Phi(x) = (1 + erf(x / sqrt 2)) / 2, and exp(-x^2 / 2).
struct Normal {
    float cdf, bell;
};

/// Phi(-|x|) = exp(-x^2 / 2) u Q(u) with u = 1 / (1 + 0.34 |x|), the form of Abramowitz and Stegun 7.1.26. Coefficients:
/// weighted least squares towards the least maximal relative error on 0 .. 4 (1.2e-7), against erfcx in double precision.
DEVICE Normal normal(float x) {
    float bell = exponential(-0.5f * (x * x));
    float u = reciprocal(1.0f + 0.34f * fabsf(x));
    float q = 4.627970e-2f;
    q = q * u - 2.0678159e-1f;
    q = q * u + 2.7504945e-1f;
    q = q * u - 4.0738713e-2f;
    q = q * u + 1.6157477e-1f;
    q = q * u + 1.2846036e-1f;
    q = q * u + 1.3615599e-1f;
    float tail = bell * (u * q);
    return Normal{x < 0.0f ? tail : 1.0f - tail, bell};
}

DEVICE float sigmoid(float x) { return reciprocal(1.0f + exponential(-x)); }

/// tanh to 2e-7: a polynomial (that of tanhf in Cephes, S. L. Moshier) near zero, where 1 - 2 / (e^2x + 1) cancels.
DEVICE float hyperbolic_tangent(float x) {
    float magnitude = fabsf(x);
    float square = x * x;
    float p = -5.7049887e-3f;
    p = p * square + 2.0639088e-2f;
    p = p * square - 5.3739715e-2f;
    p = p * square + 1.3331442e-1f;
    p = p * square - 3.3333280e-1f;
    float outer = 1.0f - 2.0f * reciprocal(exponential(2.0f * magnitude) + 1.0f);
    return magnitude < 0.625f ? x + x * (square * p) : copysignf(outer, x);
}

/// Twice the argument of the tanh in GELU's tanh form: (1 + tanh v) / 2 is the logistic function of 2 v.
DEVICE float gelu_tanh_argument(float x) { return 1.5957691f * (x + 0.044715f * (x * x * x)); }

/// f(x). NaN stays NaN.
DEVICE float activation(int kind, float x) {
    switch (kind) {
        case ACTIVATION_GELU_ERF:
            return x * normal(x).cdf;
        case ACTIVATION_GELU_TANH:
            return x * sigmoid(gelu_tanh_argument(x));
        case ACTIVATION_RELU:
            return x <= 0.0f ? 0.0f : x;
        case ACTIVATION_TANH:
            return hyperbolic_tangent(x);
        default:
            return x;
    }
}

/// f'(x). NaN stays NaN.
DEVICE float activation_slope(int kind, float x) {
    switch (kind) {
        case ACTIVATION_GELU_ERF: {
            Normal at = normal(x);
            return at.cdf + x * (at.bell * 0.39894228f);
        }
        case ACTIVATION_GELU_TANH: {
            // gate (1 - gate) from the exponential: 1 - gate would cancel for large x.
            float v = gelu_tanh_argument(x);
            float e = exponential(-fabsf(v)), r = reciprocal(1.0f + e);
            float gate = v < 0.0f ? e * r : r;
            return gate + x * (e * r * r) * (1.5957691f * (1.0f + 0.134145f * (x * x)));
        }
        case ACTIVATION_RELU:
            return x > 0.0f ? 1.0f : x <= 0.0f ? 0.0f : x;
        case ACTIVATION_TANH: {
            float y = hyperbolic_tangent(x);
            return 1.0f - y * y;
        }
        default:
            return 1.0f;
    }
}
