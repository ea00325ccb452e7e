// Linear layers without tensor cores: y = x w^T (NT), d_x = d_y w (NN), d_w = d_y^T x (TN), sums in f32.
//
// Shapes: x (rows, inputs), w (outputs, inputs), y and d_y (rows, outputs), all row-major. Any sizes; 16-byte loads where a
// matrix's rows are multiples of 16 bytes. The f32 precision takes this path on every device, the bf16 precision where there
// is no mma.sync, or rows are not multiples of 16 bytes.
//
// Bound by FMA: a step of the depth is 4 16-byte loads from shared memory a thread for 64 FMA (8 x 8 sums a thread), so the
// shared-memory pipe is at half of its rate. Tiles of 128 x 128 by 256 threads, or 64 x 64 by 64 threads where the product
// has few tiles. Shared memory holds both operands depth-major in f32, twice: while one slice is multiplied, the next
// is on its way through registers, one barrier a slice.
//
// Tried: this version only; not yet timed on a device.
#include "gemm.cuh"

/// Depth of a slice: 32 bytes of a row, the least that memory moves.
template <class T>
constexpr int SLICE = 32 / sizeof(T);

/// A slice of an operand on its way from global to shared memory: `EXTENT` rows or columns of the product by SLICE<T> of depth.
/// `DEPTH_INNER`: the depth is the contiguous dimension in global memory.
template <class T, int EXTENT, bool DEPTH_INNER, int THREADS>
struct Passage {
    static constexpr int WIDTH = 16 / sizeof(T);
    static constexpr int PITCH = EXTENT + 4;
    static constexpr int COUNT = EXTENT * SLICE<T> / WIDTH / THREADS;
    static_assert(COUNT * WIDTH * THREADS == EXTENT * SLICE<T>, "every thread moves the same number of vectors");
    Vec<T, WIDTH> held[COUNT];

    /// Offset of vector `i` of this thread within the slice: along the operand's own dimension, and along the depth.
    static DEVICE int along(int i) {
        int vector = i * THREADS + threadIdx.x;
        return DEPTH_INNER ? vector / (SLICE<T> / WIDTH) : vector % (EXTENT / WIDTH) * WIDTH;
    }
    static DEVICE int deep(int i) {
        int vector = i * THREADS + threadIdx.x;
        return DEPTH_INNER ? vector % (SLICE<T> / WIDTH) * WIDTH : vector / (EXTENT / WIDTH);
    }

    /// Reads from `(first, depth)` on; zeros beyond `extent` and `depth_end`. `stride` is that of the outer dimension.
    DEVICE void fetch(Global<const T> from, int first, int extent, int depth, int depth_end, int stride) {
        bool aligned = stride % WIDTH == 0;
        UNROLL for (int i = 0; i < COUNT; i++) {
            int a = first + along(i), d = depth + deep(i);
            int outer = DEPTH_INNER ? a : d, inner = DEPTH_INNER ? d : a;
            int outer_end = DEPTH_INNER ? extent : depth_end, inner_end = DEPTH_INNER ? depth_end : extent;
            int count = outer < outer_end ? inner_end - inner : 0;
            i64 index = i64(outer) * stride + inner;
            if (aligned && count >= WIDTH) {
                held[i] = load<WIDTH>(from, index);
            } else {
                UNROLL for (int j = 0; j < WIDTH; j++) {
                    held[i].v[j] = from_float<T>(0.0f);
                    if (j < count) held[i].v[j] = from[index + j];
                }
            }
        }
    }

    /// Writes the slice depth-major.
    DEVICE void put(Shared<float> to) const {
        UNROLL for (int i = 0; i < COUNT; i++) {
            int a = along(i), d = deep(i);
            if (DEPTH_INNER) {
                UNROLL for (int j = 0; j < WIDTH; j++) to[(d + j) * PITCH + a] = to_float(held[i].v[j]);
            } else {
                UNROLL for (int j = 0; j < WIDTH; j += 4) {
                    Vec<float, 4> piece;
                    UNROLL for (int k = 0; k < 4; k++) piece.v[k] = to_float(held[i].v[j + k]);
                    store<4>(to, d * PITCH + a + j, piece);
                }
            }
        }
    }
};

/// Sizes of the product `a b`, and the part of the depth that is this block's.
struct Product {
    int rows, columns, depth_first, depth_end;
    /// Of the outer dimension of a and of b in memory.
    int a_stride, b_stride;
};

/// One tile of a product. A block is SIDE x SIDE threads; each has sums at rows and columns 4 t .. 4 t + 3 of both halves of
/// the tile, so that the threads of a warp read neighbouring 16 bytes of shared memory.
template <class T, int SIDE, bool A_DEPTH_INNER, bool B_DEPTH_INNER, class End>
DEVICE void product(Global<const T> a, Global<const T> b, const Product& p, const End& end) {
    constexpr int THREADS = SIDE * SIDE, EXTENT = 8 * SIDE, HALF = EXTENT / 2;
    constexpr int PITCH = EXTENT + 4, BUFFER = SLICE<T> * PITCH;
    // Two slices of both operands, and later a slab of sums.
    constexpr int COUNT = 4 * BUFFER > HALF * PITCH ? 4 * BUFFER : HALF * PITCH;
    SHARED(float, memory, COUNT);

    Tile tile = tile_at(blockIdx.x, tiles_of(p.rows, EXTENT), tiles_of(p.columns, EXTENT));
    int first_row = tile.row * EXTENT, first_column = tile.column * EXTENT;
    int across = int(threadIdx.x) % SIDE * 4, down = int(threadIdx.x) / SIDE * 4;
    Passage<T, EXTENT, A_DEPTH_INNER, THREADS> from_a;
    Passage<T, EXTENT, B_DEPTH_INNER, THREADS> from_b;
    float sums[8][8];
    UNROLL for (int i = 0; i < 8; i++) {
        UNROLL for (int j = 0; j < 8; j++) sums[i][j] = 0.0f;
    }

    int buffer = 0;
    for (int depth = p.depth_first; depth < p.depth_end + SLICE<T>; depth += SLICE<T>) {
        // The slice at `depth` is fetched while the one before is multiplied.
        bool more = depth < p.depth_end, begun = depth > p.depth_first;
        if (more) {
            from_a.fetch(a, first_row, p.rows, depth, p.depth_end, p.a_stride);
            from_b.fetch(b, first_column, p.columns, depth, p.depth_end, p.b_stride);
        }
        if (begun) {
            Shared<float> slice_a = memory + buffer * 2 * BUFFER, slice_b = slice_a + BUFFER;
            UNROLL for (int d = 0; d < SLICE<T>; d++) {
                Vec<float, 4> a0 = load<4>(slice_a, d * PITCH + down), a1 = load<4>(slice_a, d * PITCH + HALF + down);
                Vec<float, 4> b0 = load<4>(slice_b, d * PITCH + across), b1 = load<4>(slice_b, d * PITCH + HALF + across);
                UNROLL for (int i = 0; i < 8; i++) {
                    float left = i < 4 ? a0.v[i & 3] : a1.v[i & 3];
                    UNROLL for (int j = 0; j < 8; j++) sums[i][j] += left * (j < 4 ? b0.v[j & 3] : b1.v[j & 3]);
                }
            }
            buffer ^= 1;
        }
        if (more) {
            Shared<float> next = memory + buffer * 2 * BUFFER;
            from_a.put(next);
            from_b.put(next + BUFFER);
        }
        sync_block();
    }

    UNROLL for (int half = 0; half < 2; half++) {
        int row = first_row + half * HALF;
        UNROLL for (int i = 0; i < 4; i++) {
            UNROLL for (int side = 0; side < 2; side++) {
                Vec<float, 4> piece;
                UNROLL for (int j = 0; j < 4; j++) piece.v[j] = sums[half * 4 + i][side * 4 + j];
                store<4>(memory, (down + i) * PITCH + side * HALF + across, piece);
            }
        }
        sync_block();
        finish_slab<HALF, EXTENT, PITCH, HALF, 0, THREADS, 2>(memory, threadIdx.x, row, first_column, p.rows, end);
        sync_block();
    }
}

// The grid is one block a tile along x; for d_w also one block a split of the rows along y.

#define FORWARD(name, T, SIDE, BLOCKS)                                                                                         \
    KERNEL BOUNDS(SIDE * SIDE, BLOCKS)                                                                                         \
        name(Global<T> y, Global<T> inner, Global<const T> x, Global<const T> w, Global<const float> bias,                     \
             Global<const T> residual, int rows, int outputs, int inputs, int kind, DropoutMask mask) {                        \
        ForwardEnd<T> end{y, inner, bias, residual, outputs, kind, mask};                                                      \
        product<T, SIDE, true, true>(x, w, Product{rows, outputs, 0, inputs, inputs, inputs}, end);                            \
    }                                                                                                                          \
    EXPORT(name)

#define INPUT(name, T, SIDE, BLOCKS)                                                                                           \
    KERNEL BOUNDS(SIDE * SIDE, BLOCKS)                                                                                         \
        name(Global<T> d_x, Global<const T> d_y, Global<const T> w, Global<const T> other, int rows, int outputs, int inputs,  \
             int kind) {                                                                                                       \
        InputEnd<T> end{d_x, other, inputs, kind};                                                                             \
        product<T, SIDE, true, false>(d_y, w, Product{rows, inputs, 0, outputs, outputs, inputs}, end);                        \
    }                                                                                                                          \
    EXPORT(name)

/// `d_w += d_y^T x`, or with several splits `d_w[split] = ...` over `length` rows each.
#define WEIGHTS(name, T, SIDE, BLOCKS)                                                                                         \
    KERNEL BOUNDS(SIDE * SIDE, BLOCKS)                                                                                         \
        name(Global<float> d_w, Global<const T> d_y, Global<const T> x, int rows, int outputs, int inputs, int length) {       \
        int first = int(blockIdx.y) * length;                                                                                  \
        WeightsEnd end{d_w + i64(blockIdx.y) * outputs * inputs, inputs, gridDim.y == 1};                                      \
        Product p{outputs, inputs, first, first + length < rows ? first + length : rows, outputs, inputs};                     \
        product<T, SIDE, false, false>(d_y, x, p, end);                                                                        \
    }                                                                                                                          \
    EXPORT(name)

FORWARD(forward_f32_128, float, 16, 2)
FORWARD(forward_f32_64, float, 8, 5)
FORWARD(forward_bf16_128, bf16, 16, 2)
FORWARD(forward_bf16_64, bf16, 8, 5)
INPUT(input_f32_128, float, 16, 2)
INPUT(input_f32_64, float, 8, 5)
INPUT(input_bf16_128, bf16, 16, 2)
INPUT(input_bf16_64, bf16, 8, 5)
WEIGHTS(weights_f32_128, float, 16, 2)
WEIGHTS(weights_f32_64, float, 8, 5)
// Two blocks would spill.
WEIGHTS(weights_bf16_128, bf16, 16, 1)
WEIGHTS(weights_bf16_64, bf16, 8, 5)
