// add and dropout over all elements of a matrix; y is read and written.
//
// Bound by memory: add moves 3 values an element, dropout 2. dropout draws one Philox block for four elements: about 80
// integer instructions, half of what a multiprocessor can do while it moves four bf16 values there and back.
// Not yet timed on a device.
#include "vectors.cuh"

template <class T>
DEVICE void add(Global<T> y, Global<const T> x, i64 count) {
    constexpr int N = GROUP<T>;
    i64 groups = count / N;
    for (i64 group = thread_index(); group < groups; group += thread_count()) {
        Vec<float, N> sum = load_floats<N, T>(y, group * N);
        Vec<float, N> other = load_floats<N, T>(x, group * N);
        UNROLL for (int i = 0; i < N; i++) sum.v[i] += other.v[i];
        store_floats<N, T>(y, group * N, sum);
    }
    i64 rest = groups * N + thread_index();
    if (rest < count) y[rest] = from_float<T>(to_float(y[rest]) + to_float(x[rest]));
}

template <class T>
DEVICE void dropout(Global<T> y, DropoutMask mask, i64 count) {
    constexpr int N = GROUP<T>;
    i64 groups = count / N;
    for (i64 group = thread_index(); group < groups; group += thread_count()) {
        Vec<float, N> values = load_floats<N, T>(y, group * N);
        UNROLL for (int i = 0; i < N; i += 4) {
            Vec<u32, 4> words = philox_block(mask, u64(group * N + i) / 4);
            UNROLL for (int j = 0; j < 4; j++) values.v[i + j] *= words.v[j] >= mask.threshold ? mask.scale : 0.0f;
        }
        store_floats<N, T>(y, group * N, values);
    }
    i64 rest = groups * N + thread_index();
    if (rest < count) y[rest] = from_float<T>(to_float(y[rest]) * dropout_factor(mask, u64(rest)));
}

KERNEL add_f32(Global<float> y, Global<const float> x, i64 count) { add<float>(y, x, count); }
KERNEL add_bf16(Global<bf16> y, Global<const bf16> x, i64 count) { add<bf16>(y, x, count); }
KERNEL dropout_f32(Global<float> y, DropoutMask mask, i64 count) { dropout<float>(y, mask, count); }
KERNEL dropout_bf16(Global<bf16> y, DropoutMask mask, i64 count) { dropout<bf16>(y, mask, count); }

EXPORT(add_f32)
EXPORT(add_bf16)
EXPORT(dropout_f32)
EXPORT(dropout_bf16)
