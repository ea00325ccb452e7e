// gather: out[b] = x[rows[b]]; scatter: d_x = 0 but for d_x[rows[b]] = d_out[b], where rows are distinct.
//
// Bound by memory: gather moves 2 B C values, scatter writes N C. Scatter is one kernel: a block owns 64 rows of d_x, looks
// through all of `rows` for those that fall among them (B is some hundreds) and writes each of its rows once.
// Not yet timed on a device.
#include "vectors.cuh"

/// Rows of d_x that a block owns.
constexpr int OWNED = 64;

template <class T, int N>
DEVICE void copy_row(Global<T> to, i64 to_row, Global<const T> from, i64 from_row, int columns) {
    for (int column = lane_index() * N; column < columns; column += 32 * N) {
        Vec<T, N> values = load<N>(from, from_row * columns + column);
        store<N>(to, to_row * columns + column, values);
    }
}

template <class T, int N>
DEVICE void gather(Global<T> out, Global<const T> x, Global<const int> rows, int count, int columns) {
    for (int row = warp_index(); row < count; row += warp_count()) {
        int from = rows[row];
        copy_row<T, N>(out, row, x, from, columns);
    }
}

template <class T, int N>
DEVICE void scatter(Global<T> d_x, Global<const T> d_out, Global<const int> rows, int count, int tokens, int columns) {
    SHARED(int, source, OWNED);
    int first = int(blockIdx.x) * OWNED;
    if (threadIdx.x < OWNED) source[threadIdx.x] = -1;
    sync_block();
    for (int b = int(threadIdx.x); b < count; b += int(blockDim.x)) {
        int place = rows[b];
        place -= first;
        if (place >= 0 && place < OWNED) source[place] = b;
    }
    sync_block();
    for (int row = int(threadIdx.x) / 32; row < OWNED && first + row < tokens; row += int(blockDim.x) / 32) {
        int from = source[row];
        if (from >= 0) {
            copy_row<T, N>(d_x, first + row, d_out, from, columns);
        } else {
            for (int column = lane_index() * N; column < columns; column += 32 * N) {
                store<N>(d_x, i64(first + row) * columns + column, Vec<T, N>{});
            }
        }
    }
}

template <class T>
DEVICE void gather(Global<T> out, Global<const T> x, Global<const int> rows, int count, int columns) {
    if (columns % GROUP<T> == 0) {
        gather<T, GROUP<T>>(out, x, rows, count, columns);
    } else {
        gather<T, 1>(out, x, rows, count, columns);
    }
}

template <class T>
DEVICE void scatter(Global<T> d_x, Global<const T> d_out, Global<const int> rows, int count, int tokens, int columns) {
    if (columns % GROUP<T> == 0) {
        scatter<T, GROUP<T>>(d_x, d_out, rows, count, tokens, columns);
    } else {
        scatter<T, 1>(d_x, d_out, rows, count, tokens, columns);
    }
}

KERNEL gather_rows_f32(Global<float> out, Global<const float> x, Global<const int> rows, int count, int columns) {
    gather<float>(out, x, rows, count, columns);
}
KERNEL gather_rows_bf16(Global<bf16> out, Global<const bf16> x, Global<const int> rows, int count, int columns) {
    gather<bf16>(out, x, rows, count, columns);
}
KERNEL scatter_rows_f32(Global<float> d_x, Global<const float> d_out, Global<const int> rows, int count, int tokens, int columns) {
    scatter<float>(d_x, d_out, rows, count, tokens, columns);
}
KERNEL scatter_rows_bf16(Global<bf16> d_x, Global<const bf16> d_out, Global<const int> rows, int count, int tokens, int columns) {
    scatter<bf16>(d_x, d_out, rows, count, tokens, columns);
}

EXPORT(gather_rows_f32)
EXPORT(gather_rows_bf16)
EXPORT(scatter_rows_f32)
EXPORT(scatter_rows_bf16)
