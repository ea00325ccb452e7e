// Host bodies of mma.cuh: layouts as in the PTX manual, see there.
#include <deque>

#include "mma.cuh"

namespace emulator {

namespace {

/// Lower or upper half of a register as a number.
float half_of(u32 bits, int which) { return float_of_bits(which == 0 ? bits << 16 : bits & 0xffff0000u); }

/// The pointer that every lane gave.
template <class T>
void exchange(const T& mine, const T* (&all)[32]) {
    if (place.block_size.x % 32 != 0) fail("a matrix instruction in a warp without 32 lanes");
    for (int i = 0; i < 32; i++) all[i] = reinterpret_cast<const T*>(warp_exchange(reinterpret_cast<std::uint64_t>(&mine), i));
}

}  // namespace

void multiply(Product mine) {
    const Product* lanes[32];
    exchange(mine, lanes);
    int g = lane() / 4, t = lane() % 4;
    float sums[4];
    for (int i = 0; i < 4; i++) {
        int row = g + i / 2 * 8, column = 2 * t + i % 2;
        sums[i] = mine.c[i];
        for (int k = 0; k < 16; k++) {
            // Lanes that hold (row, k) of A and (k, column) of B.
            const Product& left = *lanes[row % 8 * 4 + k % 8 / 2];
            const Product& right = *lanes[column * 4 + k % 8 / 2];
            sums[i] += half_of(left.a[row / 8 + k / 8 * 2], k % 2) * half_of(right.b[k / 8], k % 2);
        }
    }
    warp_barrier();
    for (int i = 0; i < 4; i++) mine.c[i] = sums[i];
}

void load_rows(Rows mine) {
    if (reinterpret_cast<std::uintptr_t>(mine.row) % 16 != 0) fail("a row of ldmatrix is not aligned to 16 bytes");
    shared_read(mine.row, 16);
    const Rows* lanes[32];
    exchange(mine, lanes);
    int g = lane() / 4, t = lane() % 4;
    u32 values[4];
    for (int j = 0; j < 4; j++) {
        u16 low, high;
        for (int i = 0; i < 2; i++) {
            int row = mine.transposed ? 2 * t + i : g, column = mine.transposed ? g : 2 * t + i;
            u16 value;
            std::memcpy(&value, static_cast<const char*>(lanes[j * 8 + row]->row) + 2 * column, 2);
            (i == 0 ? low : high) = value;
        }
        values[j] = u32(high) << 16 | low;
    }
    warp_barrier();
    for (int j = 0; j < 4; j++) mine.to[j] = values[j];
}

namespace {

struct Copy {
    void* to;
    unsigned char bytes[16];
};
/// Groups of copies of every thread, the open one last.
thread_local std::deque<std::vector<Copy>> queues[1024];

}  // namespace

void copy_async(void* to, const void* from) {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0) fail("cp.async's destination is not aligned to 16 bytes");
    if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) fail("cp.async's source is not aligned to 16 bytes");
    Copy copy{to, {}};
    if (from != nullptr) {
        global_read(from, 16);
        std::memcpy(copy.bytes, from, 16);
    }
    auto& groups = queues[place.thread.x];
    if (groups.empty()) groups.emplace_back();
    groups.back().push_back(copy);
}

void commit_copies() {
    auto& groups = queues[place.thread.x];
    if (groups.empty()) groups.emplace_back();
    groups.emplace_back();
}

void wait_copies(int pending) {
    auto& groups = queues[place.thread.x];
    // The open group is not waited for.
    while (groups.size() > std::size_t(pending) + 1) {
        for (const Copy& copy : groups.front()) {
            shared_write(copy.to, 16);
            std::memcpy(copy.to, copy.bytes, 16);
        }
        groups.pop_front();
    }
}

void forget_copies() {
    for (auto& groups : queues) groups.clear();
}

}  // namespace emulator
