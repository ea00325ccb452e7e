// What surrounds a product: sums of columns (d_b), and of a split product's parts.
//
// All bound by memory. Column sums read d_y once, in chunks of rows, a block a chunk; parts of any sum are added in the order
// of their number, so that results do not depend on timing.
//
// Tried: this version only; not yet timed on a device.
#include "gemm.cuh"

constexpr int WARPS = 8;

/// `parts[chunk, j] = sum of d_y[n, j]` over the rows n of a chunk of `length`. A lane sums eight columns, the warps of a
/// block every eighth row each. Grid: (columns / 256, chunks).
template <class T>
DEVICE void column_sums(Global<float> parts, Global<const T> d_y, int rows, int columns, int length) {
    SHARED(float, memory, WARPS * 32 * LANE_COLUMNS);
    int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    int column = (int(blockIdx.x) * 32 + lane) * LANE_COLUMNS;
    int count = columns - column < LANE_COLUMNS ? columns - column : LANE_COLUMNS;
    bool aligned = columns % LANE_COLUMNS == 0;
    int first = int(blockIdx.y) * length, end = first + length < rows ? first + length : rows;
    Lane sums{};
    if (count > 0) {
        for (int row = first + warp; row < end; row += WARPS) {
            Lane values = load_lane<T>(d_y, i64(row) * columns + column, count, aligned);
            UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] += values.v[i];
        }
    }
    // Columns of a lane are 32 apart here, which keeps the lanes of a warp in different banks.
    UNROLL for (int i = 0; i < LANE_COLUMNS; i++) memory[(warp * LANE_COLUMNS + i) * 32 + lane] = sums.v[i];
    sync_block();
    if (warp == 0 && count > 0) {
        for (int other = 1; other < WARPS; other++) {
            UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
                float more = memory[(other * LANE_COLUMNS + i) * 32 + lane];
                sums.v[i] += more;
            }
        }
        store_lane<float>(parts, i64(blockIdx.y) * columns + column, count, aligned, sums);
    }
}

KERNEL column_sums_f32(Global<float> parts, Global<const float> d_y, int rows, int columns, int length) {
    column_sums<float>(parts, d_y, rows, columns, length);
}
KERNEL column_sums_bf16(Global<float> parts, Global<const bf16> d_y, int rows, int columns, int length) {
    column_sums<bf16>(parts, d_y, rows, columns, length);
}

/// `to[i] += sum_p parts[p, i]` for `count` elements: a warp has 32 neighbouring elements, and `ways` warps (a divisor of 8)
/// share the parts of the same elements. Grid: count / (32 * 8 / ways) blocks.
KERNEL add_parts(Global<float> to, Global<const float> parts, i64 count, int number, int ways) {
    SHARED(float, memory, WARPS * 32);
    int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    int way = warp % ways;
    i64 index = (i64(blockIdx.x) * (WARPS / ways) + warp / ways) * 32 + lane;
    float sum = 0.0f;
    if (index < count) {
        for (int part = way; part < number; part += ways) {
            float more = parts[part * count + index];
            sum += more;
        }
    }
    memory[warp * 32 + lane] = sum;
    sync_block();
    if (way == 0 && index < count) {
        for (int other = 1; other < ways; other++) {
            float more = memory[(warp + other) * 32 + lane];
            sum += more;
        }
        to[index] += sum;
    }
}

EXPORT(column_sums_f32)
EXPORT(column_sums_bf16)
EXPORT(add_parts)
