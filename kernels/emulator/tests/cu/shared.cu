// Kernels that use shared memory wrongly, each beside one that does the same rightly. Never part of a product.
#include "mma.cuh"

/// y is x backwards within every block, through a static array of 64; `shift` moves the reads.
KERNEL reverse_static(Global<float> y, Global<const float> x, int barrier, int shift) {
    SHARED(float, values, 64);
    int size = blockDim.x, thread = threadIdx.x, first = blockIdx.x * size;
    float mine = x[first + thread];
    values[thread] = mine;
    if (barrier != 0) sync_block();
    float other = values[size - 1 - thread + shift];
    y[first + thread] = other;
}
/// The same through dynamic memory, `offset` bytes into it.
KERNEL reverse_dynamic(Global<float> y, Global<const float> x, int offset) {
    DYNAMIC_SHARED(memory);
    Shared<float> values = carve<float>(memory, offset);
    int size = blockDim.x, thread = threadIdx.x, first = blockIdx.x * size;
    float mine = x[first + thread];
    values[thread] = mine;
    sync_block();
    float other = values[size - 1 - thread];
    y[first + thread] = other;
}
/// Reads what the thread `distance` before wrote; `how`: 0 nothing between, 1 a warp's barrier, 2 a shuffle, 3 a block's.
KERNEL neighbours(Global<float> y, int how, int distance) {
    SHARED(float, values, 128);
    int thread = threadIdx.x;
    values[thread] = 1.0f;
    if (how == 1) sync_warp();
    if (how == 2) shuffle(thread, 0);
    if (how == 3) sync_block();
    float other = values[thread >= distance ? thread - distance : thread];
    y[thread] = other;
}
/// All threads read what one of them then overwrites; without the barrier they may read the new value.
KERNEL overwrite(Global<float> y, int barrier, int writer) {
    SHARED(float, value, 1);
    int thread = threadIdx.x;
    if (thread == 0) value[0] = 1.0f;
    sync_block();
    float seen = value[0];
    if (barrier == 1) sync_warp();
    if (barrier == 2) sync_block();
    if (thread == writer) value[0] = 2.0f;
    y[thread] = seen;
}
/// Two threads write the same value.
KERNEL write_twice(Global<float> y, int other) {
    SHARED(float, value, 1);
    if (threadIdx.x == 0 || int(threadIdx.x) == other) value[0] = 1.0f;
    sync_block();
    float seen = value[0];
    y[threadIdx.x] = seen;
}
/// The first block writes, the second reads what the first left.
KERNEL left_behind(Global<float> y, int blocks_that_write) {
    SHARED(float, values, 32);
    if (int(blockIdx.x) < blocks_that_write) values[threadIdx.x] = 1.0f;
    float seen = values[threadIdx.x];
    y[blockIdx.x * 32 + threadIdx.x] = seen;
}
/// Halves of one array of 16-bit values that different threads own: no race, though they lie in one word.
KERNEL small_values(Global<float> y) {
    SHARED(u16, values, 64);
    values[threadIdx.x] = u16(threadIdx.x);
    u16 mine = values[threadIdx.x];
    y[threadIdx.x] = float(mine);
}
KERNEL too_much_static(Global<float> y) {
    SHARED(float, large, 12289);
    large[threadIdx.x] = 1.0f;
    y[threadIdx.x] = 1.0f;
}

// ---- cp.async -------------------------------------------------------------------------------------------------------

/// y = x, 4 values a thread, through copies; `wait`: 0 none, 1 the wait, 2 with the barrier that other threads need. Reads what
/// the thread `shift` before copied.
KERNEL copy_in_flight(Global<float> y, Global<const float> x, int wait, int shift) {
    SHARED(float, stage, 256);
    int thread = threadIdx.x, other = thread >= shift ? thread - shift : thread;
    cp_async_16(stage, thread * 4, x, i64(thread) * 4, true);
    cp_async_commit();
    if (wait > 0) cp_async_wait<0>();
    if (wait > 1) sync_block();
    for (int i = 0; i < 4; i++) {
        float value = stage[other * 4 + i];
        y[thread * 4 + i] = value;
    }
}
/// A copy into what other threads still read.
KERNEL copy_too_early(Global<float> y, Global<const float> x, int barrier) {
    SHARED(float, stage, 256);
    int thread = threadIdx.x, other = (thread + 1) % int(blockDim.x);
    for (int i = 0; i < 4; i++) stage[thread * 4 + i] = 0.0f;
    sync_block();
    float value = stage[other * 4];
    if (barrier != 0) sync_block();
    cp_async_16(stage, thread * 4, x, i64(thread) * 4, true);
    cp_async_commit();
    cp_async_wait<0>();
    y[thread] = value;
}
KERNEL copy_unaligned(Global<float> y, Global<const float> x, int to, int from) {
    SHARED(float, stage, 8);
    cp_async_16(stage, to, x, i64(from), true);
    cp_async_commit();
    cp_async_wait<0>();
    y[0] = 1.0f;
}
KERNEL matrix_row(Global<float> y, int shift) {
    SHARED(u16, stage, 256);
    for (int i = 0; i < 8; i++) stage[threadIdx.x * 8 + i] = u16(0);
    sync_warp();
    u32 registers[4];
    ldmatrix_x4(registers, stage, threadIdx.x * 8 + shift);
    y[threadIdx.x] = 1.0f;
}

EXPORT(reverse_static)
EXPORT(reverse_dynamic)
EXPORT(neighbours)
EXPORT(overwrite)
EXPORT(write_twice)
EXPORT(left_behind)
EXPORT(small_values)
EXPORT(too_much_static)
EXPORT(copy_in_flight)
EXPORT(copy_too_early)
EXPORT(copy_unaligned)
EXPORT(matrix_row)
