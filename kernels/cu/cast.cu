// y = x over all elements, from any format to any: a copy, or a conversion that rounds to nearest, ties to even.
//
// Bound by memory: 2 values an element. Eight elements a thread and turn, so that the narrower side moves 16 bytes.
// Not yet timed on a device.
#include "vectors.cuh"

template <class T, class F>
DEVICE void cast(Global<T> y, Global<const F> x, i64 count) {
    constexpr int N = 8;
    i64 groups = count / N;
    for (i64 group = thread_index(); group < groups; group += thread_count()) {
        store_floats<N, T>(y, group * N, load_floats<N, F>(x, group * N));
    }
    i64 rest = groups * N + thread_index();
    if (rest < count) y[rest] = from_float<T>(to_float(x[rest]));
}

KERNEL cast_f32_to_f32(Global<float> y, Global<const float> x, i64 count) { cast<float, float>(y, x, count); }
KERNEL cast_f32_to_bf16(Global<bf16> y, Global<const float> x, i64 count) { cast<bf16, float>(y, x, count); }
KERNEL cast_bf16_to_f32(Global<float> y, Global<const bf16> x, i64 count) { cast<float, bf16>(y, x, count); }
KERNEL cast_bf16_to_bf16(Global<bf16> y, Global<const bf16> x, i64 count) { cast<bf16, bf16>(y, x, count); }

EXPORT(cast_f32_to_f32)
EXPORT(cast_f32_to_bf16)
EXPORT(cast_bf16_to_f32)
EXPORT(cast_bf16_to_bf16)
