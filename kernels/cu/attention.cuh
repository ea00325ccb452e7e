// What the kernels of attention share: which block works on what, and the words of dropout.
//
// Work is a row of tiles laid over the packed rows. A block is four warps. A tile is as many rows (queries, or keys where the
// gradients of keys and values are made) as four warps hold; where the last tile of a sequence, or a short sequence, has no
// more rows than two warps or one hold, the block takes them for two heads or four. So a sequence of 17 rows costs two warps
// a head, not four, and what a row meets depends on its own sequence alone.
//
// Sequence b owns the slots from cu_seqlens[b] / tile + b on: enough for its tiles, whatever the lengths are. A block finds its
// sequence by binary search over these starts, five loads of a line that every block of the multiprocessor reads. The grid
// (N / tile + B slots, H heads) depends on the counts alone, so a captured graph serves every batch of its bucket: nothing
// computed on the host is part of a launch. Slots and heads that are left over end at once.
#pragma once

#include "common.cuh"

namespace {

constexpr int WARPS = 4;
constexpr float LOG2_E = 1.44269504088896340736f;
constexpr float LN_2 = 0.69314718055994530942f;
/// ATTENTION_DROPOUT_KEYS of core.
constexpr u64 DROPOUT_KEYS = 8192;

/// 2^x in one instruction, with an error of two units of rounding; results below 2^-126 are 0.
DEVICE float power_of_two(float x) {
#ifdef STEPSYNTH_EMULATOR
    return exp2f(x);
#else
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#endif
}

DEVICE float infinity() { return float_of_bits(0x7f800000u); }

/// A block's part of the work.
struct Work {
    /// The sequence: its first packed row, its length.
    int begin, length;
    /// First row of the tile, within the sequence.
    int first;
    /// Logarithm of the number of warps that share a head: 0, 1 or 2.
    int log_warps;
    /// First head.
    int head;
};

/// Whether `slot` has a tile of `WARPS rows_a_warp` rows, and for this y of the grid heads that are left; then what they are.
DEVICE bool find_work(Work& work, Global<const int> cu_seqlens, int sequences, int heads, int rows_a_warp, int slot, int y) {
    int tile = WARPS * rows_a_warp;
    int low = 0, high = sequences;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        int start = cu_seqlens[middle];
        if (start / tile + middle <= slot) {
            low = middle;
        } else {
            high = middle;
        }
    }
    work.begin = cu_seqlens[low];
    work.length = cu_seqlens[low + 1] - work.begin;
    work.first = (slot - work.begin / tile - low) * tile;
    int rows = work.length - work.first;
    work.log_warps = rows > 2 * rows_a_warp ? 2 : rows > rows_a_warp ? 1 : 0;
    work.head = y * (WARPS >> work.log_warps);
    return rows > 0 && work.head < heads;
}

/// Number of the first word of dropout for a row of probabilities: `attention_dropout_index` of core with key 0.
DEVICE u64 dropout_row(int row, int head, int heads) { return (u64(row) * u64(heads) + u64(head)) * DROPOUT_KEYS; }

/// Which of the four probabilities of a Philox block are kept, as bits 0 to 3.
DEVICE u32 kept_of_block(const DropoutMask& mask, u64 first_index) {
    Vec<u32, 4> words = philox_block(mask, first_index / 4);
    u32 bits = 0;
    UNROLL
    for (int i = 0; i < 4; i++) bits |= (words.v[i] >= mask.threshold ? 1u : 0u) << i;
    return bits;
}

}  // namespace
