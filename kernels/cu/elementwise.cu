// copy, add and dropout over all elements of a matrix.
//
// Bound by memory: copy moves 2, add 3, dropout 2 values an element.
#include "common.cuh"

template <class T>
DEVICE void add(Global<T> y, Global<const T> x, i64 count) {
    i64 stride = i64(gridDim.x) * blockDim.x;
    for (i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
        y[i] = from_float<T>(to_float(y[i]) + to_float(x[i]));
    }
}

KERNEL add_f32(Global<float> y, Global<const float> x, i64 count) { add<float>(y, x, count); }
KERNEL add_bf16(Global<bf16> y, Global<const bf16> x, i64 count) { add<bf16>(y, x, count); }

EXPORT(add_f32)
EXPORT(add_bf16)
