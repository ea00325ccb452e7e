// Kernels that use global memory wrongly, each beside one that does the same rightly. Never part of a product.
#include "common.cuh"

// ---- bounds, alignment, inputs --------------------------------------------------------------------------------------

/// y[i + shift] = x[i]: right for a shift of 0 and whole vectors.
KERNEL shifted_copy(Global<float> y, Global<const float> x, i64 count, i64 shift) {
    i64 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i + shift] = x[i];
}
KERNEL shifted_read(Global<float> y, Global<const float> x, i64 count, i64 shift) {
    i64 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = x[i + shift];
}
KERNEL vector_copy(Global<float> y, Global<const float> x, i64 shift) {
    i64 i = i64(threadIdx.x) * 4;
    store<4>(y, i, load<4>(x, i + shift));
}
KERNEL vector_store(Global<float> y, i64 shift) {
    Vec<float, 4> ones = {{1.0f, 1.0f, 1.0f, 1.0f}};
    store<4>(y, i64(threadIdx.x) * 4 + shift, ones);
}
/// Writes beside y by hand, where no check sees it.
KERNEL raw_write(Global<float> y, i64 at) { y.address[at] = 1.0f; }
/// Writes to an input by taking its const away.
KERNEL write_to_input(Global<float> y, Global<const float> x) {
    y[0] = 1.0f;
    Global<float> input{const_cast<float*>(x.address)};
    input[0] = 1.0f;
}
KERNEL copy_if_there(Global<float> y, Global<const float> x, int trust) {
    y[threadIdx.x] = (x || trust != 0) ? float(x[threadIdx.x]) : 0.0f;
}

// ---- unwritten ------------------------------------------------------------------------------------------------------

/// Writes all of y but every `gap`th value.
KERNEL fill_with_gaps(Global<float> y, i64 count, int gap) {
    i64 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count && (gap == 0 || i % gap != gap - 1)) y[i] = 1.0f;
}
KERNEL half_of_each(Global<u16> y) { y[threadIdx.x * 2] = u16(1); }

// ---- races ----------------------------------------------------------------------------------------------------------

/// Every block writes its own part, and `overlap` values of the next one's.
KERNEL overlapping_blocks(Global<float> y, int overlap) {
    int size = blockDim.x;
    for (int i = threadIdx.x; i < size + overlap; i += size) {
        if (blockIdx.x + 1 < gridDim.x || i < size) y[blockIdx.x * size + i] = 1.0f;
    }
}
/// Every block writes its value and, if told so, reads that of the block before or behind.
KERNEL reads_neighbour(Global<float> y, Global<float> sums, int shift) {
    int block = blockIdx.x, other = block + shift;
    if (threadIdx.x != 0) return;
    if (other >= 0 && other < int(gridDim.x)) {
        float value = y[other];
        sums[block] = value;
    } else {
        sums[block] = 0.0f;
    }
    y[block] = 2.0f;
}
/// Counts threads, by atomic operations or without.
KERNEL count_threads(Global<int> counter, int by_hand) {
    if (by_hand == 0) {
        atomic_add(counter, 0, 1);
    } else if (threadIdx.x == 0) {
        int old = counter[0];
        counter[0] = old + 1;
    }
}
/// Takes the sum of a block's values over global memory.
KERNEL sum_over_global(Global<float> y, Global<float> sums, int barrier) {
    int first = blockIdx.x * blockDim.x;
    y[first + threadIdx.x] = 1.0f;
    if (barrier != 0) sync_block();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (int i = 0; i < int(blockDim.x); i++) sum += y[first + i];
        sums[blockIdx.x] = sum;
    }
}

EXPORT(shifted_copy)
EXPORT(shifted_read)
EXPORT(vector_copy)
EXPORT(vector_store)
EXPORT(raw_write)
EXPORT(write_to_input)
EXPORT(copy_if_there)
EXPORT(fill_with_gaps)
EXPORT(half_of_each)
EXPORT(overlapping_blocks)
EXPORT(reads_neighbour)
EXPORT(count_threads)
EXPORT(sum_over_global)
