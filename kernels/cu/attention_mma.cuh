// The pieces of attention_mma.cu: a warp's rows as fragments, tiles of the other side in shared memory, words of dropout in the
// layout of the results. Lanes of a warp are 4 g + t, as in mma.cuh.
#pragma once

#include "attention.cuh"
#include "mma.cuh"

namespace {

constexpr int THREADS = 32 * WARPS;
/// Rows of a warp, and of a group of the other side.
constexpr int GROUP_ROWS = 16;
/// Rows of the other side in a buffer, over all heads of the block.
constexpr int TILE = 64;

/// What the launch says of the layout.
struct Shape {
    int sequences, heads;
};

/// Two numbers as bf16 in a register, `low` in the lower half.
DEVICE u32 pack(float low, float high) {
#if !defined(STEPSYNTH_EMULATOR) && __CUDA_ARCH__ >= 800
    u32 bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
#else
    bf16 lower = to_bf16(low), upper = to_bf16(high);
    return u32(upper.bits) << 16 | lower.bits;
#endif
}
DEVICE float low_of(u32 pair) { return float_of_bits(pair << 16); }
DEVICE float high_of(u32 pair) { return float_of_bits(pair & 0xffff0000u); }

/// Writes two pairs in one store; the compiler does not always join stores of structs.
DEVICE void store_pairs(Global<bf16> to, i64 index, u32 low, u32 high) {
#ifdef STEPSYNTH_EMULATOR
    store<4>(to, index, Vec<bf16, 4>{{{u16(low)}, {u16(low >> 16)}, {u16(high)}, {u16(high >> 16)}}});
#else
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to + index)), "r"(low), "r"(high) : "memory");
#endif
}

/// Where the 16-byte piece `piece` of row `row` lies in a buffer of rows of D values.
template <int D>
DEVICE int place(int row, int piece) {
    constexpr int PIECES = D / 8;
    // Eight rows at one piece: eight different 16-byte columns of the 128 bytes that the banks hold.
    return row * D + (piece ^ (row / (8 / PIECES) % PIECES)) * 8;
}

/// A warp's rows: lanes 4 g + t hold columns 2 t and 2 t + 1 of every eight, of rows g (half 0) and g + 8 (half 1).
struct Rows {
    int lane, t;
    int head;
    /// First row of the warp and row g, within the sequence.
    int first, row;
    /// Rows of the sequence from row g on; none where the head is not there.
    int left;
    /// Whether the warp has any row.
    bool any;
    /// First row in the buffers that is of this warp's head.
    int slot;
    /// Number of (row g, head) in a tensor (N, H), and from there to row g + 8.
    int cell, step;

    DEVICE Rows(const Work& work, const Shape& shape) {
        int warp = threadIdx.x / 32;
        lane = threadIdx.x % 32;
        t = lane % 4;
        head = work.head + (warp >> work.log_warps);
        first = work.first + (warp & ((1 << work.log_warps) - 1)) * GROUP_ROWS;
        row = first + lane / 4;
        left = head < shape.heads ? work.length - row : 0;
        any = head < shape.heads && first < work.length;
        slot = (warp >> work.log_warps) * (GROUP_ROWS << work.log_warps);
        cell = (work.begin + row) * shape.heads + head;
        step = 8 * shape.heads;
    }
    DEVICE bool valid(int half) const { return 8 * half < left; }
    DEVICE int cell_of(int half) const { return cell + half * step; }
    /// Where the row begins in a tensor (N, C), and in one (N, 3 C), part `part`.
    template <int D>
    DEVICE i64 at(int half) const {
        return i64(cell_of(half)) * D;
    }
    template <int D>
    DEVICE i64 at(int half, int part, const Work& work, const Shape& shape) const {
        return at<D>(half) + i64(2 * (work.begin + row + 8 * half) + part) * (shape.heads * D);
    }
};

/// A warp's 16 rows of D values as left operands.
template <int D>
struct Left {
    u32 a[D / 16][4];

    /// Rows whose halves begin at `at0` and `at1`; zeros where there is none.
    DEVICE void read(Global<const bf16> from, i64 at0, i64 at1, const Rows& my) {
        UNROLL
        for (int k = 0; k < D / 16; k++) {
            UNROLL
            for (int i = 0; i < 4; i++) {
                a[k][i] = 0;
                if (my.valid(i % 2)) {
                    Vec<bf16, 2> pair = load<2>(from, (i % 2 ? at1 : at0) + 16 * k + i / 2 * 8 + 2 * my.t);
                    a[k][i] = u32(pair.v[1].bits) << 16 | pair.v[0].bits;
                }
            }
        }
    }
};

/// A warp's 16 rows of D sums.
template <int D>
struct Sums {
    float c[D / 8][4];

    DEVICE void clear() {
        UNROLL
        for (int n = 0; n < D / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) c[n][i] = 0.0f;
        }
    }
    /// Half of the rows, which begin at `at`, times a factor.
    DEVICE void write(Global<bf16> to, i64 at, int half, float factor, const Rows& my) const {
        bool odd = my.t % 2 != 0;
        UNROLL
        for (int n = 0; n < D / 8; n += 2) {
            u32 left = pack(c[n][2 * half] * factor, c[n][2 * half + 1] * factor);
            u32 right = pack(c[n + 1][2 * half] * factor, c[n + 1][2 * half + 1] * factor);
            // Neighbours swap, so that a lane has four columns in a row and the warp's store whole sectors of 32 bytes.
            u32 other = shuffle_xor(odd ? left : right, 1);
            u32 low = odd ? other : left, high = odd ? right : other;
            int column = 8 * (n + (odd ? 1 : 0)) + my.t / 2 * 4;
            if (my.valid(half)) store_pairs(to, at + column, low, high);
        }
    }
};

/// Starts the copies of rows `first` and on of the block's heads: 16 warps-a-head rows of each head, zeros where there are
/// none. `stride` is the length of a packed row, `offset` where the heads begin in it.
template <int D>
DEVICE void stage(Shared<bf16> to, Global<const bf16> from, i64 stride, int offset, int first, const Work& work,
                  const Shape& shape) {
    // A round of the block's threads fills ROWS rows; what rounds differ by is the same for all threads.
    constexpr int PIECES = D / 8, ROWS = THREADS / PIECES;
    int log_rows = 4 + work.log_warps, rest = (1 << log_rows) - 1;
    int slot = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
    int head = work.head + (slot >> log_rows), row = first + (slot & rest);
    int target = place<D>(slot, piece);
    i64 at = (work.begin + row) * stride + offset + head * D + piece * 8;
    UNROLL
    for (int slots = 0; slots < TILE; slots += ROWS) {
        int heads = slots >> log_rows, rows = slots & rest;
        bool inside = head + heads < shape.heads && row + rows < work.length;
        cp_async_16<bf16>(to, target + slots * D, from, at + rows * stride + heads * D, inside);
    }
}

/// c += left rows^T for 16 rows of a buffer: c[n] is 16 x 8, the sums over D columns.
template <int D>
DEVICE void multiply_rows(float (&c)[2][4], const Left<D>& left, Shared<bf16> rows, int slot, int lane) {
    UNROLL
    for (int k = 0; k < D / 16; k++) {
        u32 b[4];
        ldmatrix_x4<bf16>(b, rows, place<D>(slot + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        u32 first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
        mma_m16n8k16(c[0], left.a[k], first);
        mma_m16n8k16(c[1], left.a[k], second);
    }
}

/// sums += a rows, with a (16 x 16) and 16 rows of a buffer.
template <int D>
DEVICE void accumulate(Sums<D>& sums, const u32 (&a)[4], Shared<bf16> rows, int slot, int lane) {
    UNROLL
    for (int n = 0; n < D / 16; n++) {
        u32 b[4];
        ldmatrix_x4_trans<bf16>(b, rows, place<D>(slot + lane % 16, 2 * n + lane / 16));
        u32 first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
        mma_m16n8k16(sums.c[2 * n], a, first);
        mma_m16n8k16(sums.c[2 * n + 1], a, second);
    }
}

/// Two results of 16 x 8 as one left operand.
DEVICE void to_left(u32 (&a)[4], const float (&c)[2][4]) {
    UNROLL
    for (int i = 0; i < 4; i++) a[i] = pack(c[i / 2][i % 2 * 2], c[i / 2][i % 2 * 2 + 1]);
}

/// Which probabilities of `COUNT` times 8 keys are kept: bit 4 n + i of word `half` is this lane's column i (0 or 1) of result n,
/// row `half`. `key` is the first key.
template <int COUNT>
DEVICE void kept_keys(u32 (&kept)[2], const DropoutMask& mask, int key, const Rows& my) {
    int odd = my.t % 2;
    u64 from = u64(my.cell_of(odd)) * DROPOUT_KEYS + u64(key + my.t / 2 * 4);
    u32 bits = 0;
    UNROLL
    for (int n = 0; n < COUNT; n++) bits |= kept_of_block(mask, from + 8 * n) << (4 * n);
    u32 others = shuffle_xor(bits, 1);
    kept[0] = (odd ? others : bits) >> (2 * odd);
    kept[1] = (odd ? bits : others) >> (2 * odd);
}
DEVICE bool is_kept(const u32 (&kept)[2], int n, int i) { return (kept[i / 2] >> (4 * n + i % 2) & 1u) != 0; }

/// The same for 16 keys (rows) and the queries `query` to `query + 15` (columns): bit 8 i + 4 n + g % 4 is c[n][i].
DEVICE u32 kept_queries(const DropoutMask& mask, const Work& work, const Shape& shape, int query, const Rows& my) {
    // Of four keys and their neighbours eight rows on, and two queries, this lane takes one block.
    int quarter = my.lane / 4 % 4;
    int key = my.first + my.lane / 16 * 4 + quarter / 2 * 8;
    u32 bits = 0;
    UNROLL
    for (int n = 0; n < 2; n++) {
        int row = work.begin + query + 8 * n + 2 * my.t + quarter % 2;
        bits |= kept_of_block(mask, dropout_row(row, my.head, shape.heads) + u64(key)) << (4 * n);
    }
    bits <<= 8 * quarter;
    bits |= shuffle_xor(bits, 4);
    return bits | shuffle_xor(bits, 8);
}

}  // namespace
