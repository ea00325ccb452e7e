// Linear layers with at most 16 outputs: the students' heads. A tile of 64 columns would waste nearly all of its work.
//
// Shapes: x (rows, inputs), w (outputs, inputs) in f32, logits and d_y (rows, outputs) in f32. Weights stay in f32 and in the
// first-level cache. Bound by memory: forward and d_w read x once for each four outputs, d_x is written once.
//
// Tried: this version only; not yet timed on a device.
#include "gemm.cuh"

constexpr int WARPS = 8;
/// Outputs that share one pass over x.
constexpr int PASS = 4;

/// `y[n, o] = x[n] . w[o] + bias[o]`: a warp a row, lanes side by side along the inputs. Grid strides by rows.
template <class T>
DEVICE void head(Global<float> y, Global<const T> x, Global<const float> w, Global<const float> bias, int rows, int outputs,
                 int inputs) {
    int lane = int(threadIdx.x) % 32;
    bool aligned = inputs % LANE_COLUMNS == 0;
    for (i64 row = i64(blockIdx.x) * WARPS + threadIdx.x / 32; row < rows; row += i64(gridDim.x) * WARPS) {
        for (int first = 0; first < outputs; first += PASS) {
            float sums[PASS] = {0.0f, 0.0f, 0.0f, 0.0f};
            for (int column = lane * LANE_COLUMNS; column < inputs; column += 32 * LANE_COLUMNS) {
                int count = inputs - column < LANE_COLUMNS ? inputs - column : LANE_COLUMNS;
                Lane values = load_lane<T>(x, row * inputs + column, count, aligned);
                UNROLL for (int o = 0; o < PASS; o++) {
                    if (first + o >= outputs) break;
                    Lane weights = load_lane<float>(w, i64(first + o) * inputs + column, count, aligned);
                    UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums[o] += values.v[i] * weights.v[i];
                }
            }
            UNROLL for (int o = 0; o < PASS; o++) {
                float sum = warp_sum(sums[o]);
                if (lane == o && first + o < outputs) y[row * outputs + first + o] = sum + bias[first + o];
            }
        }
    }
}

/// `d_x = d_y w`, and what InputEnd makes of it: eight columns a thread. Grid strides by pieces of rows.
template <class T>
DEVICE void head_input(Global<const float> d_y, Global<const float> w, int rows, int outputs, const InputEnd<T>& end) {
    int inputs = end.columns, lanes = (inputs + LANE_COLUMNS - 1) / LANE_COLUMNS;
    bool aligned = inputs % LANE_COLUMNS == 0;
    i64 stride = i64(gridDim.x) * blockDim.x;
    for (i64 item = i64(blockIdx.x) * blockDim.x + threadIdx.x; item < i64(rows) * lanes; item += stride) {
        int row = int(item / lanes), column = int(item % lanes) * LANE_COLUMNS;
        int count = inputs - column < LANE_COLUMNS ? inputs - column : LANE_COLUMNS;
        typename InputEnd<T>::Operand operand = end.fetch(row, column);
        Lane sums{};
        for (int o = 0; o < outputs; o++) {
            float gradient = d_y[i64(row) * outputs + o];
            Lane weights = load_lane<float>(w, i64(o) * inputs + column, count, aligned);
            UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] += gradient * weights.v[i];
        }
        end.finish(row, column, sums, operand);
    }
}

/// `parts[chunk, o, i] = sum of d_y[n, o] x[n, i]` over the rows n of a chunk of `length`, for eight columns i a lane; the
/// warps of a block have every eighth row each. Grid: (inputs / 256, chunks, outputs / PASS).
template <class T>
DEVICE void head_weights(Global<float> parts, Global<const float> d_y, Global<const T> x, int rows, int outputs, int inputs,
                         int length) {
    SHARED(float, memory, WARPS * 32 * LANE_COLUMNS);
    int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    int column = (int(blockIdx.x) * 32 + lane) * LANE_COLUMNS, output = int(blockIdx.z) * PASS;
    int count = inputs - column < LANE_COLUMNS ? inputs - column : LANE_COLUMNS;
    bool aligned = inputs % LANE_COLUMNS == 0;
    int first = int(blockIdx.y) * length, end = first + length < rows ? first + length : rows;
    Lane sums[PASS] = {};
    if (count > 0) {
        for (int row = first + warp; row < end; row += WARPS) {
            Lane values = load_lane<T>(x, i64(row) * inputs + column, count, aligned);
            UNROLL for (int o = 0; o < PASS; o++) {
                if (output + o >= outputs) break;
                float gradient = d_y[i64(row) * outputs + output + o];
                UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums[o].v[i] += gradient * values.v[i];
            }
        }
    }
    UNROLL for (int o = 0; o < PASS; o++) {
        sync_block();
        UNROLL for (int i = 0; i < LANE_COLUMNS; i++) memory[(warp * LANE_COLUMNS + i) * 32 + lane] = sums[o].v[i];
        sync_block();
        if (warp == 0 && count > 0 && output + o < outputs) {
            for (int other = 1; other < WARPS; other++) {
                UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
                    float more = memory[(other * LANE_COLUMNS + i) * 32 + lane];
                    sums[o].v[i] += more;
                }
            }
            i64 to = (i64(blockIdx.y) * outputs + output + o) * inputs + column;
            store_lane<float>(parts, to, count, aligned, sums[o]);
        }
    }
}

#define HEAD(FORMAT, T)                                                                                                        \
    KERNEL BOUNDS(32 * WARPS, 4)                                                                                               \
        head_##FORMAT(Global<float> y, Global<const T> x, Global<const float> w, Global<const float> bias, int rows,           \
                      int outputs, int inputs) {                                                                               \
        head<T>(y, x, w, bias, rows, outputs, inputs);                                                                         \
    }                                                                                                                          \
    KERNEL BOUNDS(32 * WARPS, 4)                                                                                               \
        head_input_##FORMAT(Global<T> d_x, Global<const float> d_y, Global<const float> w, Global<const T> other, int rows,    \
                            int outputs, int inputs, int kind) {                                                               \
        head_input<T>(d_y, w, rows, outputs, InputEnd<T>{d_x, other, inputs, kind});                                           \
    }                                                                                                                          \
    KERNEL BOUNDS(32 * WARPS, 2)                                                                                               \
        head_weights_##FORMAT(Global<float> parts, Global<const float> d_y, Global<const T> x, int rows, int outputs,          \
                              int inputs, int length) {                                                                        \
        head_weights<T>(parts, d_y, x, rows, outputs, inputs, length);                                                         \
    }                                                                                                                          \
    EXPORT(head_##FORMAT)                                                                                                      \
    EXPORT(head_input_##FORMAT)                                                                                                \
    EXPORT(head_weights_##FORMAT)

HEAD(f32, float)
HEAD(bf16, bf16)
