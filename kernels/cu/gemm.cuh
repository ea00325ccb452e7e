// What the matrix products of every tier share: the order of tiles, and what is made of a sum before it is stored.
//
// A block computes one tile of sums in registers. It then passes them through shared memory, a slab of rows at a time, so
// that each thread finishes eight neighbouring columns: 16-byte accesses, whole lines of memory, and one short loop of
// epilogue code instead of one copy for each register.
#pragma once
#include "activation.cuh"
#include "vectors.cuh"

/// Columns that a thread finishes at once.
constexpr int LANE_COLUMNS = 8;

// ---- tiles ------------------------------------------------------------------------------------------------------------

struct Tile {
    int row, column;
};

/// The place of a block's tile in a grid of `rows` by `columns` tiles: groups of 8 rows, each column by column, so that
/// blocks that run at the same time share rows of one operand and columns of the other in the second-level cache.
DEVICE Tile tile_at(int index, int rows, int columns) {
    const int group = 8;
    int first = index / (group * columns) * group;
    int height = rows - first < group ? rows - first : group;
    int within = index - first * columns;
    return Tile{first + within % height, within / height};
}

DEVICE int tiles_of(int extent, int tile) { return (extent + tile - 1) / tile; }

// ---- eight neighbouring elements ----------------------------------------------------------------------------------------

typedef Vec<float, LANE_COLUMNS> Lane;
/// The same as they lie in memory.
template <class T>
using Raw = Vec<T, LANE_COLUMNS>;

/// Elements `index` to `index + count` of a matrix; zeros up to eight. `aligned`: index is a multiple of eight.
template <class T>
DEVICE Raw<T> load_raw(Global<const T> from, i64 index, int count, bool aligned) {
    if (aligned && count >= LANE_COLUMNS) return load<LANE_COLUMNS>(from, index);
    Raw<T> result;
    UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
        result.v[i] = from_float<T>(0.0f);
        if (i < count) result.v[i] = from[index + i];
    }
    return result;
}

template <class T>
DEVICE Lane load_lane(Global<const T> from, i64 index, int count, bool aligned) {
    return to_floats(load_raw<T>(from, index, count, aligned));
}

/// The counterpart of load_lane.
template <class T>
DEVICE void store_lane(Global<T> to, i64 index, int count, bool aligned, const Lane& values) {
    Raw<T> raw = FromFloats<T, LANE_COLUMNS>::of(values);
    if (aligned && count >= LANE_COLUMNS) {
        store<LANE_COLUMNS>(to, index, raw);
    } else {
        UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
            if (i < count) to[index + i] = raw.v[i];
        }
    }
}

/// `values = f(values)`. The kind is asked for once, so that the eight computations overlap.
template <int KIND>
DEVICE void activate_as(Lane& values) {
    UNROLL for (int i = 0; i < LANE_COLUMNS; i++) values.v[i] = activation(KIND, values.v[i]);
}
DEVICE void activate(Lane& values, int kind) {
    switch (kind) {
        case ACTIVATION_GELU_ERF:
            return activate_as<ACTIVATION_GELU_ERF>(values);
        case ACTIVATION_GELU_TANH:
            return activate_as<ACTIVATION_GELU_TANH>(values);
        case ACTIVATION_RELU:
            return activate_as<ACTIVATION_RELU>(values);
        default:
            return activate_as<ACTIVATION_TANH>(values);
    }
}

/// `values = values f'(inner)`.
template <int KIND>
DEVICE void times_slope_as(Lane& values, const Lane& inner) {
    UNROLL for (int i = 0; i < LANE_COLUMNS; i++) values.v[i] *= activation_slope(KIND, inner.v[i]);
}
DEVICE void times_slope(Lane& values, const Lane& inner, int kind) {
    switch (kind) {
        case ACTIVATION_GELU_ERF:
            return times_slope_as<ACTIVATION_GELU_ERF>(values, inner);
        case ACTIVATION_GELU_TANH:
            return times_slope_as<ACTIVATION_GELU_TANH>(values, inner);
        case ACTIVATION_RELU:
            return times_slope_as<ACTIVATION_RELU>(values, inner);
        default:
            return times_slope_as<ACTIVATION_TANH>(values, inner);
    }
}

/// `values` times the dropout factors of elements `index` on.
DEVICE void drop_lane(Lane& values, const DropoutMask& mask, u64 index) {
    if (mask.threshold == 0) return;
    if (index % 4 == 0) {
        UNROLL for (int part = 0; part < LANE_COLUMNS; part += 4) {
            Vec<u32, 4> words = philox_block(mask, (index + part) / 4);
            UNROLL for (int i = 0; i < 4; i++) values.v[part + i] *= words.v[i] >= mask.threshold ? mask.scale : 0.0f;
        }
    } else {
        UNROLL for (int i = 0; i < LANE_COLUMNS; i++) values.v[i] *= dropout_factor(mask, index + i);
    }
}

DEVICE void add_lane(Lane& values, const Lane& more) {
    UNROLL for (int i = 0; i < LANE_COLUMNS; i++) values.v[i] += more.v[i];
}

// ---- epilogues: what becomes of eight sums -------------------------------------------------------------------------------
//
// `fetch` reads the other operand, long before `finish` needs it. Both take a place within the matrix.

/// `y = drop(f(sums + bias)) + residual`, and `inner = sums + bias`; `inner` and `residual` may be null.
template <class T>
struct ForwardEnd {
    typedef Raw<T> Operand;
    Global<T> y;
    Global<T> inner;
    Global<const float> bias;
    Global<const T> residual;
    int columns, kind;
    DropoutMask mask;

    DEVICE Operand fetch(int row, int column) const {
        if (!residual) return Operand{};
        return load_raw<T>(residual, i64(row) * columns + column, columns - column, columns % LANE_COLUMNS == 0);
    }
    DEVICE void finish(int row, int column, const Lane& product, const Operand& operand) const {
        int count = columns - column;
        bool aligned = columns % LANE_COLUMNS == 0;
        i64 index = i64(row) * columns + column;
        Lane sums = product;
        add_lane(sums, load_lane<float>(bias, column, count, true));
        if (kind != ACTIVATION_NONE) {
            if (inner) store_lane<T>(inner, index, count, aligned, sums);
            activate(sums, kind);
        }
        drop_lane(sums, mask, u64(index));
        if (residual) add_lane(sums, to_floats(operand));
        store_lane<T>(y, index, count, aligned, sums);
    }
};

/// `d_x = sums + other`, or with an activation `d_x = sums f'(other)`; `other` may be null.
template <class T>
struct InputEnd {
    typedef Raw<T> Operand;
    Global<T> d_x;
    Global<const T> other;
    int columns, kind;

    DEVICE Operand fetch(int row, int column) const {
        if (!other) return Operand{};
        return load_raw<T>(other, i64(row) * columns + column, columns - column, columns % LANE_COLUMNS == 0);
    }
    DEVICE void finish(int row, int column, const Lane& product, const Operand& operand) const {
        Lane sums = product;
        if (kind != ACTIVATION_NONE) {
            times_slope(sums, to_floats(operand), kind);
        } else if (other) {
            add_lane(sums, to_floats(operand));
        }
        store_lane<T>(d_x, i64(row) * columns + column, columns - column, columns % LANE_COLUMNS == 0, sums);
    }
};

/// `d_w += sums`, or `d_w = sums` where d_w is one of the partial sums of a split product.
struct WeightsEnd {
    typedef Raw<float> Operand;
    Global<float> d_w;
    int columns;
    bool add;

    DEVICE Operand fetch(int row, int column) const {
        if (!add) return Operand{};
        return load_raw<float>(d_w, i64(row) * columns + column, columns - column, columns % LANE_COLUMNS == 0);
    }
    DEVICE void finish(int row, int column, const Lane& product, const Operand& operand) const {
        Lane sums = product;
        if (add) add_lane(sums, operand);
        store_lane<float>(d_w, i64(row) * columns + column, columns - column, columns % LANE_COLUMNS == 0, sums);
    }
};

/// Finishes a slab of `ROWS` by `COLUMNS` sums in shared memory, rows `PITCH` apart, with `THREADS` threads. Row r of the slab
/// that begins at (row, column) is row `row + r / RUN * STRIDE + r % RUN` of the matrix. The operands of `BATCH` lanes are
/// fetched together: more hide more of memory's latency and take more registers.
template <int ROWS, int COLUMNS, int PITCH, int RUN, int STRIDE, int THREADS, int BATCH, class End>
DEVICE void finish_slab(Shared<float> slab, int thread, int row, int column, int rows, const End& end) {
    constexpr int LANES = COLUMNS / LANE_COLUMNS;
    static_assert(ROWS * LANES % (THREADS * BATCH) == 0, "every thread finishes as many");
    UNROLL_BY(1) for (int first = thread; first < ROWS * LANES; first += THREADS * BATCH) {
        typename End::Operand operands[BATCH];
        UNROLL for (int i = 0; i < BATCH; i++) {
            int item = first + i * THREADS, in_slab = item / LANES;
            int r = row + in_slab / RUN * STRIDE + in_slab % RUN, c = column + item % LANES * LANE_COLUMNS;
            if (r < rows && c < end.columns) operands[i] = end.fetch(r, c);
        }
        UNROLL for (int i = 0; i < BATCH; i++) {
            int item = first + i * THREADS, in_slab = item / LANES;
            int r = row + in_slab / RUN * STRIDE + in_slab % RUN, c = column + item % LANES * LANE_COLUMNS;
            if (r >= rows || c >= end.columns) continue;
            int from = in_slab * PITCH + item % LANES * LANE_COLUMNS;
            Vec<float, 4> left = load<4>(slab, from), right = load<4>(slab, from + 4);
            Lane sums;
            UNROLL for (int k = 0; k < 4; k++) {
                sums.v[k] = left.v[k];
                sums.v[k + 4] = right.v[k];
            }
            end.finish(r, c, sums, operands[i]);
        }
    }
}
