// Multi-head self-attention over packed rows, forward and backward, in f32 arithmetic without tensor cores: the tier of devices
// before 8.0, of the f32 precision, and of head sizes for which attention_mma.cu has no instance.
//
// qkv (N, 3C) holds queries, keys and values side by side, H heads of D = C / H columns each; out, d_out (N, C); lse, delta
// (N, H). For the rows of one sequence, s = q k^T / sqrt D, p = softmax s, m the factors of dropout:
//   out = (p m) v, lse = log sum exp s;
//   d_p = m (d_out v^T), d_s = p (d_p - delta) with delta = sum (d_out out),
//   d_q = d_s k / sqrt D, d_k = d_s^T q / sqrt D, d_v = (p m)^T d_out.
// The probabilities are never in memory: the forward pass keeps a running maximum and sum for each row, the backward passes
// have p = exp(s - lse).
//
// A row is held in registers by LANES lanes, SLICE columns each in groups of four that take turns; the other side comes
// through shared memory in tiles of 32 rows, read by all lanes of a warp at once. Head sizes below SLICE LANES are filled up
// with zeros. Each probability's words of dropout are computed once a kernel: one Philox block is four keys, and lanes that need
// the same block divide the blocks of eight probabilities among them.
//
// Bound by f32 FMA: 4 D a probability forward, 6 D for d_q, 8 D for d_k and d_v; a load of 16 bytes from shared memory feeds 4
// (forward, d_q) or 8 (d_k, d_v) of them, one load a cycle being what a multiprocessor gives for 4 FMA.
// Versions: this one, not yet timed on a device.
#include "attention.cuh"

namespace {

constexpr int THREADS = 32 * WARPS;
/// Rows of the other side in shared memory at a time, over all heads of the block.
constexpr int TILE = 32;
/// Of these, a row meets this many in one go.
constexpr int CHUNK = 8;

/// What the launch says of the layout.
struct Shape {
    int sequences, heads, size;
};

/// Columns `column` to `column + 3` of a head's row at `at`, zero beyond its size.
template <class T>
DEVICE Vec<float, 4> read_four(Global<const T> from, i64 at, int column, int size) {
    Vec<float, 4> values{{0.0f, 0.0f, 0.0f, 0.0f}};
    if (size % 4 == 0) {
        if (column < size) {
            Vec<T, 4> raw = load<4>(from, at + column);
            UNROLL
            for (int i = 0; i < 4; i++) values.v[i] = to_float(raw.v[i]);
        }
    } else {
        UNROLL
        for (int i = 0; i < 4; i++) {
            if (column + i < size) values.v[i] = to_float(from[at + column + i]);
        }
    }
    return values;
}

/// A lane's columns of a row: column 4 (i LANES + part) + j is v[4 i + j].
template <int SLICE, int LANES>
struct Slice {
    float v[SLICE];

    DEVICE void clear() {
        UNROLL
        for (int i = 0; i < SLICE; i++) v[i] = 0.0f;
    }
    template <class T>
    DEVICE void read(Global<const T> from, i64 at, int size, int part, bool valid) {
        clear();
        if (!valid) return;
        UNROLL
        for (int i = 0; i < SLICE; i += 4) {
            Vec<float, 4> four = read_four<T>(from, at, i * LANES + 4 * part, size);
            UNROLL
            for (int j = 0; j < 4; j++) v[i + j] = four.v[j];
        }
    }
    template <class T>
    DEVICE void write(Global<T> to, i64 at, int size, int part, float factor) const {
        UNROLL
        for (int i = 0; i < SLICE; i += 4) {
            int column = i * LANES + 4 * part;
            if (size % 4 == 0) {
                Vec<T, 4> four;
                UNROLL
                for (int j = 0; j < 4; j++) four.v[j] = from_float<T>(v[i + j] * factor);
                if (column < size) store<4>(to, at + column, four);
            } else {
                UNROLL
                for (int j = 0; j < 4; j++) {
                    if (column + j < size) to[at + column + j] = from_float<T>(v[i + j] * factor);
                }
            }
        }
    }
    /// This lane's part of the product with a row in shared memory.
    DEVICE float dot(Shared<float> rows, int row, int part) const {
        float sum = 0.0f;
        UNROLL
        for (int i = 0; i < SLICE; i += 4) {
            Vec<float, 4> four = load<4>(rows, row * (SLICE * LANES) + i * LANES + 4 * part);
            UNROLL
            for (int j = 0; j < 4; j++) sum += v[i + j] * four.v[j];
        }
        return sum;
    }
    DEVICE void add(float factor, Shared<float> rows, int row, int part) {
        UNROLL
        for (int i = 0; i < SLICE; i += 4) {
            Vec<float, 4> four = load<4>(rows, row * (SLICE * LANES) + i * LANES + 4 * part);
            UNROLL
            for (int j = 0; j < 4; j++) v[i + j] += factor * four.v[j];
        }
    }
};

/// The sum over the lanes that share a row.
template <int LANES>
DEVICE float row_sum(float value) {
    UNROLL
    for (int mask = 1; mask < LANES; mask *= 2) value += shuffle_xor(value, mask);
    return value;
}

/// Where a thread stands: its head, its row within the sequence, its part of the row, the row's columns of q, k or v.
template <int LANES>
struct Thread {
    int head, row, part, shared_row;
    bool valid;

    DEVICE Thread(const Work& work, const Shape& shape) {
        int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        int of_head = warp & ((1 << work.log_warps) - 1);
        head = work.head + (warp >> work.log_warps);
        row = work.first + (of_head * 32 + lane) / LANES;
        part = lane % LANES;
        valid = head < shape.heads && row < work.length;
        // Rows of the other side that are this warp's head's.
        shared_row = (warp >> work.log_warps) << (3 + work.log_warps);
    }
};

/// Copies rows `first` and on of the block's heads to shared memory, 8 warps-a-head rows of each head, zeros where there are
/// none. `stride` is the length of a packed row, `offset` where the heads begin in it.
template <int WIDTH, class T>
DEVICE void stage(Shared<float> to, Global<const T> from, i64 stride, int offset, int first, const Work& work,
                  const Shape& shape) {
    int log_rows = 3 + work.log_warps;
    for (int i = threadIdx.x; i < TILE * (WIDTH / 4); i += THREADS) {
        int slot = i / (WIDTH / 4), column = i % (WIDTH / 4) * 4;
        int head = work.head + (slot >> log_rows);
        int row = first + (slot & ((1 << log_rows) - 1));
        Vec<float, 4> values{{0.0f, 0.0f, 0.0f, 0.0f}};
        if (head < shape.heads && row < work.length) {
            values = read_four<T>(from, (work.begin + row) * stride + offset + head * shape.size, column, shape.size);
        }
        store<4>(to, slot * WIDTH + column, values);
    }
}

/// Bit i says that key `key + i` of a row is kept; `key` is a multiple of eight, `index` the row's `dropout_row`.
DEVICE u32 kept_keys(const DropoutMask& mask, u64 index, int key, int part) {
    int half = part & 1;
    u32 bits = kept_of_block(mask, index + u64(key + 4 * half)) << (4 * half);
    return bits | shuffle_xor(bits, 1);
}

/// Bit 4 j + i says that key `key / 4 * 4 + i` is kept for query `query + j`, j < 8; eight lanes in a row share `key / 4`.
DEVICE u32 kept_queries(const DropoutMask& mask, const Work& work, const Shape& shape, int head, int query, int key) {
    int j = threadIdx.x % 8;
    u32 bits = kept_of_block(mask, dropout_row(work.begin + query + j, head, shape.heads) + u64(key / 4 * 4)) << (4 * j);
    UNROLL
    for (int other = 1; other < 8; other *= 2) bits |= shuffle_xor(bits, other);
    return bits;
}

template <class T, int SLICE, int LANES>
DEVICE void attention_forward(Global<T> out, Global<float> lse, Global<const T> qkv, Global<const int> cu_seqlens, Shape shape,
                              float scale, DropoutMask mask) {
    constexpr int WIDTH = SLICE * LANES;
    SHARED(float, keys, TILE * WIDTH);
    SHARED(float, values, TILE * WIDTH);
    Work work;
    if (!find_work(work, cu_seqlens, shape.sequences, shape.heads, 32 / LANES, blockIdx.x, blockIdx.y)) return;
    Thread<LANES> my(work, shape);
    int hidden = shape.heads * shape.size;
    i64 stride = 3 * i64(hidden);
    i64 packed_row = work.begin + my.row;
    Slice<SLICE, LANES> q, sum;
    q.read(qkv, packed_row * stride + my.head * shape.size, shape.size, my.part, my.valid);
    sum.clear();
    u64 index = dropout_row(work.begin + my.row, my.head, shape.heads);
    // Scores in units of log 2, so that the exponential is one instruction.
    float unit = scale * LOG2_E;
    float maximum = -infinity(), denominator = 0.0f;
    int tile = 8 << work.log_warps;
    for (int first = 0; first < work.length; first += tile) {
        sync_block();
        stage<WIDTH>(keys, qkv, stride, hidden, first, work, shape);
        stage<WIDTH>(values, qkv, stride, 2 * hidden, first, work, shape);
        sync_block();
        for (int key = first; key < first + tile && key < work.length; key += CHUNK) {
            int at = my.shared_row + key - first;
            float score[CHUNK];
            float largest = maximum;
            UNROLL
            for (int j = 0; j < CHUNK; j++) {
                float product = row_sum<LANES>(q.dot(keys, at + j, my.part)) * unit;
                score[j] = key + j < work.length ? product : -infinity();
                largest = score[j] > largest ? score[j] : largest;
            }
            if (largest > maximum) {
                float shrink = power_of_two(maximum - largest);
                maximum = largest;
                denominator *= shrink;
                UNROLL
                for (int i = 0; i < SLICE; i++) sum.v[i] *= shrink;
            }
            u32 kept = mask.threshold == 0 ? 0xffu : kept_keys(mask, index, key, my.part);
            UNROLL
            for (int j = 0; j < CHUNK; j++) {
                float p = power_of_two(score[j] - maximum);
                denominator += p;
                sum.add((kept >> j & 1u) ? p : 0.0f, values, at + j, my.part);
            }
        }
    }
    if (!my.valid) return;
    sum.write(out, packed_row * hidden + my.head * shape.size, shape.size, my.part, mask.scale / denominator);
    if (my.part == 0) lse[packed_row * shape.heads + my.head] = maximum * LN_2 + logf(denominator);
}

/// Gradient of the queries, and delta for the gradients of keys and values.
template <class T, int SLICE, int LANES>
DEVICE void attention_d_q(Global<T> d_qkv, Global<float> delta, Global<const T> d_out, Global<const T> out,
                          Global<const float> lse, Global<const T> qkv, Global<const int> cu_seqlens, Shape shape, float scale,
                          DropoutMask mask) {
    constexpr int WIDTH = SLICE * LANES;
    SHARED(float, keys, TILE * WIDTH);
    SHARED(float, values, TILE * WIDTH);
    Work work;
    if (!find_work(work, cu_seqlens, shape.sequences, shape.heads, 32 / LANES, blockIdx.x, blockIdx.y)) return;
    Thread<LANES> my(work, shape);
    int hidden = shape.heads * shape.size;
    i64 stride = 3 * i64(hidden);
    i64 packed_row = work.begin + my.row;
    int column = my.head * shape.size;
    Slice<SLICE, LANES> q, d_o, d_q;
    q.read(out, packed_row * hidden + column, shape.size, my.part, my.valid);
    d_o.read(d_out, packed_row * hidden + column, shape.size, my.part, my.valid);
    float along = 0.0f;
    UNROLL
    for (int i = 0; i < SLICE; i++) along += q.v[i] * d_o.v[i];
    along = row_sum<LANES>(along);
    q.read(qkv, packed_row * stride + column, shape.size, my.part, my.valid);
    d_q.clear();
    float log_sum = 0.0f;
    if (my.valid) {
        log_sum = lse[packed_row * shape.heads + my.head];
        log_sum *= LOG2_E;
        if (my.part == 0) delta[packed_row * shape.heads + my.head] = along;
    }
    u64 index = dropout_row(work.begin + my.row, my.head, shape.heads);
    float unit = scale * LOG2_E;
    int tile = 8 << work.log_warps;
    for (int first = 0; first < work.length; first += tile) {
        sync_block();
        stage<WIDTH>(keys, qkv, stride, hidden, first, work, shape);
        stage<WIDTH>(values, qkv, stride, 2 * hidden, first, work, shape);
        sync_block();
        for (int key = first; key < first + tile && key < work.length; key += CHUNK) {
            int at = my.shared_row + key - first;
            u32 kept = mask.threshold == 0 ? 0xffu : kept_keys(mask, index, key, my.part);
            UNROLL_BY(2)
            for (int j = 0; j < CHUNK; j++) {
                float score = row_sum<LANES>(q.dot(keys, at + j, my.part)) * unit;
                float d_p = row_sum<LANES>(d_o.dot(values, at + j, my.part));
                float p = key + j < work.length ? power_of_two(score - log_sum) : 0.0f;
                d_q.add(p * (d_p * ((kept >> j & 1u) ? mask.scale : 0.0f) - along), keys, at + j, my.part);
            }
        }
    }
    if (my.valid) d_q.write(d_qkv, packed_row * stride + column, shape.size, my.part, scale);
}

/// Gradients of keys and values: rows are keys, the other side is the queries.
template <class T, int SLICE, int LANES>
DEVICE void attention_d_kv(Global<T> d_qkv, Global<const float> delta, Global<const T> d_out, Global<const float> lse,
                           Global<const T> qkv, Global<const int> cu_seqlens, Shape shape, float scale, DropoutMask mask) {
    constexpr int WIDTH = SLICE * LANES;
    SHARED(float, queries, TILE * WIDTH);
    SHARED(float, d_outs, TILE * WIDTH);
    SHARED(float, log_sums, TILE);
    SHARED(float, deltas, TILE);
    Work work;
    if (!find_work(work, cu_seqlens, shape.sequences, shape.heads, 32 / LANES, blockIdx.x, blockIdx.y)) return;
    Thread<LANES> my(work, shape);
    int hidden = shape.heads * shape.size;
    i64 stride = 3 * i64(hidden);
    i64 at_key = (work.begin + my.row) * stride + hidden + my.head * shape.size;
    Slice<SLICE, LANES> k, v, d_k, d_v;
    k.read(qkv, at_key, shape.size, my.part, my.valid);
    v.read(qkv, at_key + hidden, shape.size, my.part, my.valid);
    d_k.clear();
    d_v.clear();
    float unit = scale * LOG2_E;
    int log_rows = 3 + work.log_warps, tile = 1 << log_rows;
    for (int first = 0; first < work.length; first += tile) {
        sync_block();
        stage<WIDTH>(queries, qkv, stride, 0, first, work, shape);
        stage<WIDTH>(d_outs, d_out, hidden, 0, first, work, shape);
        if (threadIdx.x < TILE) {
            int slot = threadIdx.x, head = work.head + (slot >> log_rows), row = first + (slot & (tile - 1));
            bool valid = head < shape.heads && row < work.length;
            i64 from = i64(work.begin + row) * shape.heads + head;
            // A query that is not there has no probabilities.
            float log_sum = infinity(), along = 0.0f;
            if (valid) {
                log_sum = lse[from];
                log_sum *= LOG2_E;
                along = delta[from];
            }
            log_sums[slot] = log_sum;
            deltas[slot] = along;
        }
        sync_block();
        for (int query = first; query < first + tile && query < work.length; query += CHUNK) {
            int at = my.shared_row + query - first;
            u32 kept = mask.threshold == 0 ? 0xffffffffu : kept_queries(mask, work, shape, my.head, query, my.row);
            UNROLL_BY(1)
            for (int j = 0; j < CHUNK; j++) {
                float score = row_sum<LANES>(k.dot(queries, at + j, my.part)) * unit;
                float d_p = row_sum<LANES>(v.dot(d_outs, at + j, my.part));
                float factor = (kept >> (4 * j + my.row % 4) & 1u) ? mask.scale : 0.0f;
                float p = power_of_two(score - log_sums[at + j]);
                d_v.add(p * factor, d_outs, at + j, my.part);
                d_k.add(p * (d_p * factor - deltas[at + j]), queries, at + j, my.part);
            }
        }
    }
    if (!my.valid) return;
    d_k.write(d_qkv, at_key, shape.size, my.part, scale);
    d_v.write(d_qkv, at_key + hidden, shape.size, my.part, 1.0f);
}

}  // namespace

// Kernels for head sizes up to 32, 64 and 128.
#define ATTENTION(WIDTH, FORMAT, T, SLICE, LANES)                                                                              \
    KERNEL attention_##WIDTH##_##FORMAT(Global<T> out, Global<float> lse, Global<const T> qkv, Global<const int> cu_seqlens,    \
                                        int sequences, int heads, int size, float scale, DropoutMask mask) {                   \
        attention_forward<T, SLICE, LANES>(out, lse, qkv, cu_seqlens, {sequences, heads, size}, scale, mask);                  \
    }                                                                                                                          \
    KERNEL attention_d_q_##WIDTH##_##FORMAT(Global<T> d_qkv, Global<float> delta, Global<const T> d_out, Global<const T> out,   \
                                            Global<const float> lse, Global<const T> qkv, Global<const int> cu_seqlens,        \
                                            int sequences, int heads, int size, float scale, DropoutMask mask) {               \
        attention_d_q<T, SLICE, LANES>(d_qkv, delta, d_out, out, lse, qkv, cu_seqlens, {sequences, heads, size}, scale, mask);  \
    }                                                                                                                          \
    KERNEL attention_d_kv_##WIDTH##_##FORMAT(Global<T> d_qkv, Global<const float> delta, Global<const T> d_out,                 \
                                             Global<const float> lse, Global<const T> qkv, Global<const int> cu_seqlens,       \
                                             int sequences, int heads, int size, float scale, DropoutMask mask) {              \
        attention_d_kv<T, SLICE, LANES>(d_qkv, delta, d_out, lse, qkv, cu_seqlens, {sequences, heads, size}, scale, mask);      \
    }                                                                                                                          \
    EXPORT(attention_##WIDTH##_##FORMAT)                                                                                       \
    EXPORT(attention_d_q_##WIDTH##_##FORMAT)                                                                                   \
    EXPORT(attention_d_kv_##WIDTH##_##FORMAT)

ATTENTION(32, f32, float, 16, 2)
ATTENTION(64, f32, float, 32, 2)
ATTENTION(128, f32, float, 32, 4)
ATTENTION(32, bf16, bf16, 16, 2)
ATTENTION(64, bf16, bf16, 32, 2)
ATTENTION(128, bf16, bf16, 32, 4)
