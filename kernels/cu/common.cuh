// What every kernel builds on: memory access, warp and block primitives, number formats, random numbers.
//
// A source file is compiled twice: by NVRTC for the device (no toolkit header is needed), and by a C++17 compiler for the
// emulator (STEPSYNTH_EMULATOR), where the same names are classes that check every access. Kernels therefore
// * take global memory as Global<T>, shared memory as Shared<T>, and reach it by [], load<N> and store<N> only;
// * give values explicit types (`float v = x[i]`, never `auto`);
// * use sync_block, sync_warp, shuffle* and ballot, in which every thread of the block or warp takes part;
// * are declared KERNEL and listed by EXPORT at the end of the file; instances of a template get a name for each format:
//   add_f32, add_bf16.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/// The upper half of an f32.
struct bf16 {
    u16 bits;
};

/// N values that are moved together, aligned to their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
    T v[N];
};

#ifdef STEPSYNTH_EMULATOR
#include "emulator.hpp"
#else

#define KERNEL extern "C" __global__ void
/// After KERNEL: the threads of a block, and the blocks that a multiprocessor should have room for.
#define BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define DEVICE __device__ __forceinline__
#define EXPORT(kernel)
/// An array in shared memory with a size known to the compiler.
#define SHARED(type, name, count) __shared__ alignas(16) type name[count]
/// Before a loop that has to be laid out flat, so that arrays stay in registers.
#define UNROLL _Pragma("unroll")
/// Before a loop of unknown length whose loads should overlap.
#define UNROLL_BY(count) STEPSYNTH_PRAGMA(unroll count)
#define STEPSYNTH_PRAGMA(text) _Pragma(#text)
/// The shared memory whose size the launch gives; carve<T>(name, offset in bytes) is a part of it.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) u8 name[]

template <class T>
using Global = T* __restrict__;
template <class T>
using Shared = T*;

template <class T>
DEVICE Shared<T> carve(u8* memory, int offset) {
    return reinterpret_cast<T*>(memory + offset);
}

template <int N, class T>
DEVICE Vec<T, N> load(const T* from, i64 index) {
    return *reinterpret_cast<const Vec<T, N>*>(from + index);
}
template <int N, class T>
DEVICE void store(T* to, i64 index, const Vec<T, N>& values) {
    *reinterpret_cast<Vec<T, N>*>(to + index) = values;
}

/// The memory at an address that a kernel reads from memory.
template <class T>
DEVICE T* at_address(u64 address) {
    return reinterpret_cast<T*>(address);
}

DEVICE void sync_block() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }
template <class T>
DEVICE T shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}
template <class T>
DEVICE T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
/// Bit i is what lane i gave.
DEVICE u32 ballot(bool value) { return __ballot_sync(0xffffffffu, value); }
DEVICE int atomic_add(int* to, i64 index, int value) { return atomicAdd(to + index, value); }

DEVICE u32 float_bits(float value) { return __float_as_uint(value); }
DEVICE float float_of_bits(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 multiply_high(u32 a, u32 b) { return __umulhi(a, b); }

#endif

// ---- number formats: computation is in f32, memory in T -------------------------------------------------------------

DEVICE float to_float(float value) { return value; }
DEVICE float to_float(bf16 value) { return float_of_bits(u32(value.bits) << 16); }

/// Rounds to nearest, ties to even; NaN stays NaN.
DEVICE bf16 to_bf16(float value) {
    u32 bits = float_bits(value);
    bf16 result;
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        result.bits = u16((bits >> 16) | 0x40u);
    } else {
        result.bits = u16((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
    return result;
}

/// `from_float<T>(x)`: x in the format T.
template <class T>
struct FromFloat;
template <>
struct FromFloat<float> {
    static DEVICE float of(float value) { return value; }
};
template <>
struct FromFloat<bf16> {
    static DEVICE bf16 of(float value) { return to_bf16(value); }
};
template <class T>
DEVICE T from_float(float value) {
    return FromFloat<T>::of(value);
}

// ---- reductions -----------------------------------------------------------------------------------------------------

DEVICE float warp_sum(float value) {
    for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
}
DEVICE float warp_max(float value) {
    // fmaxf drops NaN; a NaN must survive the reduction.
    for (int mask = 16; mask > 0; mask /= 2) {
        float other = shuffle_xor(value, mask);
        value = (other > value || other != other) ? other : value;
    }
    return value;
}

// ---- random numbers: Philox 4x32-10, the generator of stepsynth_core::random -----------------------------------------

/// A stream of random numbers and what dropout needs to know; passed by value.
struct DropoutMask {
    u32 key[2];
    u32 purpose[2];
    u32 threshold;
    float scale;
};

DEVICE Vec<u32, 4> philox_block(const DropoutMask& mask, u64 block) {
    u32 c0 = u32(block), c1 = u32(block >> 32), c2 = mask.purpose[0], c3 = mask.purpose[1];
    u32 k0 = mask.key[0], k1 = mask.key[1];
    for (int round = 0; round < 10; round++) {
        u32 high0 = multiply_high(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        u32 high1 = multiply_high(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return Vec<u32, 4>{{c0, c1, c2, c3}};
}

/// The factor of element `index`: 0 or scale. A threshold of 0 keeps everything with scale 1.
DEVICE float dropout_factor(const DropoutMask& mask, u64 index) {
    if (mask.threshold == 0) return 1.0f;
    Vec<u32, 4> words = philox_block(mask, index / 4);
    // Not words.v[index % 4], which would put the words in memory.
    u32 low = index % 2 == 0 ? words.v[0] : words.v[1], high = index % 2 == 0 ? words.v[2] : words.v[3];
    return (index % 4 < 2 ? low : high) >= mask.threshold ? mask.scale : 0.0f;
}
