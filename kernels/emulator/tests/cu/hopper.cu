// What the copy engine writes and wgmma reads, modelled from the PTX manual, around the numbers of gemm_hopper.cuh.
#include "gemm_hopper.cuh"

/// Element (along, deep) that wgmma reads through a descriptor: the canonical layouts with the 128-byte swizzle, which acts on
/// bits of the address.
template <bool DEPTH_INNER>
DEVICE bf16 read_through(Shared<bf16> memory, u64 descriptor, int along, int deep) {
    int start = int(descriptor & 0x3fff) << 4, leading = int(descriptor >> 16 & 0x3fff) << 4;
    int stride = int(descriptor >> 32 & 0x3fff) << 4;
    int address;
    if (DEPTH_INNER) {
        address = start + along / 8 * stride + along % 8 * 128 + deep * 2;
    } else {
        address = start + along / 64 * leading + deep / 8 * stride + deep % 8 * 128 + along % 64 * 2;
    }
    address ^= (address >> 7 & 7) << 4;
    return memory[address / 2];
}

/// Copies an operand's slice at (first, depth) of a matrix, then reads it back as the left operand and as the right one: both
/// outputs are 128 by 64.
template <bool DEPTH_INNER>
DEVICE void operand(Global<float> left, Global<float> right, Global<const bf16> matrix, int rows, int columns, int first,
                    int depth) {
    SHARED(bf16, memory, OPERAND_BYTES / 2);
    for (int i = threadIdx.x; i < 2 * BOX * BOX; i += blockDim.x) {
        int half = i / (BOX * BOX), row = i / BOX % BOX, column = i % BOX;
        Corner corner = box_corner<DEPTH_INNER>(first, half, depth);
        bf16 value = to_bf16(0.0f);
        if (corner.row + row < rows && corner.column + column < columns) {
            value = matrix[i64(corner.row + row) * columns + corner.column + column];
        }
        memory[(half * BOX_BYTES + swizzled(row, column * 2)) / 2] = value;
    }
    sync_block();
    for (int i = threadIdx.x; i < HOPPER_TILE * HOPPER_SLICE; i += blockDim.x) {
        int along = i / HOPPER_SLICE, deep = i % HOPPER_SLICE;
        u64 a = operand_descriptor<DEPTH_INNER>(0, along / 64, deep / 16 * 16);
        u64 b = operand_descriptor<DEPTH_INNER>(0, 0, deep / 16 * 16);
        left[i] = to_float(read_through<DEPTH_INNER>(memory, a, along % 64, deep % 16));
        right[i] = to_float(read_through<DEPTH_INNER>(memory, b, along, deep % 16));
    }
}
KERNEL hopper_depth_inner(Global<float> left, Global<float> right, Global<const bf16> matrix, int rows, int columns, int first,
                          int depth) {
    operand<true>(left, right, matrix, rows, columns, first, depth);
}
KERNEL hopper_depth_outer(Global<float> left, Global<float> right, Global<const bf16> matrix, int rows, int columns, int first,
                          int depth) {
    operand<false>(left, right, matrix, rows, columns, first, depth);
}

/// For each place of a sequence of slices: stage and parity one by one, and by a jump from the start.
KERNEL hopper_ring(Global<float> places, int count) {
    RingPlace<5> walked{0, 0};
    for (int i = 0; i < count; i++) {
        RingPlace<5> jumped{0, 0};
        jumped.advance(i);
        places[4 * i] = float(walked.stage);
        places[4 * i + 1] = float(walked.parity);
        places[4 * i + 2] = float(jumped.stage);
        places[4 * i + 3] = float(jumped.parity);
        walked.advance(1);
    }
}

/// The tile of each block, numbered row by row.
KERNEL tile_order(Global<float> tiles, int rows, int columns) {
    for (int i = 0; i < rows * columns; i++) {
        Tile tile = tile_at(i, rows, columns);
        tiles[i] = float(tile.row * columns + tile.column);
    }
}

EXPORT(hopper_depth_inner)
EXPORT(hopper_depth_outer)
EXPORT(hopper_ring)
EXPORT(tile_order)
