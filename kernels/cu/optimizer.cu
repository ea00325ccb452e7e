// The sum of squares of many tensors, and one AdamW step on many parameters: one launch each, however many tensors there are.
//
// Tensors are f32. They are cut into chunks of 8192 elements, one chunk a block. `table` lists, for each of `slots` tensors,
// `WORDS` words that begin with addresses, and after those one word a chunk: the tensor in the upper half, the chunk's
// number within its tensor in the lower (optimizer.rs makes it).
//
// Bound by memory: the sum reads 4 bytes an element, AdamW reads 16 and writes 12. Squares are added in f64: one conversion
// and one product an element are less than the time of reading it, and nothing overflows. Partial sums belong to chunks, so
// their order depends on shapes alone. Not yet timed on a device.
#include "vectors.cuh"

/// Elements of a chunk.
constexpr int CHUNK = 8192;

/// What this block works on: a tensor's words in the table, and its elements `first .. end`.
struct Chunk {
    i64 words, first, end;
};

/// `length_at` is the place of the length among a tensor's `words`.
DEVICE Chunk my_chunk(Global<const u64> table, int slots, int words, int length_at) {
    u64 word = table[i64(slots) * words + blockIdx.x];
    Chunk chunk;
    chunk.words = i64(word >> 32) * words;
    chunk.first = i64(u32(word)) * CHUNK;
    u64 length = table[chunk.words + length_at];
    chunk.end = chunk.first + CHUNK < i64(length) ? chunk.first + CHUNK : i64(length);
    return chunk;
}

DEVICE double warp_sum(double value) {
    for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
}

/// The sum of a value over all threads of the block, for the first of them.
DEVICE double block_sum(double value) {
    SHARED(double, sums, 32);
    value = warp_sum(value);
    if (lane_index() == 0) sums[threadIdx.x / 32] = value;
    sync_block();
    double sum = 0.0;
    if (threadIdx.x == 0) {
        for (int warp = 0; warp < int(blockDim.x) / 32; warp++) sum += sums[warp];
    }
    return sum;
}

/// Words of a tensor: address, length.
KERNEL sum_of_squares_chunks(Global<double> partials, Global<const u64> table, int slots) {
    Chunk chunk = my_chunk(table, slots, 2, 1);
    u64 address = table[chunk.words];
    Global<const float> values = at_address<const float>(address);
    double sum = 0.0;
    i64 i = chunk.first + i64(threadIdx.x) * 4;
    UNROLL_BY(4) for (; i + 4 <= chunk.end; i += i64(blockDim.x) * 4) {
        Vec<float, 4> four = load<4>(values, i);
        UNROLL for (int j = 0; j < 4; j++) sum += double(four.v[j]) * double(four.v[j]);
    }
    // The thread whose turn would be next has what is left, fewer than four.
    for (; i < chunk.end; i++) {
        float value = values[i];
        sum += double(value) * double(value);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

/// One block.
KERNEL sum_of_squares_finish(Global<double> result, Global<const double> partials, int count) {
    double sum = 0.0;
    UNROLL_BY(4) for (int i = int(threadIdx.x); i < count; i += int(blockDim.x)) sum += partials[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) result[0] = sum;
}

/// The constants of a step; `kept` is what weight decay leaves of a parameter.
struct Update {
    float gradient_scale, beta1, beta2, fresh1, fresh2, step_size, correction2, epsilon;

    DEVICE void apply(float& p, float g, float& m, float& v, float kept) const {
        g *= gradient_scale;
        m = beta1 * m + fresh1 * g;
        v = beta2 * v + fresh2 * (g * g);
        p = p * kept - step_size * m / (sqrtf(v * correction2) + epsilon);
    }
};

/// Words of a parameter: addresses of parameter, gradient, first and second moment; length; whether it decays.
KERNEL adamw(Global<const u64> table, int slots, float gradient_scale, float beta1, float beta2, float fresh1, float fresh2,
             float step_size, float correction2, float epsilon, float decayed) {
    Chunk chunk = my_chunk(table, slots, 6, 4);
    u64 addresses[4];
    for (int i = 0; i < 4; i++) addresses[i] = table[chunk.words + i];
    Global<float> parameter = at_address<float>(addresses[0]);
    Global<const float> gradient = at_address<const float>(addresses[1]);
    Global<float> first = at_address<float>(addresses[2]);
    Global<float> second = at_address<float>(addresses[3]);
    u64 decays = table[chunk.words + 5];
    float kept = decays != 0 ? decayed : 1.0f;
    Update update{gradient_scale, beta1, beta2, fresh1, fresh2, step_size, correction2, epsilon};
    i64 i = chunk.first + i64(threadIdx.x) * 4;
    UNROLL_BY(2) for (; i + 4 <= chunk.end; i += i64(blockDim.x) * 4) {
        Vec<float, 4> p = load<4>(parameter, i), g = load<4>(gradient, i), m = load<4>(first, i), v = load<4>(second, i);
        UNROLL for (int j = 0; j < 4; j++) update.apply(p.v[j], g.v[j], m.v[j], v.v[j], kept);
        store<4>(parameter, i, p);
        store<4>(first, i, m);
        store<4>(second, i, v);
    }
    for (; i < chunk.end; i++) {
        float p = parameter[i], g = gradient[i], m = first[i], v = second[i];
        update.apply(p, g, m, v, kept);
        parameter[i] = p;
        first[i] = m;
        second[i] = v;
    }
}

EXPORT(sum_of_squares_chunks)
EXPORT(sum_of_squares_finish)
EXPORT(adamw)
