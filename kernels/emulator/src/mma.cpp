// Host bodies of mma.cuh: layouts as in the PTX manual, see there.
#include "mma.cuh"

#include "machine.hpp"

namespace emulator {

namespace {

constexpr const char* missing_lanes = "a matrix instruction in a warp without 32 lanes";

/// Lower or upper half of a register as a number.
float half_of(u32 bits, int which) { return float_of_bits(which == 0 ? bits << 16 : bits & 0xffff0000u); }

const char* complete_product(void** lanes, std::size_t count) {
    if (count != 32) return missing_lanes;
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        const auto& given = *static_cast<Product*>(lanes[lane]);
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 2; i++) {
            a[g][2 * t + i] = half_of(given.a[0], i);
            a[g + 8][2 * t + i] = half_of(given.a[1], i);
            a[g][2 * t + 8 + i] = half_of(given.a[2], i);
            a[g + 8][2 * t + 8 + i] = half_of(given.a[3], i);
            b[2 * t + i][g] = half_of(given.b[0], i);
            b[2 * t + 8 + i][g] = half_of(given.b[1], i);
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        float* c = static_cast<Product*>(lanes[lane])->c;
        int g = lane / 4, t = lane % 4;
        for (int i = 0; i < 4; i++) {
            int row = g + i / 2 * 8, column = 2 * t + i % 2;
            for (int k = 0; k < 16; k++) c[i] += a[row][k] * b[k][column];
        }
    }
    return nullptr;
}

const char* complete_matrices(void** lanes, std::size_t count) {
    if (count != 32) return missing_lanes;
    bool transposed = static_cast<Rows*>(lanes[0])->transposed;
    u16 matrices[4][8][8];
    for (int lane = 0; lane < 32; lane++) {
        const auto& given = *static_cast<Rows*>(lanes[lane]);
        if (given.transposed != transposed) return "a warp of which a part is in ldmatrix and a part in ldmatrix.trans";
        std::memcpy(matrices[lane / 8][lane % 8], given.row, 16);
    }
    for (int lane = 0; lane < 32; lane++) {
        u32* to = static_cast<Rows*>(lanes[lane])->to;
        int g = lane / 4, t = lane % 4;
        for (int j = 0; j < 4; j++) {
            u16 low = transposed ? matrices[j][2 * t][g] : matrices[j][g][2 * t];
            u16 high = transposed ? matrices[j][2 * t + 1][g] : matrices[j][g][2 * t + 1];
            to[j] = u32(high) << 16 | low;
        }
    }
    return nullptr;
}

/// The current thread's groups; there is always an open one.
std::vector<std::vector<Copy>>& my_groups() {
    auto& groups = launch->threads[launch->current].copies;
    if (groups.empty()) groups.emplace_back();
    return groups;
}

}  // namespace

void multiply(Product mine) {
    static const WarpOperation operation{Wait::product, complete_product};
    take_part(operation, &mine);
}

void load_rows(Buffer* buffer, Rows mine) {
    static const WarpOperation operation{Wait::matrices, complete_matrices};
    if (reinterpret_cast<std::uintptr_t>(mine.row) % 16 != 0) fail("a row of ldmatrix is not aligned to 16 bytes");
    shared_read(buffer, mine.row, 16);
    take_part(operation, &mine);
}

void copy_async(Buffer* to_buffer, void* to, Buffer* from_buffer, const void* from) {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0) fail("cp.async's destination is not aligned to 16 bytes");
    if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) fail("cp.async's source is not aligned to 16 bytes");
    Copy copy = start_copy(to_buffer, to);
    if (from != nullptr) {
        global_read(from_buffer, from, sizeof copy.bytes);
        std::memcpy(copy.bytes, from, sizeof copy.bytes);
    }
    my_groups().back().push_back(copy);
}

void commit_copies() { my_groups().emplace_back(); }

void wait_copies(int pending) {
    auto& groups = my_groups();
    // The open group is not waited for.
    while (groups.size() > std::size_t(pending) + 1) {
        for (const Copy& copy : groups.front()) finish_copy(copy);
        groups.erase(groups.begin());
    }
}

}  // namespace emulator
