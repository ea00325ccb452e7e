// Linear layers in bf16 on tensor cores from compute capability 8.0 on: y = x w^T (NT), d_x = d_y w (NN), d_w = d_y^T x (TN),
// sums in f32.
//
// Shapes: x (rows, inputs), w (outputs, inputs), y and d_y (rows, outputs), all row-major; the rows of every operand are
// multiples of 16 bytes (the host sends other products to gemm_portable.cu).
//
// Bound by the tensor cores for rows in the thousands: a block's tile of 128 x 128 does 64 multiplications a byte read from the
// second-level cache. Operands pass through a ring of 4 slices of 32 of depth, by cp.async; edges are filled with zeros. In
// shared memory the 16-byte pieces of a row are permuted (the exclusive or with the row's number) so that the 8 rows an
// ldmatrix reads lie in different banks, for either order of an operand. A warp has 64 x 32 sums (32 x 32 in the small tile):
// 6 ldmatrix for 16 products of 16 x 8 x 16.
//
// Tried: this version only; not yet timed on a device.
#include "gemm.cuh"
#include "mma.cuh"

/// Depth of a slice, and slices under way.
constexpr int SLICE = 32;
constexpr int RING = 4;

/// An operand's slice in shared memory: `EXTENT` rows or columns of the product by SLICE of depth, in 16-byte pieces.
/// `DEPTH_INNER`: the depth is the contiguous dimension.
template <int EXTENT, bool DEPTH_INNER>
struct Slice {
    static constexpr int SIZE = EXTENT * SLICE;

    /// Index of the piece that has element (along, deep).
    static DEVICE int piece(int along, int deep) {
        if (DEPTH_INNER) return along * SLICE + ((deep / 8) ^ (along / 2 & 3)) * 8;
        return deep * EXTENT + ((along / 8) ^ (deep & 7)) * 8;
    }

    /// Starts the copy of the slice at `(first, depth)`; zeros beyond `extent` and `depth_end`.
    template <int THREADS>
    static DEVICE void copy(Shared<bf16> to, Global<const bf16> from, int first, int extent, int depth, int depth_end,
                            int stride) {
        UNROLL for (int i = 0; i < SIZE / 8 / THREADS; i++) {
            int number = i * THREADS + int(threadIdx.x);
            int along = DEPTH_INNER ? number / (SLICE / 8) : number % (EXTENT / 8) * 8;
            int deep = DEPTH_INNER ? number % (SLICE / 8) * 8 : number / (EXTENT / 8);
            int a = first + along, d = depth + deep;
            i64 index = DEPTH_INNER ? i64(a) * stride + d : i64(d) * stride + a;
            cp_async_16(to, piece(along, deep), from, index, a < extent && d < depth_end);
        }
    }

    /// A 16 x 16 part of the left operand, rows from `along`.
    static DEVICE void left(u32 (&to)[4], Shared<bf16> from, int along, int deep) {
        int lane = int(threadIdx.x) % 32;
        int row = lane % 8, matrix = lane / 8;
        if (DEPTH_INNER) {
            ldmatrix_x4(to, from, piece(along + matrix % 2 * 8 + row, deep + matrix / 2 * 8));
        } else {
            ldmatrix_x4_trans(to, from, piece(along + matrix % 2 * 8, deep + matrix / 2 * 8 + row));
        }
    }

    /// Two 16 x 8 parts of the right operand, columns from `along`.
    static DEVICE void right(u32 (&to)[4], Shared<bf16> from, int along, int deep) {
        int lane = int(threadIdx.x) % 32;
        int row = lane % 8, matrix = lane / 8;
        if (DEPTH_INNER) {
            ldmatrix_x4(to, from, piece(along + matrix / 2 * 8 + row, deep + matrix % 2 * 8));
        } else {
            ldmatrix_x4_trans(to, from, piece(along + matrix / 2 * 8, deep + matrix % 2 * 8 + row));
        }
    }
};

/// Sizes of the product `a b`, and the part of the depth that is this block's.
struct Product {
    int rows, columns, depth_first, depth_end;
    /// Of the outer dimension of a and of b in memory.
    int a_stride, b_stride;
};

/// One tile of ROWS x COLUMNS of a product, by warps of WARP_ROWS x 32 sums each.
template <int ROWS, int COLUMNS, int WARP_ROWS, bool A_DEPTH_INNER, bool B_DEPTH_INNER, class End>
DEVICE void product(Global<const bf16> a, Global<const bf16> b, const Product& p, const End& end) {
    constexpr int WARP_COLUMNS = 32, ACROSS = COLUMNS / WARP_COLUMNS, DOWN = ROWS / WARP_ROWS;
    constexpr int THREADS = 32 * ACROSS * DOWN;
    constexpr int HIGH = WARP_ROWS / 16, WIDE = WARP_COLUMNS / 8;
    typedef Slice<ROWS, A_DEPTH_INNER> SliceA;
    typedef Slice<COLUMNS, B_DEPTH_INNER> SliceB;
    constexpr int STAGE = SliceA::SIZE + SliceB::SIZE;
    DYNAMIC_SHARED(memory);
    Shared<bf16> ring = carve<bf16>(memory, 0);

    Tile tile = tile_at(blockIdx.x, tiles_of(p.rows, ROWS), tiles_of(p.columns, COLUMNS));
    int first_row = tile.row * ROWS, first_column = tile.column * COLUMNS;
    int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
    int warp_down = warp / ACROSS, warp_across = warp % ACROSS;
    float sums[HIGH][WIDE][4];
    UNROLL for (int i = 0; i < HIGH; i++) {
        UNROLL for (int j = 0; j < WIDE; j++) {
            UNROLL for (int k = 0; k < 4; k++) sums[i][j][k] = 0.0f;
        }
    }

    int slices = (p.depth_end - p.depth_first + SLICE - 1) / SLICE;
    for (int slice = -(RING - 1); slice < slices; slice++) {
        // What the slice RING - 1 ahead overwrites was read by all before this barrier.
        if (slice >= 0) {
            cp_async_wait<RING - 2>();
            sync_block();
        }
        int ahead = slice + RING - 1;
        if (ahead < slices) {
            Shared<bf16> to = ring + ahead % RING * STAGE;
            int depth = p.depth_first + ahead * SLICE;
            SliceA::template copy<THREADS>(to, a, first_row, p.rows, depth, p.depth_end, p.a_stride);
            SliceB::template copy<THREADS>(to + SliceA::SIZE, b, first_column, p.columns, depth, p.depth_end, p.b_stride);
        }
        cp_async_commit();
        if (slice < 0) continue;
        Shared<bf16> slice_a = ring + slice % RING * STAGE, slice_b = slice_a + SliceA::SIZE;
        UNROLL for (int deep = 0; deep < SLICE; deep += 16) {
            u32 right[WIDE / 2][4];
            UNROLL for (int j = 0; j < WIDE / 2; j++) SliceB::right(right[j], slice_b, warp_across * WARP_COLUMNS + j * 16, deep);
            UNROLL for (int i = 0; i < HIGH; i++) {
                u32 left[4];
                SliceA::left(left, slice_a, warp_down * WARP_ROWS + i * 16, deep);
                UNROLL for (int j = 0; j < WIDE; j++) {
                    u32 pair[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
                    mma_m16n8k16(sums[i][j], left, pair);
                }
            }
        }
    }
    cp_async_wait<0>();
    sync_block();

    // Slabs of 32 rows of each warp. The pitch puts the four rows that half a warp writes at once in different banks.
    constexpr int PITCH = COLUMNS + 8;
    Shared<float> slab = carve<float>(memory, 0);
    UNROLL for (int part = 0; part < HIGH / 2; part++) {
        int row = first_row + part * 32;
        UNROLL for (int i = 0; i < 2; i++) {
            UNROLL for (int j = 0; j < WIDE; j++) {
                int at = (warp_down * 32 + i * 16 + lane / 4) * PITCH + warp_across * WARP_COLUMNS + j * 8 + lane % 4 * 2;
                const float(&four)[4] = sums[part * 2 + i][j];
                store<2>(slab, at, Vec<float, 2>{{four[0], four[1]}});
                store<2>(slab, at + 8 * PITCH, Vec<float, 2>{{four[2], four[3]}});
            }
        }
        sync_block();
        finish_slab<DOWN * 32, COLUMNS, PITCH, 32, WARP_ROWS, THREADS, 2>(slab, threadIdx.x, row, first_column, p.rows, end);
        sync_block();
    }
}

// The grid is one block a tile along x; for d_w also one block a split of the rows along y. Dynamic shared memory: RING slices
// of both operands, 64 bytes for each row and column of the tile.

#define KERNELS(ROWS, COLUMNS, WARP_ROWS, THREADS, BLOCKS)                                                                     \
    KERNEL BOUNDS(THREADS, BLOCKS) mma_forward_##ROWS##x##COLUMNS(                                                             \
        Global<bf16> y, Global<bf16> inner, Global<const bf16> x, Global<const bf16> w, Global<const float> bias,              \
        Global<const bf16> residual, int rows, int outputs, int inputs, int kind, DropoutMask mask) {                          \
        ForwardEnd<bf16> end{y, inner, bias, residual, outputs, kind, mask};                                                   \
        product<ROWS, COLUMNS, WARP_ROWS, true, true>(x, w, Product{rows, outputs, 0, inputs, inputs, inputs}, end);           \
    }                                                                                                                          \
    KERNEL BOUNDS(THREADS, BLOCKS) mma_input_##ROWS##x##COLUMNS(                                                               \
        Global<bf16> d_x, Global<const bf16> d_y, Global<const bf16> w, Global<const bf16> other, int rows, int outputs,       \
        int inputs, int kind) {                                                                                                \
        InputEnd<bf16> end{d_x, other, inputs, kind};                                                                          \
        product<ROWS, COLUMNS, WARP_ROWS, true, false>(d_y, w, Product{rows, inputs, 0, outputs, outputs, inputs}, end);       \
    }                                                                                                                          \
    /* d_w += d_y^T x, or with several splits d_w[split] = ... over `length` rows each. */                                     \
    KERNEL BOUNDS(THREADS, BLOCKS) mma_weights_##ROWS##x##COLUMNS(                                                             \
        Global<float> d_w, Global<const bf16> d_y, Global<const bf16> x, int rows, int outputs, int inputs, int length) {      \
        int first = int(blockIdx.y) * length;                                                                                  \
        WeightsEnd end{d_w + i64(blockIdx.y) * outputs * inputs, inputs, gridDim.y == 1};                                      \
        Product p{outputs, inputs, first, first + length < rows ? first + length : rows, outputs, inputs};                     \
        product<ROWS, COLUMNS, WARP_ROWS, false, false>(d_y, x, p, end);                                                       \
    }                                                                                                                          \
    EXPORT(mma_forward_##ROWS##x##COLUMNS)                                                                                     \
    EXPORT(mma_input_##ROWS##x##COLUMNS)                                                                                       \
    EXPORT(mma_weights_##ROWS##x##COLUMNS)

KERNELS(128, 128, 64, 256, 2)
KERNELS(128, 64, 64, 128, 3)
KERNELS(64, 64, 32, 128, 4)
