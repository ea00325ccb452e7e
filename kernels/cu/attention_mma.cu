// Multi-head self-attention over packed rows, forward and backward, in bf16 on tensor cores: devices from 8.0, heads of 32 or 64
// columns. Formulas and shapes are those of attention.cu; lse and delta are f32.
//
// A warp owns 16 rows (queries; keys where the gradients of keys and values are made) and keeps their side of the products as
// fragments in registers. The other side streams through two buffers of 64 rows in shared memory, filled by cp.async while the
// other one is in use, one barrier a tile; 16-byte pieces of a row are permuted so that ldmatrix meets no bank twice. What a
// product of scores gives stays in registers: rounded to bf16 it is the left operand of the next product as it lies there. Of
// the last tile only the groups of 16 rows that exist are computed.
// * Forward: s for a tile of up to 64 keys, running maximum and sum in f32, exp(s - maximum) rounded to bf16 times v.
// * d_q: for 16 keys at a time s and d_p, then d_s rounded to bf16 times k. Writes delta for the next kernel.
// * d_k, d_v: the same transposed, 16 queries at a time, so that the sums over queries need no atomics.
// A Philox block is computed by one lane and serves its four probabilities: they lie with two lanes (forward, d_q) or four
// (d_k, d_v), each of which computes its share of blocks and gives away the bits.
//
// Bound by shared memory and the exponentials rather than by products: a warp's 16 rows use an ldmatrix (4 cycles of the
// multiprocessor) for 2 products of 16 x 8 x 16, half the rate of wgmma's peak on 9.0 and all of it on 8.0; backward has 7
// products where one kernel with atomics would have 5. With dropout, Philox's 20 wide multiplications for four probabilities
// weigh more than the products, and are done three times in all.
// Versions: this one, not yet timed on a device. To try: 32 rows a warp for long sequences, which halves the ldmatrix of
// each product at twice the accumulators.
//
// What 9.0 would gain, thought through and not written: wgmma reads both operands of q k^T from shared memory and p from
// registers, so the ldmatrix traffic goes and the bound becomes the exponentials: 64 keys x 64 rows are 4096 of them, 256 cycles
// of the 16-a-cycle unit, against 2 x 128 cycles of products at D = 64. To hide one behind the other takes two consumer
// warpgroups of 64 query rows each that alternate (one in softmax while the other's products run) and a producer warp that issues
// TMA loads of K and V tiles of 128 keys into a ring of 2 to 3 stages with full and empty mbarriers. Ragged sequences need no
// tensor map each: one map over (N, 3C) serves, a tile that runs past the end of its sequence reads rows of the next one, which
// the mask of keys sets to zero probability (values must be finite or be masked too), and outputs past the end are written by
// plain stores under a predicate. That pays from some 128 rows on; below, this file's tiles of 16 rows are the better shape.
#include "attention_mma.cuh"

namespace {

template <int D, int LOG_WARPS, bool DROPOUT>
DEVICE void forward_rows(Global<bf16> out, Global<float> lse, Global<const bf16> qkv, Shared<bf16> buffers, const Work& work,
                         const Shape& shape, float scale, const DropoutMask& mask) {
    constexpr int GROUPS = 1 << LOG_WARPS, KEYS = GROUP_ROWS * GROUPS;
    Rows my(work, shape);
    int hidden = shape.heads * D;
    i64 stride = 3 * i64(hidden);
    stage<D>(buffers, qkv, stride, hidden, 0, work, shape);
    stage<D>(buffers + TILE * D, qkv, stride, 2 * hidden, 0, work, shape);
    cp_async_commit();
    Left<D> q;
    q.read(qkv, my.at<D>(0, 0, work, shape), my.at<D>(1, 0, work, shape), my);
    Sums<D> sums;
    sums.clear();
    // From a score to the power of two whose exponential it is.
    float unit = scale * LOG2_E;
    float maximum[2] = {-infinity(), -infinity()}, denominator[2] = {0.0f, 0.0f};
    int turn = 0;
    for (int first = 0; first < work.length; first += KEYS) {
        cp_async_wait<0>();
        sync_block();
        Shared<bf16> keys = buffers + turn * (2 * TILE * D), values = keys + TILE * D;
        turn ^= 1;
        if (first + KEYS < work.length) {
            Shared<bf16> next = buffers + turn * (2 * TILE * D);
            stage<D>(next, qkv, stride, hidden, first + KEYS, work, shape);
            stage<D>(next + TILE * D, qkv, stride, 2 * hidden, first + KEYS, work, shape);
            cp_async_commit();
        }
        if (!my.any) continue;
        int left = work.length - first;
        float s[GROUPS][2][4];
        float largest[2] = {maximum[0], maximum[1]};
        UNROLL
        for (int group = 0; group < GROUPS; group++) {
            if (GROUP_ROWS * group >= left) break;
            UNROLL
            for (int i = 0; i < 8; i++) s[group][i / 4][i % 4] = 0.0f;
            multiply_rows<D>(s[group], q, keys, my.slot + GROUP_ROWS * group, my.lane);
            if (GROUP_ROWS * (group + 1) > left) {
                UNROLL
                for (int i = 0; i < 8; i++) {
                    int key = GROUP_ROWS * group + i / 4 * 8 + 2 * my.t + i % 2;
                    if (key >= left) s[group][i / 4][i % 4] = -infinity();
                }
            }
            UNROLL
            for (int i = 0; i < 8; i++) largest[i / 2 % 2] = fmaxf(largest[i / 2 % 2], s[group][i / 4][i % 4]);
        }
        float offset[2];
        UNROLL
        for (int half = 0; half < 2; half++) {
            largest[half] = fmaxf(largest[half], shuffle_xor(largest[half], 1));
            largest[half] = fmaxf(largest[half], shuffle_xor(largest[half], 2));
            float shrink = power_of_two((maximum[half] - largest[half]) * unit);
            maximum[half] = largest[half];
            offset[half] = largest[half] * unit;
            denominator[half] *= shrink;
            UNROLL
            for (int n = 0; n < D / 8; n++) {
                sums.c[n][2 * half] *= shrink;
                sums.c[n][2 * half + 1] *= shrink;
            }
        }
        u32 kept[2] = {0, 0};
        if (DROPOUT) kept_keys<2 * GROUPS>(kept, mask, first, my);
        UNROLL
        for (int group = 0; group < GROUPS; group++) {
            if (GROUP_ROWS * group >= left) break;
            float p[2][4];
            UNROLL
            for (int i = 0; i < 8; i++) {
                float power = power_of_two(s[group][i / 4][i % 4] * unit - offset[i / 2 % 2]);
                denominator[i / 2 % 2] += power;
                p[i / 4][i % 4] = !DROPOUT || is_kept(kept, 2 * group + i / 4, i % 4) ? power : 0.0f;
            }
            u32 a[4];
            to_left(a, p);
            accumulate<D>(sums, a, values, my.slot + GROUP_ROWS * group, my.lane);
        }
    }
    if (!my.any) return;
    UNROLL
    for (int half = 0; half < 2; half++) {
        float sum = denominator[half];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        if (my.valid(half) && my.t == 0) lse[my.cell_of(half)] = maximum[half] * scale + logf(sum);
        sums.write(out, my.at<D>(half), half, mask.scale / sum, my);
    }
}

template <int D, bool DROPOUT>
DEVICE void forward(Global<bf16> out, Global<float> lse, Global<const bf16> qkv, Global<const int> cu_seqlens, Shape shape,
                    float scale, const DropoutMask& mask) {
    SHARED(bf16, buffers, 4 * TILE * D);
    Work work;
    if (!find_work(work, cu_seqlens, shape.sequences, shape.heads, GROUP_ROWS, blockIdx.x, blockIdx.y)) return;
    if (work.log_warps == 2) {
        forward_rows<D, 2, DROPOUT>(out, lse, qkv, buffers, work, shape, scale, mask);
    } else if (work.log_warps == 1) {
        forward_rows<D, 1, DROPOUT>(out, lse, qkv, buffers, work, shape, scale, mask);
    } else {
        forward_rows<D, 0, DROPOUT>(out, lse, qkv, buffers, work, shape, scale, mask);
    }
}

/// Gradient of the queries, and delta for the gradients of keys and values.
template <int D>
DEVICE void d_queries(Global<bf16> d_qkv, Global<float> delta, Global<const bf16> d_out, Global<const bf16> out,
                      Global<const float> lse, Global<const bf16> qkv, Global<const int> cu_seqlens, Shape shape, float scale,
                      const DropoutMask& mask) {
    SHARED(bf16, buffers, 4 * TILE * D);
    Work work;
    if (!find_work(work, cu_seqlens, shape.sequences, shape.heads, GROUP_ROWS, blockIdx.x, blockIdx.y)) return;
    Rows my(work, shape);
    int hidden = shape.heads * D, tile = GROUP_ROWS << work.log_warps;
    i64 stride = 3 * i64(hidden);
    stage<D>(buffers, qkv, stride, hidden, 0, work, shape);
    stage<D>(buffers + TILE * D, qkv, stride, 2 * hidden, 0, work, shape);
    cp_async_commit();
    float log_sum[2] = {0.0f, 0.0f}, along[2] = {0.0f, 0.0f};
    UNROLL
    for (int half = 0; half < 2; half++) {
        if (my.valid(half)) log_sum[half] = lse[my.cell_of(half)];
        log_sum[half] *= LOG2_E;
    }
    Left<D> q, d_o;
    q.read(out, my.at<D>(0), my.at<D>(1), my);
    d_o.read(d_out, my.at<D>(0), my.at<D>(1), my);
    UNROLL
    for (int k = 0; k < D / 16; k++) {
        UNROLL
        for (int i = 0; i < 4; i++) {
            along[i % 2] += low_of(q.a[k][i]) * low_of(d_o.a[k][i]);
            along[i % 2] += high_of(q.a[k][i]) * high_of(d_o.a[k][i]);
        }
    }
    UNROLL
    for (int half = 0; half < 2; half++) {
        along[half] += shuffle_xor(along[half], 1);
        along[half] += shuffle_xor(along[half], 2);
        if (my.valid(half) && my.t == 0) delta[my.cell_of(half)] = along[half];
    }
    q.read(qkv, my.at<D>(0, 0, work, shape), my.at<D>(1, 0, work, shape), my);
    Sums<D> d_q;
    d_q.clear();
    float unit = scale * LOG2_E;
    int turn = 0;
    for (int first = 0; first < work.length; first += tile) {
        cp_async_wait<0>();
        sync_block();
        Shared<bf16> keys = buffers + turn * (2 * TILE * D), values = keys + TILE * D;
        turn ^= 1;
        if (first + tile < work.length) {
            Shared<bf16> next = buffers + turn * (2 * TILE * D);
            stage<D>(next, qkv, stride, hidden, first + tile, work, shape);
            stage<D>(next + TILE * D, qkv, stride, 2 * hidden, first + tile, work, shape);
            cp_async_commit();
        }
        if (!my.any) continue;
        for (int group = first; group < first + tile && group < work.length; group += GROUP_ROWS) {
            int slot = my.slot + group - first;
            u32 kept[2] = {0xffffffffu, 0xffffffffu};
            if (mask.threshold != 0) kept_keys<2>(kept, mask, group, my);
            float s[2][4] = {}, d_p[2][4] = {};
            multiply_rows<D>(s, q, keys, slot, my.lane);
            multiply_rows<D>(d_p, d_o, values, slot, my.lane);
            UNROLL
            for (int i = 0; i < 8; i++) {
                int n = i / 4, c = i % 4, half = c / 2;
                // A key that is not there has no probability.
                bool there = group + 8 * n + 2 * my.t + c % 2 < work.length;
                float p = there ? power_of_two(s[n][c] * unit - log_sum[half]) : 0.0f;
                float factor = is_kept(kept, n, c) ? mask.scale : 0.0f;
                s[n][c] = p * (d_p[n][c] * factor - along[half]);
            }
            u32 a[4];
            to_left(a, s);
            accumulate<D>(d_q, a, keys, slot, my.lane);
        }
    }
    if (!my.any) return;
    UNROLL
    for (int half = 0; half < 2; half++) d_q.write(d_qkv, my.at<D>(half, 0, work, shape), half, scale, my);
}

/// Gradients of keys and values: a warp's rows are keys, the other side is the queries.
template <int D>
DEVICE void d_keys(Global<bf16> d_qkv, Global<const float> delta, Global<const bf16> d_out, Global<const float> lse,
                   Global<const bf16> qkv, Global<const int> cu_seqlens, Shape shape, float scale, const DropoutMask& mask) {
    SHARED(bf16, buffers, 4 * TILE * D);
    SHARED(float, log_sums, 2 * TILE);
    SHARED(float, deltas, 2 * TILE);
    Work work;
    if (!find_work(work, cu_seqlens, shape.sequences, shape.heads, GROUP_ROWS, blockIdx.x, blockIdx.y)) return;
    Rows my(work, shape);
    int hidden = shape.heads * D, log_rows = 4 + work.log_warps, tile = 1 << log_rows;
    i64 stride = 3 * i64(hidden);
    stage<D>(buffers, qkv, stride, 0, 0, work, shape);
    stage<D>(buffers + TILE * D, d_out, hidden, 0, 0, work, shape);
    cp_async_commit();
    // This thread's row of lse or delta, on its way to shared memory while a tile is worked on. A query that is not there has
    // no probabilities.
    int slot_of_mine = threadIdx.x % TILE, head_of_mine = work.head + (slot_of_mine >> log_rows);
    bool is_delta = threadIdx.x >= TILE;
    float absent = is_delta ? 0.0f : infinity(), mine = absent;
    int row_of_mine = slot_of_mine & (tile - 1);
    if (head_of_mine < shape.heads && row_of_mine < work.length) {
        i64 at = i64(work.begin + row_of_mine) * shape.heads + head_of_mine;
        if (is_delta) {
            mine = delta[at];
        } else {
            mine = lse[at];
        }
    }
    Left<D> k, v;
    k.read(qkv, my.at<D>(0, 1, work, shape), my.at<D>(1, 1, work, shape), my);
    v.read(qkv, my.at<D>(0, 2, work, shape), my.at<D>(1, 2, work, shape), my);
    Sums<D> d_k, d_v;
    d_k.clear();
    d_v.clear();
    float unit = scale * LOG2_E;
    int turn = 0;
    for (int first = 0; first < work.length; first += tile) {
        if (is_delta) {
            deltas[turn * TILE + slot_of_mine] = mine;
        } else {
            log_sums[turn * TILE + slot_of_mine] = mine * LOG2_E;
        }
        cp_async_wait<0>();
        sync_block();
        Shared<bf16> queries = buffers + turn * (2 * TILE * D), d_outs = queries + TILE * D;
        int here = turn * TILE;
        turn ^= 1;
        if (first + tile < work.length) {
            Shared<bf16> next = buffers + turn * (2 * TILE * D);
            stage<D>(next, qkv, stride, 0, first + tile, work, shape);
            stage<D>(next + TILE * D, d_out, hidden, 0, first + tile, work, shape);
            cp_async_commit();
            row_of_mine += tile;
            mine = absent;
            if (head_of_mine < shape.heads && row_of_mine < work.length) {
                i64 at = i64(work.begin + row_of_mine) * shape.heads + head_of_mine;
                if (is_delta) {
                    mine = delta[at];
                } else {
                    mine = lse[at];
                }
            }
        }
        if (!my.any) continue;
        for (int group = first; group < first + tile && group < work.length; group += GROUP_ROWS) {
            int slot = my.slot + group - first;
            u32 kept = 0xffffffffu;
            if (mask.threshold != 0) kept = kept_queries(mask, work, shape, group, my);
            float s[2][4] = {}, d_p[2][4] = {};
            multiply_rows<D>(s, k, queries, slot, my.lane);
            multiply_rows<D>(d_p, v, d_outs, slot, my.lane);
            float p[2][4];
            UNROLL
            for (int n = 0; n < 2; n++) {
                Vec<float, 2> log_sum = load<2>(log_sums, here + slot + 8 * n + 2 * my.t);
                Vec<float, 2> along = load<2>(deltas, here + slot + 8 * n + 2 * my.t);
                UNROLL
                for (int c = 0; c < 4; c++) {
                    float probability = power_of_two(s[n][c] * unit - log_sum.v[c % 2]);
                    float factor = (kept >> (8 * c + 4 * n + my.lane / 4 % 4) & 1u) ? 1.0f : 0.0f;
                    p[n][c] = probability * factor;
                    s[n][c] = probability * (d_p[n][c] * (factor * mask.scale) - along.v[c % 2]);
                }
            }
            u32 a[4];
            to_left(a, p);
            accumulate<D>(d_v, a, d_outs, slot, my.lane);
            to_left(a, s);
            accumulate<D>(d_k, a, queries, slot, my.lane);
        }
    }
    if (!my.any) return;
    UNROLL
    for (int half = 0; half < 2; half++) {
        d_k.write(d_qkv, my.at<D>(half, 1, work, shape), half, scale, my);
        d_v.write(d_qkv, my.at<D>(half, 2, work, shape), half, mask.scale, my);
    }
}

}  // namespace

// Kernels for heads of 32 and 64 columns, forward with and without dropout: the bits cost even where all are set.
#define ATTENTION_FORWARD(NAME, D, DROPOUT, BLOCKS)                                                                            \
    KERNEL BOUNDS(THREADS, BLOCKS)                                                                                             \
    NAME(Global<bf16> out, Global<float> lse, Global<const bf16> qkv, Global<const int> cu_seqlens, int sequences, int heads,  \
         int size, float scale, DropoutMask mask) {                                                                            \
        forward<D, DROPOUT>(out, lse, qkv, cu_seqlens, {sequences, heads}, scale, mask);                                       \
    }                                                                                                                          \
    EXPORT(NAME)

#define ATTENTION_D_Q(NAME, D, BLOCKS)                                                                                         \
    KERNEL BOUNDS(THREADS, BLOCKS)                                                                                             \
    NAME(Global<bf16> d_qkv, Global<float> delta, Global<const bf16> d_out, Global<const bf16> out, Global<const float> lse,   \
         Global<const bf16> qkv, Global<const int> cu_seqlens, int sequences, int heads, int size, float scale,                \
         DropoutMask mask) {                                                                                                   \
        d_queries<D>(d_qkv, delta, d_out, out, lse, qkv, cu_seqlens, {sequences, heads}, scale, mask);                         \
    }                                                                                                                          \
    EXPORT(NAME)

#define ATTENTION_D_KV(NAME, D, BLOCKS)                                                                                        \
    KERNEL BOUNDS(THREADS, BLOCKS)                                                                                             \
    NAME(Global<bf16> d_qkv, Global<const float> delta, Global<const bf16> d_out, Global<const float> lse,                     \
         Global<const bf16> qkv, Global<const int> cu_seqlens, int sequences, int heads, int size, float scale,                \
         DropoutMask mask) {                                                                                                   \
        d_keys<D>(d_qkv, delta, d_out, lse, qkv, cu_seqlens, {sequences, heads}, scale, mask);                                 \
    }                                                                                                                          \
    EXPORT(NAME)

ATTENTION_FORWARD(attention_mma_32, 32, false, 4)
ATTENTION_FORWARD(attention_mma_64, 64, false, 3)
ATTENTION_FORWARD(attention_mma_dropout_32, 32, true, 4)
ATTENTION_FORWARD(attention_mma_dropout_64, 64, true, 3)
ATTENTION_D_Q(attention_mma_d_q_32, 32, 4)
ATTENTION_D_Q(attention_mma_d_q_64, 64, 3)
ATTENTION_D_KV(attention_mma_d_kv_32, 32, 3)
ATTENTION_D_KV(attention_mma_d_kv_64, 64, 2)
