// embed: out[n] = word[ids[n]] + position[positions[n]] (+ token_type[token_types[n]]), tables in f32.
// Backward: d_word[ids[n]] += d_out[n], likewise the other tables, in a fixed order and without atomics.
//
// Bound by memory: forward reads 2 or 3 values of f32 and writes one an element, backward reads 3 and adds to every row of a
// table that occurs. The host has sorted the tokens of each table by row and cut them into items (embed.rs): a warp adds up
// the gradients of one item's tokens over 512 bytes of columns. A row with few tokens is one item, whose sum goes
// straight into the table; a row with many (a word like "the", a token type) is several, whose sums are partial and are
// added in their order by a second kernel. No row has two writers.
// Not yet timed on a device.
#include "vectors.cuh"

template <class T, int N>
DEVICE void forward(Global<T> out, Global<const int> ids, Global<const int> positions, Global<const int> token_types,
                    Global<const float> word, Global<const float> position, Global<const float> token_type, int tokens, int columns) {
    for (int token = warp_index(); token < tokens; token += warp_count()) {
        int id = ids[token], place = positions[token], kind = 0;
        if (token_type) kind = token_types[token];
        for (int column = lane_index() * N; column < columns; column += 32 * N) {
            Vec<float, N> sum = load_floats<N, float>(word, i64(id) * columns + column);
            Vec<float, N> other = load_floats<N, float>(position, i64(place) * columns + column);
            UNROLL for (int i = 0; i < N; i++) sum.v[i] += other.v[i];
            if (token_type) {
                other = load_floats<N, float>(token_type, i64(kind) * columns + column);
                UNROLL for (int i = 0; i < N; i++) sum.v[i] += other.v[i];
            }
            store_floats<N, T>(out, i64(token) * columns + column, sum);
        }
    }
}

/// A piece of work: the tokens (or partial sums) `first .. first + count` belong to `row` of table 0 (words), 1 or 2.
struct Item {
    int table, row, first, count;
};

DEVICE Item load_item(Global<const int> items, int index) {
    Vec<int, 4> words = load<4>(items, i64(index) * 4);
    return Item{words.v[0], words.v[1], words.v[2], words.v[3]};
}

/// `table[at ..] += sum`.
template <int N>
DEVICE void accumulate(Global<float> table, i64 at, const Vec<float, N>& sum) {
    Vec<float, N> values = load_floats<N, float>(table, at);
    UNROLL for (int i = 0; i < N; i++) values.v[i] += sum.v[i];
    store_floats<N, float>(table, at, values);
}

template <int N>
DEVICE void accumulate(Global<float> d_word, Global<float> d_position, Global<float> d_token_type, const Item& item, int column,
                       int columns, const Vec<float, N>& sum) {
    i64 at = i64(item.row) * columns + column;
    if (item.table == 0) accumulate<N>(d_word, at, sum);
    if (item.table == 1) accumulate<N>(d_position, at, sum);
    if (item.table == 2 && d_token_type) accumulate<N>(d_token_type, at, sum);
}

/// The first `split` items are parts of a row, which leave their sums in `partials`.
template <class T, int N>
DEVICE void backward(Global<float> d_word, Global<float> d_position, Global<float> d_token_type, Global<float> partials,
                     Global<const T> d_out, Global<const int> items, Global<const int> order, int count, int split, int columns) {
    int tiles = (columns + 32 * N - 1) / (32 * N);
    for (int work = warp_index(); work < count * tiles; work += warp_count()) {
        int index = work / tiles, column = (work % tiles * 32 + lane_index()) * N;
        if (column >= columns) continue;
        Item item = load_item(items, index);
        Vec<float, N> sum = {};
        UNROLL_BY(4) for (int i = 0; i < item.count; i++) {
            int token = order[item.first + i];
            Vec<float, N> values = load_floats<N, T>(d_out, i64(token) * columns + column);
            UNROLL for (int j = 0; j < N; j++) sum.v[j] += values.v[j];
        }
        if (index < split) {
            store_floats<N, float>(partials, i64(index) * columns + column, sum);
        } else {
            accumulate<N>(d_word, d_position, d_token_type, item, column, columns, sum);
        }
    }
}

KERNEL embed_f32(Global<float> out, Global<const int> ids, Global<const int> positions, Global<const int> token_types,
                 Global<const float> word, Global<const float> position, Global<const float> token_type, int tokens, int columns) {
    if (columns % 4 == 0) {
        forward<float, 4>(out, ids, positions, token_types, word, position, token_type, tokens, columns);
    } else {
        forward<float, 1>(out, ids, positions, token_types, word, position, token_type, tokens, columns);
    }
}
KERNEL embed_bf16(Global<bf16> out, Global<const int> ids, Global<const int> positions, Global<const int> token_types,
                  Global<const float> word, Global<const float> position, Global<const float> token_type, int tokens, int columns) {
    if (columns % 8 == 0) {
        forward<bf16, 8>(out, ids, positions, token_types, word, position, token_type, tokens, columns);
    } else {
        forward<bf16, 1>(out, ids, positions, token_types, word, position, token_type, tokens, columns);
    }
}

KERNEL embed_backward_f32(Global<float> d_word, Global<float> d_position, Global<float> d_token_type, Global<float> partials,
                          Global<const float> d_out, Global<const int> items, Global<const int> order, int count, int split,
                          int columns) {
    if (columns % 4 == 0) {
        backward<float, 4>(d_word, d_position, d_token_type, partials, d_out, items, order, count, split, columns);
    } else {
        backward<float, 1>(d_word, d_position, d_token_type, partials, d_out, items, order, count, split, columns);
    }
}
KERNEL embed_backward_bf16(Global<float> d_word, Global<float> d_position, Global<float> d_token_type, Global<float> partials,
                           Global<const bf16> d_out, Global<const int> items, Global<const int> order, int count, int split,
                           int columns) {
    if (columns % 8 == 0) {
        backward<bf16, 8>(d_word, d_position, d_token_type, partials, d_out, items, order, count, split, columns);
    } else {
        backward<bf16, 1>(d_word, d_position, d_token_type, partials, d_out, items, order, count, split, columns);
    }
}

/// Adds each row's partial sums to the table: a thread a column, for there are few such rows.
KERNEL embed_backward_finish(Global<float> d_word, Global<float> d_position, Global<float> d_token_type,
                             Global<const float> partials, Global<const int> items, int count, int columns) {
    int tiles = (columns + 31) / 32;
    for (int work = warp_index(); work < count * tiles; work += warp_count()) {
        int column = work % tiles * 32 + lane_index();
        if (column >= columns) continue;
        Item item = load_item(items, work / tiles);
        Vec<float, 1> sum = {};
        UNROLL_BY(8) for (int i = 0; i < item.count; i++) {
            float value = partials[i64(item.first + i) * columns + column];
            sum.v[0] += value;
        }
        accumulate<1>(d_word, d_position, d_token_type, item, column, columns, sum);
    }
}

EXPORT(embed_f32)
EXPORT(embed_bf16)
EXPORT(embed_backward_f32)
EXPORT(embed_backward_bf16)
EXPORT(embed_backward_finish)
