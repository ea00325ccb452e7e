// Values that are moved 16 bytes at a time: T in memory, f32 in registers.
#pragma once
#include "common.cuh"

/// Values of T in 16 bytes.
template <class T>
constexpr int GROUP = 16 / int(sizeof(T));

/// Two values rounded as to_bf16 does, in one instruction where there is one.
DEVICE Vec<bf16, 2> to_bf16_pair(float low, float high) {
#if !defined(STEPSYNTH_EMULATOR) && __CUDA_ARCH__ >= 800
    u32 bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return Vec<bf16, 2>{{{u16(bits)}, {u16(bits >> 16)}}};
#else
    return Vec<bf16, 2>{{to_bf16(low), to_bf16(high)}};
#endif
}

template <int N, class T>
DEVICE Vec<float, N> to_floats(const Vec<T, N>& values) {
    Vec<float, N> result;
    UNROLL for (int i = 0; i < N; i++) result.v[i] = to_float(values.v[i]);
    return result;
}

template <class T, int N>
struct FromFloats {
    static DEVICE Vec<T, N> of(const Vec<float, N>& values) {
        Vec<T, N> result;
        UNROLL for (int i = 0; i < N; i++) result.v[i] = from_float<T>(values.v[i]);
        return result;
    }
};
template <int N>
struct FromFloats<bf16, N> {
    static DEVICE Vec<bf16, N> of(const Vec<float, N>& values) {
        Vec<bf16, N> result;
        UNROLL for (int i = 0; i + 1 < N; i += 2) {
            Vec<bf16, 2> pair = to_bf16_pair(values.v[i], values.v[i + 1]);
            result.v[i] = pair.v[0];
            result.v[i + 1] = pair.v[1];
        }
        if (N % 2 == 1) result.v[N - 1] = to_bf16(values.v[N - 1]);
        return result;
    }
};

/// `N` values that begin with element `index`, which is a multiple of N.
template <int N, class T>
DEVICE Vec<float, N> load_floats(Global<const T> from, i64 index) {
    return to_floats(load<N>(from, index));
}
template <int N, class T>
DEVICE void store_floats(Global<T> to, i64 index, const Vec<float, N>& values) {
    store<N>(to, index, FromFloats<T, N>::of(values));
}

/// This thread among all threads of the launch, and how many there are.
DEVICE i64 thread_index() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }
DEVICE i64 thread_count() { return i64(gridDim.x) * blockDim.x; }
/// This warp among all warps of the launch, and how many there are.
DEVICE int warp_index() { return int(thread_index() / 32); }
DEVICE int warp_count() { return int(thread_count() / 32); }
DEVICE int lane_index() { return int(threadIdx.x % 32); }
