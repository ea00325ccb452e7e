// A kernel full of barriers, to time the emulator.
#include "common.cuh"

/// Every block takes sums of its 256 values again and again, through shared memory and shuffles.
KERNEL many_barriers(Global<float> y, Global<const float> x, int rounds) {
    SHARED(float, sums, 8);
    int thread = threadIdx.x, warp = thread / 32;
    float value = x[blockIdx.x * 256 + thread];
    for (int round = 0; round < rounds; round++) {
        float sum = warp_sum(value);
        if (thread % 32 == 0) sums[warp] = sum;
        sync_block();
        float total = 0.0f;
        for (int i = 0; i < 8; i++) {
            float part = sums[i];
            total += part;
        }
        sync_block();
        value += total * 0.001f;
    }
    y[blockIdx.x * 256 + thread] = value;
}

EXPORT(many_barriers)
