// Matrix instructions by themselves, for tests.
#include "mma.cuh"

/// c (16 x 8) = a (16 x 16) b (16 x 8) through ldmatrix; b is stored k by n (`TRANSPOSED` as well) or n by k.
template <bool K_BY_N>
DEVICE void product(Global<float> c, Global<const bf16> a, Global<const bf16> b) {
    SHARED(bf16, left, 256);
    SHARED(bf16, right, 256);
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) {
        bf16 x = a[i], zero = to_bf16(0.0f);
        left[i] = x;
        right[i] = zero;
    }
    sync_warp();
    for (int i = lane; i < 128; i += 32) {
        bf16 x = b[i];
        right[i] = x;
    }
    sync_warp();
    u32 fa[4], fb[4];
    // Matrices of A in the order of a[]: rows 0-7 and 8-15 of the left columns, then of the right ones.
    ldmatrix_x4(fa, left, lane % 16 * 16 + lane / 16 * 8);
    if (K_BY_N) {
        ldmatrix_x4_trans(fb, right, lane * 8);
    } else {
        // Rows of 16: the two matrices are the left and right halves; the other two are zeros that nothing uses.
        ldmatrix_x4(fb, right, lane < 16 ? lane % 8 * 16 + lane / 8 * 8 : 128);
    }
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    u32 two[2] = {fb[0], fb[1]};
    mma_m16n8k16(sums, fa, two);
    mma_m16n8k16(sums, fa, two);
    int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
KERNEL product_nn(Global<float> c, Global<const bf16> a, Global<const bf16> b) { product<true>(c, a, b); }
KERNEL product_nt(Global<float> c, Global<const bf16> a, Global<const bf16> b) { product<false>(c, a, b); }

/// The same product with fragments gathered by the PTX manual's formulas, without ldmatrix; b is n by k.
KERNEL product_by_formula(Global<float> c, Global<const bf16> a, Global<const bf16> b) {
    int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    u32 fa[4], fb[2];
    for (int i = 0; i < 4; i++) {
        int row = i % 2 == 0 ? g : g + 8, k = t * 2 + (i < 2 ? 0 : 8);
        bf16 low = a[row * 16 + k], high = a[row * 16 + k + 1];
        fa[i] = u32(high.bits) << 16 | low.bits;
    }
    for (int i = 0; i < 2; i++) {
        int k = t * 2 + i * 8;
        bf16 low = b[g * 16 + k], high = b[g * 16 + k + 1];
        fb[i] = u32(high.bits) << 16 | low.bits;
    }
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    mma_m16n8k16(sums, fa, fb);
    mma_m16n8k16(sums, fa, fb);
    for (int i = 0; i < 4; i++) c[(i < 2 ? g : g + 8) * 8 + t * 2 + i % 2] = sums[i];
}

/// What ldmatrix gives: 4 registers a lane plain, then 4 transposed.
KERNEL matrix_registers(Global<u32> registers, Global<const bf16> x) {
    SHARED(bf16, matrices, 256);
    int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) {
        bf16 value = x[i];
        matrices[i] = value;
    }
    sync_warp();
    u32 plain[4], transposed[4];
    ldmatrix_x4(plain, matrices, lane * 8);
    ldmatrix_x4_trans(transposed, matrices, lane * 8);
    for (int j = 0; j < 4; j++) {
        registers[lane * 8 + j] = plain[j];
        registers[lane * 8 + 4 + j] = transposed[j];
    }
}

/// y = x in tiles of 128 bytes a warp, two groups under way; the last values may be missing.
KERNEL copy_through_shared(Global<float> y, Global<const float> x, int tiles, int count) {
    SHARED(float, stages, 3 * 128);
    int lane = threadIdx.x;
    for (int tile = 0; tile < 2; tile++) {
        int at = tile * 128 + lane * 4;
        cp_async_16(stages, at, x, i64(at), at < count);
        cp_async_commit();
    }
    for (int tile = 0; tile < tiles; tile++) {
        cp_async_wait<1>();
        sync_block();
        int at = (tile + 2) * 128 + lane * 4;
        cp_async_16(stages, (tile + 2) % 3 * 128 + lane * 4, x, i64(at), at < count);
        cp_async_commit();
        // What another lane copied.
        for (int i = 0; i < 4; i++) {
            float value = stages[tile % 3 * 128 + i * 32 + lane];
            y[tile * 128 + i * 32 + lane] = value;
        }
    }
    cp_async_wait<0>();
}

EXPORT(product_nn)
EXPORT(product_nt)
EXPORT(product_by_formula)
EXPORT(matrix_registers)
EXPORT(copy_through_shared)
