// Layer normalisation over the columns of each row, and its backward pass.
//
// Forward: y = (x - mean) rstd gamma + beta; stats (N, 2) receives mean and rstd = 1 / sqrt(variance + epsilon), f32.
// Backward, with z = (x - mean) rstd and g = d_y gamma: d_x = rstd (g - mean(g) - z mean(g z)), d_gamma += sum_n d_y z,
// d_beta += sum_n d_y.
//
// Bound by memory: forward moves 2 values an element, backward 3. A warp keeps a whole row in registers (rows of up to 512,
// 768 and 1024 columns have kernels of their own), so each value is read once and the variance is taken in two passes.
// Backward keeps the sums of d_gamma and d_beta over its rows in registers too; a block adds up those of its warps in
// order and leaves them in `partials`, whose rows the finishing kernel adds up in a fixed order. Rows that are wider, or no
// multiple of 16 bytes, are a block's work and are read again from the cache. Not yet timed on a device.
#include "vectors.cuh"

/// Columns of one lane's group number `group`.
template <int N>
DEVICE int column_of(int group) {
    return (group * 32 + lane_index()) * N;
}

template <class T, int N, int GROUPS>
DEVICE void forward(Global<T> y, Global<float> stats, Global<const T> x, Global<const float> gamma, Global<const float> beta,
                    int rows, int columns, float epsilon) {
    for (int row = warp_index(); row < rows; row += warp_count()) {
        i64 start = i64(row) * columns;
        Vec<T, N> kept[GROUPS];
        float sum = 0.0f;
        UNROLL for (int group = 0; group < GROUPS; group++) {
            int column = column_of<N>(group);
            kept[group] = {};
            if (column < columns) kept[group] = load<N>(x, start + column);
            UNROLL for (int i = 0; i < N; i++) sum += to_float(kept[group].v[i]);
        }
        float mean = warp_sum(sum) / float(columns);
        float squares = 0.0f;
        UNROLL for (int group = 0; group < GROUPS; group++) {
            if (column_of<N>(group) >= columns) continue;
            UNROLL for (int i = 0; i < N; i++) {
                float deviation = to_float(kept[group].v[i]) - mean;
                squares += deviation * deviation;
            }
        }
        float rstd = 1.0f / sqrtf(warp_sum(squares) / float(columns) + epsilon);
        if (lane_index() == 0) store<2>(stats, i64(row) * 2, Vec<float, 2>{{mean, rstd}});
        UNROLL for (int group = 0; group < GROUPS; group++) {
            int column = column_of<N>(group);
            if (column >= columns) continue;
            Vec<float, N> gain = load_floats<N, float>(gamma, column), shift = load_floats<N, float>(beta, column), values;
            UNROLL for (int i = 0; i < N; i++) values.v[i] = (to_float(kept[group].v[i]) - mean) * rstd * gain.v[i] + shift.v[i];
            store_floats<N, T>(y, start + column, values);
        }
    }
}

/// Adds (or, to begin with, writes) a lane's values to shared sums, 16 bytes at a time.
template <int N>
DEVICE void add_to(Shared<float> sums, int column, const Vec<float, N>& values, bool first) {
    constexpr int PART = N < 4 ? N : 4;
    UNROLL for (int i = 0; i < N; i += PART) {
        Vec<float, PART> part = {};
        if (!first) part = load<PART>(sums, column + i);
        UNROLL for (int j = 0; j < PART; j++) part.v[j] += values.v[i + j];
        store<PART>(sums, column + i, part);
    }
}

template <class T, int N, int GROUPS>
DEVICE void backward(Global<T> d_x, Global<float> partials, Shared<float> sums, Global<const T> d_y, Global<const T> x,
                     Global<const float> stats, Global<const float> gamma, int rows, int columns) {
    Vec<float, N> d_gamma[GROUPS], d_beta[GROUPS];
    UNROLL for (int group = 0; group < GROUPS; group++) d_gamma[group] = d_beta[group] = {};
    for (int row = warp_index(); row < rows; row += warp_count()) {
        i64 start = i64(row) * columns;
        Vec<float, 2> of_row = load<2>(stats, i64(row) * 2);
        float mean = of_row.v[0], rstd = of_row.v[1];
        // As they are in memory: two bf16 share a register.
        Vec<T, N> kept_x[GROUPS], kept_d_y[GROUPS];
        UNROLL for (int group = 0; group < GROUPS; group++) {
            int column = column_of<N>(group);
            kept_x[group] = kept_d_y[group] = {};
            if (column < columns) {
                kept_x[group] = load<N>(x, start + column);
                kept_d_y[group] = load<N>(d_y, start + column);
            }
        }
        float sum = 0.0f, along = 0.0f;
        UNROLL for (int group = 0; group < GROUPS; group++) {
            int column = column_of<N>(group);
            if (column >= columns) continue;
            Vec<float, N> gain = load_floats<N, float>(gamma, column);
            UNROLL for (int i = 0; i < N; i++) {
                float d = to_float(kept_d_y[group].v[i]), z = (to_float(kept_x[group].v[i]) - mean) * rstd;
                d_gamma[group].v[i] += d * z;
                d_beta[group].v[i] += d;
                sum += d * gain.v[i];
                along += d * gain.v[i] * z;
            }
        }
        sum = warp_sum(sum) / float(columns);
        along = warp_sum(along) / float(columns);
        UNROLL for (int group = 0; group < GROUPS; group++) {
            int column = column_of<N>(group);
            if (column >= columns) continue;
            Vec<float, N> gain = load_floats<N, float>(gamma, column), values;
            UNROLL for (int i = 0; i < N; i++) {
                float z = (to_float(kept_x[group].v[i]) - mean) * rstd;
                values.v[i] = rstd * (to_float(kept_d_y[group].v[i]) * gain.v[i] - sum - z * along);
            }
            store_floats<N, T>(d_x, start + column, values);
        }
    }
    constexpr int WIDTH = 32 * N * GROUPS;
    for (int warp = 0; warp < int(blockDim.x) / 32; warp++) {
        if (int(threadIdx.x) / 32 == warp) {
            UNROLL for (int group = 0; group < GROUPS; group++) {
                add_to<N>(sums, column_of<N>(group), d_gamma[group], warp == 0);
                add_to<N>(sums, WIDTH + column_of<N>(group), d_beta[group], warp == 0);
            }
        }
        sync_block();
    }
    i64 mine = i64(blockIdx.x) * 2 * columns;
    for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) {
        float gamma_sum = sums[column], beta_sum = sums[WIDTH + column];
        partials[mine + column] = gamma_sum;
        partials[mine + columns + column] = beta_sum;
    }
}

/// `CAPACITY` is the number of values of a row that a lane holds.
template <class T, int CAPACITY>
DEVICE void forward(Global<T> y, Global<float> stats, Global<const T> x, Global<const float> gamma, Global<const float> beta,
                    int rows, int columns, float epsilon) {
    forward<T, GROUP<T>, CAPACITY / GROUP<T>>(y, stats, x, gamma, beta, rows, columns, epsilon);
}

template <class T, int CAPACITY>
DEVICE void backward(Global<T> d_x, Global<float> partials, Global<const T> d_y, Global<const T> x, Global<const float> stats,
                     Global<const float> gamma, int rows, int columns) {
    SHARED(float, sums, 2 * 32 * CAPACITY);
    backward<T, GROUP<T>, CAPACITY / GROUP<T>>(d_x, partials, sums, d_y, x, stats, gamma, rows, columns);
}

/// The sum of a value over all threads of the block, for each of them.
DEVICE float block_sum(float value, Shared<float> scratch) {
    value = warp_sum(value);
    sync_block();
    if (lane_index() == 0) scratch[threadIdx.x / 32] = value;
    sync_block();
    float sum = 0.0f;
    for (int warp = 0; warp < int(blockDim.x) / 32; warp++) sum += scratch[warp];
    return sum;
}

template <class T>
DEVICE void forward_wide(Global<T> y, Global<float> stats, Global<const T> x, Global<const float> gamma, Global<const float> beta,
                         int rows, int columns, float epsilon) {
    SHARED(float, scratch, 32);
    for (int row = int(blockIdx.x); row < rows; row += int(gridDim.x)) {
        i64 start = i64(row) * columns;
        float sum = 0.0f, squares = 0.0f;
        for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) sum += to_float(x[start + column]);
        float mean = block_sum(sum, scratch) / float(columns);
        for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) {
            float deviation = to_float(x[start + column]) - mean;
            squares += deviation * deviation;
        }
        float rstd = 1.0f / sqrtf(block_sum(squares, scratch) / float(columns) + epsilon);
        if (threadIdx.x == 0) store<2>(stats, i64(row) * 2, Vec<float, 2>{{mean, rstd}});
        for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) {
            float gain = gamma[column], shift = beta[column];
            y[start + column] = from_float<T>((to_float(x[start + column]) - mean) * rstd * gain + shift);
        }
    }
}

/// A thread adds to the same columns of the block's partial sums row after row.
template <class T>
DEVICE void backward_wide(Global<T> d_x, Global<float> partials, Global<const T> d_y, Global<const T> x, Global<const float> stats,
                          Global<const float> gamma, int rows, int columns) {
    SHARED(float, scratch, 32);
    i64 d_gamma = i64(blockIdx.x) * 2 * columns, d_beta = d_gamma + columns;
    for (int column = int(threadIdx.x); column < 2 * columns; column += int(blockDim.x)) partials[d_gamma + column] = 0.0f;
    // A column of d_beta may have been zeroed by another thread than the one that adds to it.
    sync_block();
    for (int row = int(blockIdx.x); row < rows; row += int(gridDim.x)) {
        i64 start = i64(row) * columns;
        Vec<float, 2> of_row = load<2>(stats, i64(row) * 2);
        float mean = of_row.v[0], rstd = of_row.v[1];
        float sum = 0.0f, along = 0.0f;
        for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) {
            float gain = gamma[column], d = to_float(d_y[start + column]), z = (to_float(x[start + column]) - mean) * rstd;
            sum += d * gain;
            along += d * gain * z;
            partials[d_gamma + column] += d * z;
            partials[d_beta + column] += d;
        }
        sum = block_sum(sum, scratch) / float(columns);
        along = block_sum(along, scratch) / float(columns);
        for (int column = int(threadIdx.x); column < columns; column += int(blockDim.x)) {
            float gain = gamma[column], d = to_float(d_y[start + column]), z = (to_float(x[start + column]) - mean) * rstd;
            d_x[start + column] = from_float<T>(rstd * (d * gain - sum - z * along));
        }
    }
}

#define FORWARD(NAME, T, FUNCTION)                                                                                               \
    KERNEL NAME(Global<T> y, Global<float> stats, Global<const T> x, Global<const float> gamma, Global<const float> beta,        \
                int rows, int columns, float epsilon) {                                                                          \
        FUNCTION(y, stats, x, gamma, beta, rows, columns, epsilon);                                                              \
    }                                                                                                                            \
    EXPORT(NAME)
#define BACKWARD(NAME, T, THREADS, BLOCKS, FUNCTION)                                                                             \
    KERNEL BOUNDS(THREADS, BLOCKS) NAME(Global<T> d_x, Global<float> partials, Global<const T> d_y, Global<const T> x,        \
                                           Global<const float> stats, Global<const float> gamma, int rows, int columns) {        \
        FUNCTION(d_x, partials, d_y, x, stats, gamma, rows, columns);                                                            \
    }                                                                                                                            \
    EXPORT(NAME)

FORWARD(layer_norm_512_f32, float, (forward<float, 16>))
FORWARD(layer_norm_768_f32, float, (forward<float, 24>))
FORWARD(layer_norm_1024_f32, float, (forward<float, 32>))
FORWARD(layer_norm_wide_f32, float, forward_wide<float>)
FORWARD(layer_norm_512_bf16, bf16, (forward<bf16, 16>))
FORWARD(layer_norm_768_bf16, bf16, (forward<bf16, 24>))
FORWARD(layer_norm_1024_bf16, bf16, (forward<bf16, 32>))
FORWARD(layer_norm_wide_bf16, bf16, forward_wide<bf16>)

BACKWARD(layer_norm_backward_512_f32, float, 128, 4, (backward<float, 16>))
BACKWARD(layer_norm_backward_768_f32, float, 128, 3, (backward<float, 24>))
BACKWARD(layer_norm_backward_1024_f32, float, 128, 2, (backward<float, 32>))
BACKWARD(layer_norm_backward_wide_f32, float, 256, 4, backward_wide<float>)
BACKWARD(layer_norm_backward_512_bf16, bf16, 128, 4, (backward<bf16, 16>))
BACKWARD(layer_norm_backward_768_bf16, bf16, 128, 3, (backward<bf16, 24>))
BACKWARD(layer_norm_backward_1024_bf16, bf16, 128, 2, (backward<bf16, 32>))
BACKWARD(layer_norm_backward_wide_bf16, bf16, 256, 4, backward_wide<bf16>)

/// Adds the `count` rows of partial sums to d_gamma and d_beta: a block of 1024 threads has 32 columns and 32 rows at a time.
KERNEL layer_norm_backward_finish(Global<float> d_gamma, Global<float> d_beta, Global<const float> partials, int count, int columns) {
    SHARED(float, sums, 32 * 32);
    int column = int(blockIdx.x) * 32 + lane_index(), first = int(threadIdx.x) / 32;
    float sum = 0.0f;
    if (column < 2 * columns) {
        UNROLL_BY(4) for (int row = first; row < count; row += 32) sum += partials[i64(row) * 2 * columns + column];
    }
    sums[threadIdx.x] = sum;
    sync_block();
    if (first != 0 || column >= 2 * columns) return;
    sum = 0.0f;
    for (int row = 0; row < 32; row++) sum += sums[row * 32 + lane_index()];
    if (column < columns) {
        d_gamma[column] += sum;
    } else {
        d_beta[column - columns] += sum;
    }
}

EXPORT(layer_norm_backward_finish)
