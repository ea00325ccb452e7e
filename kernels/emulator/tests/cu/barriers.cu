// Kernels whose threads do not meet, each beside one whose threads do. Never part of a product.
#include "mma.cuh"

/// Threads from `leave` on do not come to the barrier: they finish.
KERNEL barrier_without_some(Global<float> y, int leave) {
    int thread = threadIdx.x;
    y[thread] = 1.0f;
    if (thread >= leave) return;
    sync_block();
}
/// A barrier in a loop that threads from `longer` on go round once more.
KERNEL barriers_in_a_loop(Global<float> y, int longer) {
    int thread = threadIdx.x, rounds = thread >= longer ? 3 : 2;
    for (int i = 0; i < rounds; i++) sync_block();
    y[thread] = 1.0f;
}
/// Lanes from `leave` on are not in the operation `what`: they wait for the block, or are finished.
KERNEL warp_without_some(Global<float> y, int what, int leave, int finish) {
    int thread = threadIdx.x;
    y[thread] = 1.0f;
    if (thread >= leave) {
        if (finish != 0) return;
        sync_block();
    } else if (what == 0) {
        sync_warp();
    } else if (what == 1) {
        warp_sum(1.0f);
    } else if (what == 2) {
        ballot(true);
    } else {
        float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        u32 a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
        mma_m16n8k16(c, a, b);
    }
    if (thread < leave) sync_block();
}
/// Half of the warp in a shuffle, half in a vote: they must not be taken for one operation.
KERNEL different_operations(Global<float> y) {
    if (threadIdx.x < 16) {
        shuffle(1, 0);
    } else {
        ballot(true);
    }
    y[threadIdx.x] = 1.0f;
}
KERNEL lane_that_is_missing(Global<float> y) { y[threadIdx.x] = shuffle(1.0f, 31); }

/// What each lane gave arrives where it should.
KERNEL exchanges(Global<float> y) {
    int thread = threadIdx.x, lane = thread % 32;
    float from_next = shuffle(float(thread), lane + 1);
    u64 wide = shuffle_xor(u64(thread) << 40, 5);
    u32 odd = ballot(lane % 2 == 1);
    y[thread * 3] = from_next;
    y[thread * 3 + 1] = float(wide >> 40);
    y[thread * 3 + 2] = odd == 0xaaaaaaaau ? 1.0f : 0.0f;
}
/// A sum that depends on the order in which threads come: right for integers only.
KERNEL order_dependent(Global<float> y, Global<int> ticket) {
    int turn = atomic_add(ticket, 0, 1);
    y[blockIdx.x * blockDim.x + threadIdx.x] = float(turn);
}
/// 64 KiB of local memory a thread.
KERNEL deep_stack(Global<float> y, int rounds) {
    volatile float large[16384];
    for (int i = 0; i < rounds; i++) large[16383 - i] = 1.0f;
    float last = large[16383];
    y[threadIdx.x] = last;
}

EXPORT(barrier_without_some)
EXPORT(barriers_in_a_loop)
EXPORT(warp_without_some)
EXPORT(different_operations)
EXPORT(lane_that_is_missing)
EXPORT(exchanges)
EXPORT(order_dependent)
EXPORT(deep_stack)
