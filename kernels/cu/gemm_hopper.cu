// Linear layers in bf16 on Hopper (sm_90a): y = x w^T (NT), d_x = d_y w (NN), d_w = d_y^T x (TN), sums in f32, by wgmma.
//
// Shapes: x (rows, inputs), w (outputs, inputs), y and d_y (rows, outputs), all row-major; the rows of every operand are
// multiples of 16 bytes. Edges: the copy engine gives zeros outside a matrix.
//
// Bound by the tensor cores for rows in the thousands. Tiles of 128 x 128; a block stays on its multiprocessor and takes every
// gridDim.x-th tile. Three warp groups: one thread of the first asks the copy engine (TMA) for slices of 64 of depth, into a
// ring of five; the other two each compute every second tile of the block (two wgmma of 64 x 128 x 16 for each 16 of depth,
// sums in 128 registers), so that one multiplies while the other is busy with bias, activation, dropout and stores. The ring
// keeps their turns: slices come in the order of tiles. Barriers are mbarriers with a parity; registers move from the first
// group to the others.
//
// Either order of an operand in memory goes through the same 64 x 64 boxes; wgmma reads the transposed ones itself.
//
// Tried: this version only; not yet run on a device. To try next: clusters of two with multicast of w, tiles of 128 x 256 for
// large products, stores by the copy engine.
#include "gemm_hopper.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

constexpr int RING = 5;
constexpr int STAGE_BYTES = 2 * OPERAND_BYTES;
/// Columns of a slab of sums, and its pitch: the rows that half a warp writes at once are in different banks.
constexpr int SLAB_COLUMNS = 64;
constexpr int SLAB_PITCH = SLAB_COLUMNS + 8;
constexpr int SLAB_BYTES = 16 * SLAB_PITCH * 4;
/// Threads: the producer's group and two that multiply.
constexpr int GROUP_THREADS = 128;

/// A matrix as the copy engine knows it: made by the driver.
struct alignas(64) TensorMap {
    u64 words[16];
};

// ---- barriers and copies ------------------------------------------------------------------------------------------------

DEVICE u32 shared_address(const void* memory) { return u32(__cvta_generic_to_shared(memory)); }

DEVICE void barrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
DEVICE void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
DEVICE void barrier_arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }
/// Waits until the phase of this parity has ended.
DEVICE void barrier_wait(u32 barrier, u32 parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\n"
        "bra again;\n"
        "over:\n"
        "}\n" ::"r"(barrier),
        "r"(parity)
        : "memory");
}
/// Copies a box; its bytes count on the barrier.
DEVICE void copy_box(u32 to, const TensorMap& map, u32 barrier, Corner from) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
        :
        : "r"(to), "l"(&map), "r"(barrier), "r"(from.column), "r"(from.row)
        : "memory");
}

/// Copies an operand's slice at (first, depth).
template <bool DEPTH_INNER>
DEVICE void copy_operand(u32 to, const TensorMap& map, u32 barrier, int first, int depth) {
    UNROLL for (int half = 0; half < 2; half++) {
        copy_box(to + half * BOX_BYTES, map, barrier, box_corner<DEPTH_INNER>(first, half, depth));
    }
}

// ---- multiplication -----------------------------------------------------------------------------------------------------

/// d = a b, or d += a b if `add`: 64 x 128 sums of a warp group, 16 of depth.
template <bool A_DEPTH_INNER, bool B_DEPTH_INNER>
DEVICE void wgmma_m64n128k16(float (&d)[64], u64 a, u64 b, int add) {
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, add, 1, 1, %67, %68;\n"
        "}\n"
        :
          "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
          "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
          "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
          "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
        : "l"(a), "l"(b), "r"(add), "n"(A_DEPTH_INNER ? 0 : 1), "n"(B_DEPTH_INNER ? 0 : 1));
}
/// Before the first wgmma that uses registers written otherwise.
DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most the newest PENDING groups are under way.
template <int PENDING>
DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}
/// Keeps the compiler from moving the use of sums across this place.
DEVICE void hold(float (&d)[64]) {
    UNROLL for (int i = 0; i < 64; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// ---- the product --------------------------------------------------------------------------------------------------------

/// Sizes of the product, and the part of the depth that is this block's.
struct Product {
    int rows, columns, depth_first, depth_end;
};

/// The addresses of shared memory: the ring at a multiple of 1024, the warps' slabs, the barriers.
struct Places {
    u32 ring, full, empty;
    float* slabs;

    DEVICE explicit Places(u8* memory) {
        u32 start = shared_address(memory), aligned = (start + 1023) & ~1023u;
        u8* base = memory + (aligned - start);
        ring = aligned;
        slabs = reinterpret_cast<float*>(base + RING * STAGE_BYTES);
        full = aligned + RING * STAGE_BYTES + 8 * SLAB_BYTES;
        empty = full + RING * 8;
    }
};

template <bool A_DEPTH_INNER, bool B_DEPTH_INNER>
DEVICE void produce(const TensorMap& a, const TensorMap& b, const Product& p, const Places& at) {
    int down = tiles_of(p.rows, HOPPER_TILE), across = tiles_of(p.columns, HOPPER_TILE);
    RingPlace<RING> place{0, 0};
    for (int index = blockIdx.x; index < down * across; index += gridDim.x) {
        Tile tile = tile_at(index, down, across);
        for (int depth = p.depth_first; depth < p.depth_end; depth += HOPPER_SLICE) {
            u32 full = at.full + place.stage * 8, to = at.ring + place.stage * STAGE_BYTES;
            // The first turn of each buffer waits for nothing: the barrier's phase before the first counts as ended.
            barrier_wait(at.empty + place.stage * 8, place.parity ^ 1);
            barrier_expect(full, STAGE_BYTES);
            copy_operand<A_DEPTH_INNER>(to, a, full, tile.row * HOPPER_TILE, depth);
            copy_operand<B_DEPTH_INNER>(to + OPERAND_BYTES, b, full, tile.column * HOPPER_TILE, depth);
            place.advance(1);
        }
    }
}

/// Sums of one tile.
template <bool A_DEPTH_INNER, bool B_DEPTH_INNER>
DEVICE void multiply(float (&top)[64], float (&bottom)[64], int slices, RingPlace<RING> place, const Places& at) {
    bool speaks = threadIdx.x % 32 == 0;
    u32 before = 0;
    for (int slice = 0; slice < slices; slice++) {
        u32 operand = at.ring + place.stage * STAGE_BYTES;
        barrier_wait(at.full + place.stage * 8, place.parity);
        wgmma_fence();
        UNROLL for (int deep = 0; deep < HOPPER_SLICE; deep += 16) {
            int add = slice > 0 || deep > 0;
            u64 right = operand_descriptor<B_DEPTH_INNER>(operand + OPERAND_BYTES, 0, deep);
            u64 upper = operand_descriptor<A_DEPTH_INNER>(operand, 0, deep);
            u64 lower = operand_descriptor<A_DEPTH_INNER>(operand, 1, deep);
            wgmma_m64n128k16<A_DEPTH_INNER, B_DEPTH_INNER>(top, upper, right, add);
            wgmma_m64n128k16<A_DEPTH_INNER, B_DEPTH_INNER>(bottom, lower, right, add);
        }
        wgmma_commit();
        // The products of the slice before are done when only this slice's are left.
        wgmma_wait<1>();
        if (slice > 0 && speaks) barrier_arrive(before);
        before = at.empty + place.stage * 8;
        place.advance(1);
    }
    wgmma_wait<0>();
    if (speaks) barrier_arrive(before);
}

/// Writes a warp's 16 rows of a part of its sums to its slab.
template <int PART>
DEVICE void put(const float (&sums)[64], float* slab) {
    int lane = int(threadIdx.x) % 32;
    UNROLL for (int j = 0; j < SLAB_COLUMNS / 8; j++) {
        int from = (PART * (SLAB_COLUMNS / 8) + j) * 4, to = lane / 4 * SLAB_PITCH + j * 8 + lane % 4 * 2;
        store<2>(slab, to, Vec<float, 2>{{sums[from], sums[from + 1]}});
        store<2>(slab, to + 8 * SLAB_PITCH, Vec<float, 2>{{sums[from + 2], sums[from + 3]}});
    }
}

/// Finishes a warp's rows of a tile, from `row` and BOX further on, in four quarters. The loop is not laid out flat, for its
/// code would not stay in the instruction cache.
template <class End>
DEVICE void finish_tile(const float (&top)[64], const float (&bottom)[64], float* memory, int row, int column, int rows,
                        const End& end) {
    int lane = int(threadIdx.x) % 32;
    UNROLL_BY(1) for (int quarter = 0; quarter < 4; quarter++) {
        int r = row + quarter / 2 * BOX, c = column + quarter % 2 * SLAB_COLUMNS;
        switch (quarter) {
            case 0:
                put<0>(top, memory);
                break;
            case 1:
                put<1>(top, memory);
                break;
            case 2:
                put<0>(bottom, memory);
                break;
            default:
                put<1>(bottom, memory);
        }
        sync_warp();
        finish_slab<16, SLAB_COLUMNS, SLAB_PITCH, 16, 0, 32, 4>(memory, lane, r, c, rows, end);
        sync_warp();
    }
}

template <bool A_DEPTH_INNER, bool B_DEPTH_INNER, class End>
DEVICE void product(const TensorMap& a, const TensorMap& b, const Product& p, const End& end) {
    DYNAMIC_SHARED(memory);
    Places at(memory);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < RING; stage++) {
            barrier_init(at.full + stage * 8, 1);
            // Each warp of the group whose slice it was.
            barrier_init(at.empty + stage * 8, 4);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    sync_block();

    int group = int(threadIdx.x) / GROUP_THREADS;
    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == 0) produce<A_DEPTH_INNER, B_DEPTH_INNER>(a, b, p, at);
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        int warp = int(threadIdx.x) / 32 - 4;
        float* slab = at.slabs + warp * (SLAB_BYTES / 4);
        int down = tiles_of(p.rows, HOPPER_TILE), across = tiles_of(p.columns, HOPPER_TILE);
        int slices = (p.depth_end - p.depth_first + HOPPER_SLICE - 1) / HOPPER_SLICE;
        RingPlace<RING> place{0, 0};
        int turn = 0;
        for (int index = blockIdx.x; index < down * across; index += gridDim.x) {
            if (turn == group - 1) {
                float top[64], bottom[64];
                multiply<A_DEPTH_INNER, B_DEPTH_INNER>(top, bottom, slices, place, at);
                hold(top);
                hold(bottom);
                Tile tile = tile_at(index, down, across);
                int row = tile.row * HOPPER_TILE + warp % 4 * 16, column = tile.column * HOPPER_TILE;
                finish_tile(top, bottom, slab, row, column, p.rows, end);
            }
            turn ^= 1;
            place.advance(slices);
        }
    }
}

// The grid is as many blocks along x as run at the same time, at most one a tile; for d_w also one a split of the rows along y.
// Dynamic shared memory: the ring, eight slabs, the barriers, and room to align the ring.

KERNEL BOUNDS(384, 1) hopper_forward(Global<bf16> y, Global<bf16> inner, const __grid_constant__ TensorMap x,
                                     const __grid_constant__ TensorMap w, Global<const float> bias, Global<const bf16> residual,
                                     int rows, int outputs, int inputs, int kind, DropoutMask mask) {
    ForwardEnd<bf16> end{y, inner, bias, residual, outputs, kind, mask};
    product<true, true>(x, w, Product{rows, outputs, 0, inputs}, end);
}

KERNEL BOUNDS(384, 1) hopper_input(Global<bf16> d_x, const __grid_constant__ TensorMap d_y, const __grid_constant__ TensorMap w,
                                   Global<const bf16> other, int rows, int outputs, int inputs, int kind) {
    InputEnd<bf16> end{d_x, other, inputs, kind};
    product<true, false>(d_y, w, Product{rows, inputs, 0, outputs}, end);
}

/// `d_w += d_y^T x`, or with several splits `d_w[split] = ...` over `length` rows each.
KERNEL BOUNDS(384, 1) hopper_weights(Global<float> d_w, const __grid_constant__ TensorMap d_y,
                                     const __grid_constant__ TensorMap x, int rows, int outputs, int inputs, int length) {
    int first = int(blockIdx.y) * length;
    WeightsEnd end{d_w + i64(blockIdx.y) * outputs * inputs, inputs, gridDim.y == 1};
    product<false, false>(d_y, x, Product{outputs, inputs, first, first + length < rows ? first + length : rows}, end);
}

#endif
