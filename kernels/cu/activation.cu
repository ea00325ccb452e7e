// y = f(x) and d_x = d_y f'(x) over all elements. Only the classification head's use is left: elsewhere an activation is part
// of a product's epilogue.
//
// Bound by memory: 2 and 3 values an element. Not yet timed on a device.
#include "activation.cuh"
#include "vectors.cuh"

template <int KIND, class T>
DEVICE void forward(Global<T> y, Global<const T> x, i64 count) {
    constexpr int N = GROUP<T>;
    i64 groups = count / N;
    for (i64 group = thread_index(); group < groups; group += thread_count()) {
        Vec<float, N> values = load_floats<N, T>(x, group * N);
        UNROLL for (int i = 0; i < N; i++) values.v[i] = activation(KIND, values.v[i]);
        store_floats<N, T>(y, group * N, values);
    }
    i64 rest = groups * N + thread_index();
    if (rest < count) y[rest] = from_float<T>(activation(KIND, to_float(x[rest])));
}

template <int KIND, class T>
DEVICE void backward(Global<T> d_x, Global<const T> d_y, Global<const T> x, i64 count) {
    constexpr int N = GROUP<T>;
    i64 groups = count / N;
    for (i64 group = thread_index(); group < groups; group += thread_count()) {
        Vec<float, N> values = load_floats<N, T>(d_y, group * N);
        Vec<float, N> inner = load_floats<N, T>(x, group * N);
        UNROLL for (int i = 0; i < N; i++) values.v[i] *= activation_slope(KIND, inner.v[i]);
        store_floats<N, T>(d_x, group * N, values);
    }
    i64 rest = groups * N + thread_index();
    if (rest < count) d_x[rest] = from_float<T>(to_float(d_y[rest]) * activation_slope(KIND, to_float(x[rest])));
}

template <class T>
DEVICE void forward(Global<T> y, Global<const T> x, i64 count, int kind) {
    switch (kind) {
        case ACTIVATION_GELU_ERF:
            return forward<ACTIVATION_GELU_ERF, T>(y, x, count);
        case ACTIVATION_GELU_TANH:
            return forward<ACTIVATION_GELU_TANH, T>(y, x, count);
        case ACTIVATION_RELU:
            return forward<ACTIVATION_RELU, T>(y, x, count);
        case ACTIVATION_TANH:
            return forward<ACTIVATION_TANH, T>(y, x, count);
    }
}

template <class T>
DEVICE void backward(Global<T> d_x, Global<const T> d_y, Global<const T> x, i64 count, int kind) {
    switch (kind) {
        case ACTIVATION_GELU_ERF:
            return backward<ACTIVATION_GELU_ERF, T>(d_x, d_y, x, count);
        case ACTIVATION_GELU_TANH:
            return backward<ACTIVATION_GELU_TANH, T>(d_x, d_y, x, count);
        case ACTIVATION_RELU:
            return backward<ACTIVATION_RELU, T>(d_x, d_y, x, count);
        case ACTIVATION_TANH:
            return backward<ACTIVATION_TANH, T>(d_x, d_y, x, count);
    }
}

KERNEL activation_f32(Global<float> y, Global<const float> x, i64 count, int kind) { forward<float>(y, x, count, kind); }
KERNEL activation_bf16(Global<bf16> y, Global<const bf16> x, i64 count, int kind) { forward<bf16>(y, x, count, kind); }
KERNEL activation_backward_f32(Global<float> d_x, Global<const float> d_y, Global<const float> x, i64 count, int kind) {
    backward<float>(d_x, d_y, x, count, kind);
}
KERNEL activation_backward_bf16(Global<bf16> d_x, Global<const bf16> d_y, Global<const bf16> x, i64 count, int kind) {
    backward<bf16>(d_x, d_y, x, count, kind);
}

EXPORT(activation_f32)
EXPORT(activation_bf16)
EXPORT(activation_backward_f32)
EXPORT(activation_backward_bf16)
