// What the matrix products of every tier share: the order of tiles, and what is made of a sum before it is stored.
//
// A block computes one tile of sums in registers. It then passes them through shared memory, a slab of rows at a time, so
// that each thread finishes eight neighbouring columns: 16-byte accesses, whole lines of memory, and one short loop of
// epilogue code instead of one copy for each register.
#pragma once
#include "activation.cuh"

#ifndef UNROLL
#ifdef STEPSYNTH_EMULATOR
#define UNROLL
#define BOUNDS(threads, blocks)
#else
#define UNROLL _Pragma("unroll")
#define BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#endif
#endif

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

/// Elements `index` to `index + count` of a matrix; zeros up to eight. `aligned`: index is a multiple of eight.
template <class T>
DEVICE Lane load_lane(Global<const T> from, i64 index, int count, bool aligned) {
    Lane result;
    if (aligned && count == LANE_COLUMNS) {
        constexpr int width = 16 / sizeof(T);
        UNROLL for (int part = 0; part < LANE_COLUMNS; part += width) {
            Vec<T, width> values = load<width>(from, index + part);
            UNROLL for (int i = 0; i < width; i++) result.v[part + i] = to_float(values.v[i]);
        }
    } else {
        UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
            result.v[i] = 0.0f;
            if (i < count) {
                T value = from[index + i];
                result.v[i] = to_float(value);
            }
        }
    }
    return result;
}

/// The counterpart of load_lane.
template <class T>
DEVICE void store_lane(Global<T> to, i64 index, int count, bool aligned, const Lane& values) {
    if (aligned && count == LANE_COLUMNS) {
        constexpr int width = 16 / sizeof(T);
        UNROLL for (int part = 0; part < LANE_COLUMNS; part += width) {
            Vec<T, width> piece;
            UNROLL for (int i = 0; i < width; i++) piece.v[i] = from_float<T>(values.v[part + i]);
            store<width>(to, index + part, piece);
        }
    } else {
        UNROLL for (int i = 0; i < LANE_COLUMNS; i++) {
            if (i < count) to[index + i] = from_float<T>(values.v[i]);
        }
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
        for (int i = 0; i < LANE_COLUMNS; i++) values.v[i] *= dropout_factor(mask, index + i);
    }
}

// ---- epilogues: what becomes of eight sums -------------------------------------------------------------------------------

/// `y = drop(f(sums + bias)) + residual`, and `inner = sums + bias`; `inner` and `residual` may be null.
template <class T>
struct ForwardEnd {
    Global<T> y;
    Global<T> inner;
    Global<const float> bias;
    Global<const T> residual;
    int columns, kind;
    DropoutMask mask;

    DEVICE void finish(int row, int column, const Lane& product) const {
        Lane sums = product;
        int count = columns - column < LANE_COLUMNS ? columns - column : LANE_COLUMNS;
        bool aligned = columns % LANE_COLUMNS == 0;
        i64 index = i64(row) * columns + column;
        Lane added = load_lane<float>(bias, column, count, true);
        UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] += added.v[i];
        if (kind != ACTIVATION_NONE) {
            if (inner) store_lane<T>(inner, index, count, aligned, sums);
            UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] = activation(kind, sums.v[i]);
        }
        drop_lane(sums, mask, u64(index));
        if (residual) {
            Lane other = load_lane<T>(residual, index, count, aligned);
            UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] += other.v[i];
        }
        store_lane<T>(y, index, count, aligned, sums);
    }
};

/// `d_x = sums + other`, or with an activation `d_x = sums f'(other)`; `other` may be null.
template <class T>
struct InputEnd {
    Global<T> d_x;
    Global<const T> other;
    int columns, kind;

    DEVICE void finish(int row, int column, const Lane& product) const {
        Lane sums = product;
        int count = columns - column < LANE_COLUMNS ? columns - column : LANE_COLUMNS;
        bool aligned = columns % LANE_COLUMNS == 0;
        i64 index = i64(row) * columns + column;
        if (other) {
            Lane operand = load_lane<T>(other, index, count, aligned);
            if (kind == ACTIVATION_NONE) {
                UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] += operand.v[i];
            } else {
                UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] *= activation_slope(kind, operand.v[i]);
            }
        }
        store_lane<T>(d_x, index, count, aligned, sums);
    }
};

/// `d_w += sums`, or `d_w = sums` where d_w is one of the partial sums of a split product.
struct WeightsEnd {
    Global<float> d_w;
    int columns;
    bool add;

    DEVICE void finish(int row, int column, const Lane& product) const {
        Lane sums = product;
        int count = columns - column < LANE_COLUMNS ? columns - column : LANE_COLUMNS;
        bool aligned = columns % LANE_COLUMNS == 0;
        i64 index = i64(row) * columns + column;
        if (add) {
            Lane old = load_lane<float>(d_w, index, count, aligned);
            UNROLL for (int i = 0; i < LANE_COLUMNS; i++) sums.v[i] += old.v[i];
        }
        store_lane<float>(d_w, index, count, aligned, sums);
    }
};

/// Finishes a slab of `ROWS` by `COLUMNS` sums that lie in shared memory, rows `PITCH` apart, with `THREADS` threads. Row r of the slab is row
/// `first_row + r / GROUP * STRIDE + r % GROUP` of the matrix of `rows` by `end.columns`.
template <int ROWS, int COLUMNS, int PITCH, int GROUP, int STRIDE, int THREADS, class End>
DEVICE void finish_slab(Shared<float> slab, int thread, int first_row, int first_column, int rows, const End& end) {
    constexpr int lanes = COLUMNS / LANE_COLUMNS;
    for (int item = thread; item < ROWS * lanes; item += THREADS) {
        int r = item / lanes, c = item % lanes * LANE_COLUMNS;
        int row = first_row + r / GROUP * STRIDE + r % GROUP, column = first_column + c;
        if (row >= rows || column >= end.columns) continue;
        Vec<float, 4> left = load<4>(slab, r * PITCH + c), right = load<4>(slab, r * PITCH + c + 4);
        end.finish(row, column, Lane{{left.v[0], left.v[1], left.v[2], left.v[3], right.v[0], right.v[1], right.v[2], right.v[3]}});
    }
}
