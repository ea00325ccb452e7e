// Where the Hopper product finds its operands in shared memory: what the copy engine writes and wgmma reads.
//
// Numbers only, so that the emulator's tests can check them: no tool runs the instructions without the device.
//
// An operand's slice is 128 rows or columns of the product by 64 of depth. It lies as two boxes of 64 x 64, each 64 rows of
// 128 bytes as in global memory, whichever dimension that has contiguous. Within each 1024 bytes the copy engine permutes the
// 16-byte pieces (the 128-byte swizzle): piece c of row r goes to place c ^ (r % 8).
#pragma once
#include "gemm.cuh"

/// Rows and columns of a tile, depth of a slice, side of a box.
constexpr int HOPPER_TILE = 128;
constexpr int HOPPER_SLICE = 64;
constexpr int BOX = 64;
constexpr int BOX_BYTES = BOX * BOX * 2;
constexpr int OPERAND_BYTES = 2 * BOX_BYTES;

/// Where a box begins in the matrix, as the copy engine counts.
struct Corner {
    int column, row;
};

/// The corner of box `half` of an operand's slice at (first, depth).
template <bool DEPTH_INNER>
DEVICE Corner box_corner(int first, int half, int depth) {
    int along = first + half * BOX;
    return DEPTH_INNER ? Corner{depth, along} : Corner{along, depth};
}

/// Offset of byte `byte` of row `row` within a box.
DEVICE int swizzled(int row, int byte) { return row * 128 + ((byte / 16) ^ (row & 7)) * 16 + byte % 16; }

/// The matrix descriptor of wgmma for operands with the 128-byte swizzle. `stride`: bytes between groups of eight rows of 128
/// bytes. `leading`: bytes between blocks of 64 columns where the contiguous dimension is not the depth; else without meaning.
DEVICE u64 matrix_descriptor(u32 address, u32 leading, u32 stride) {
    return u64((address & 0x3ffff) >> 4) | u64(leading >> 4) << 16 | u64(stride >> 4) << 32 | u64(1) << 62;
}

/// The descriptor of 16 of depth from `deep` on, of box `half` and (for the right operand) those behind it.
template <bool DEPTH_INNER>
DEVICE u64 operand_descriptor(u32 operand, int half, int deep) {
    // Along a row where the depth is contiguous; else 128 bytes a step.
    u32 address = operand + half * BOX_BYTES + (DEPTH_INNER ? deep * 2 : deep * 128);
    return matrix_descriptor(address, DEPTH_INNER ? 16 : BOX_BYTES, 1024);
}

/// A place in the ring of slices: the slice's buffer, and the parity of its turn.
template <int RING>
struct RingPlace {
    int stage;
    u32 parity;

    DEVICE void advance(int slices) {
        int sum = stage + slices;
        parity ^= u32(sum / RING) & 1;
        stage = sum % RING;
    }
};
