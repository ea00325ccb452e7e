// Matrix instructions of compute capability 8.0: mma.sync, ldmatrix, cp.async.
//
// Every function but the cp_async ones is a warp's: all 32 lanes call it together. In the emulator the bodies are host code
// (kernels/emulator/include/mma.hpp) with the same layouts, which are those of the PTX manual. With g = lane / 4 and
// t = lane % 4, and the lower half of a register first:
//
//   A (16 x 16, row-major)   a[0]: (g, 2t) (g, 2t+1)    a[1]: (g+8, 2t) ..    a[2]: (g, 2t+8) ..    a[3]: (g+8, 2t+8) ..
//   B (16 x 8, k by n)       b[0]: (2t, g) (2t+1, g)    b[1]: (2t+8, g) (2t+9, g)
//   C (16 x 8, f32)          c[0]: (g, 2t)   c[1]: (g, 2t+1)   c[2]: (g+8, 2t)   c[3]: (g+8, 2t+1)
//   8 x 8 matrix of ldmatrix   register: (g, 2t) (g, 2t+1); transposed: (2t, g) (2t+1, g)
#pragma once
#include "common.cuh"

#ifdef STEPSYNTH_EMULATOR
#include "mma.hpp"
#else

/// c += a b in bf16 with sums in f32.
DEVICE void mma_m16n8k16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The address of shared memory as instructions take it.
DEVICE u32 shared_address(const void* memory) { return u32(__cvta_generic_to_shared(memory)); }

/// Four 8 x 8 matrices of 16-bit values: lane i names row i % 8 of matrix i / 8 (16 bytes at from[index], aligned), and gets
/// its part of matrix j in to[j].
template <class T>
DEVICE void ldmatrix_x4(u32 (&to)[4], const T* from, int index) {
    static_assert(sizeof(T) == 2, "16-bit values");
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(from + index))
                 : "memory");
}
/// The same with every matrix transposed.
template <class T>
DEVICE void ldmatrix_x4_trans(u32 (&to)[4], const T* from, int index) {
    static_assert(sizeof(T) == 2, "16-bit values");
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(from + index))
                 : "memory");
}

/// Starts a copy of 16 bytes, both sides aligned to 16, past the registers; zeros where not `inside`, and then nothing is
/// read. The bytes are there for this thread after cp_async_wait, for the others after a barrier behind that.
template <class T>
DEVICE void cp_async_16(T* to, int to_index, const T* from, i64 from_index, bool inside) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to + to_index)), "l"(inside ? from + from_index : from), "r"(inside ? 16 : 0)
                 : "memory");
}
/// Ends a group of copies: those that this thread started since the last one.
DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most the newest `PENDING` of this thread's groups are under way.
template <int PENDING>
DEVICE void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#endif
