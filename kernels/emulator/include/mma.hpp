// The device's side of mma.cuh on the host.
#pragma once

namespace emulator {

/// What a lane gives to and gets from a product.
struct Product {
    float* c;
    const u32* a;
    const u32* b;
};
void multiply(Product mine);

/// A lane's row and where its part of the four matrices goes.
struct Rows {
    const void* row;
    u32* to;
    bool transposed;
};
void load_rows(Buffer* buffer, Rows mine);

/// Queues a copy of 16 bytes; `from` is null for zeros.
void copy_async(Buffer* to_buffer, void* to, Buffer* from_buffer, const void* from);
void commit_copies();
void wait_copies(int pending);

}  // namespace emulator

DEVICE void mma_m16n8k16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) { emulator::multiply({c, a, b}); }

template <class T>
DEVICE void ldmatrix_x4(u32 (&to)[4], Shared<T> from, int index) {
    static_assert(sizeof(T) == 2, "16-bit values");
    emulator::load_rows(from.buffer, {from.address + index, to, false});
}
template <class T>
DEVICE void ldmatrix_x4_trans(u32 (&to)[4], Shared<T> from, int index) {
    static_assert(sizeof(T) == 2, "16-bit values");
    emulator::load_rows(from.buffer, {from.address + index, to, true});
}

template <class T>
DEVICE void cp_async_16(Shared<T> to, int to_index, Global<const T> from, i64 from_index, bool inside) {
    emulator::copy_async(to.buffer, to.address + to_index, from.buffer, inside ? from.address + from_index : nullptr);
}
DEVICE void cp_async_commit() { emulator::commit_copies(); }
template <int PENDING>
DEVICE void cp_async_wait() {
    emulator::wait_copies(PENDING);
}
