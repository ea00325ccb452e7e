// Runs the kernels' sources on the host: see emulator.hpp for what a kernel sees and lib.rs for who calls this.
#include <ucontext.h>

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>

#include "common.cuh"

namespace emulator {

thread_local Place place;
/// Drops the copies that a block left under way (mma.cpp).
void forget_copies();

namespace {

constexpr std::size_t stack_bytes = 64 * 1024;

enum class Wait { none, block, warp, finished };

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    Index3 thread;
    Wait wait;
    std::uint64_t given;
};

/// A launch on this host thread: its fibres, the block's shared memory, the first error.
struct Launch {
    const Kernel* kernel;
    void** arguments;
    ucontext_t scheduler;
    std::vector<Fibre> fibres;
    std::size_t current;
    std::map<const void*, std::vector<std::max_align_t>> shared;
    std::vector<std::max_align_t> dynamic;
    std::string error;
};
thread_local Launch* launch = nullptr;

/// Allocations of the device, by address: bytes of each.
thread_local std::map<std::uintptr_t, std::size_t> allocations;

std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

void switch_to_scheduler() {
    Fibre& mine = launch->fibres[launch->current];
    swapcontext(&mine.context, &launch->scheduler);
}

void wait_for(Wait what) {
    launch->fibres[launch->current].wait = what;
    switch_to_scheduler();
}

void fibre_body() {
    launch->kernel->run(launch->kernel->function, launch->arguments);
    wait_for(Wait::finished);
}

bool inside(std::uintptr_t address, std::size_t bytes) {
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return false;
    auto [start, size] = *std::prev(after);
    return address + bytes <= start + size;
}

/// Runs the fibres of one block until all are finished; false after an error.
bool run_block() {
    std::size_t count = launch->fibres.size();
    for (std::size_t i = 0; i < count; i++) {
        Fibre& fibre = launch->fibres[i];
        fibre.wait = Wait::none;
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack.get();
        fibre.context.uc_stack.ss_size = stack_bytes;
        fibre.context.uc_link = nullptr;
        makecontext(&fibre.context, fibre_body, 0);
    }
    for (;;) {
        for (std::size_t i = 0; i < count; i++) {
            Fibre& fibre = launch->fibres[i];
            if (fibre.wait != Wait::none) continue;
            launch->current = i;
            place.thread = fibre.thread;
            swapcontext(&launch->scheduler, &fibre.context);
            if (!launch->error.empty()) return false;
        }
        // Every thread waits now. Warps whose lanes all wait for each other go on first, then the block.
        bool progress = false;
        for (std::size_t first = 0; first < count; first += 32) {
            std::size_t end = std::min(first + 32, count);
            bool all = true;
            for (std::size_t i = first; i < end; i++) all &= launch->fibres[i].wait == Wait::warp;
            if (!all) continue;
            for (std::size_t i = first; i < end; i++) launch->fibres[i].wait = Wait::none;
            progress = true;
        }
        if (progress) continue;
        std::size_t finished = 0, at_barrier = 0;
        for (Fibre& fibre : launch->fibres) {
            finished += fibre.wait == Wait::finished;
            at_barrier += fibre.wait == Wait::block;
        }
        if (finished == count) return true;
        if (at_barrier != count) {
            launch->error = "threads of a block wait at different barriers";
            return false;
        }
        for (Fibre& fibre : launch->fibres) fibre.wait = Wait::none;
    }
}

}  // namespace

void add_kernel(Kernel kernel) { kernels().push_back(std::move(kernel)); }

void fail(const std::string& message) {
    std::ostringstream text;
    text << message << " (block " << place.block.x << "," << place.block.y << "," << place.block.z << ", thread " << place.thread.x << ")";
    launch->error = text.str();
    switch_to_scheduler();
    std::abort();
}

void global_read(const void* address, std::size_t bytes) {
    if (!inside(reinterpret_cast<std::uintptr_t>(address), bytes)) fail("a read outside every allocation");
}
void global_write(void* address, std::size_t bytes) {
    if (!inside(reinterpret_cast<std::uintptr_t>(address), bytes)) fail("a write outside every allocation");
}
void shared_read(const void*, std::size_t) {}
void shared_write(void*, std::size_t) {}

void* shared_array(const void* site, std::size_t bytes) {
    std::vector<std::max_align_t>& memory = launch->shared[site];
    if (memory.empty()) memory.resize(bytes / sizeof(std::max_align_t) + 1);
    return memory.data();
}
void* dynamic_shared() { return launch->dynamic.data(); }

void block_barrier() { wait_for(Wait::block); }
void warp_barrier() { wait_for(Wait::warp); }
int lane() { return int(launch->current % 32); }
std::uint64_t warp_exchange(std::uint64_t mine, int lane) {
    launch->fibres[launch->current].given = mine;
    warp_barrier();
    std::size_t first = launch->current / 32 * 32;
    std::uint64_t theirs = launch->fibres[first + lane].given;
    warp_barrier();
    return theirs;
}

}  // namespace emulator

using namespace emulator;

extern "C" {

std::uint64_t emulator_allocate(std::size_t bytes) {
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
    if (memory == nullptr) return 0;
    std::memset(memory, 0xa5, bytes);
    allocations[reinterpret_cast<std::uintptr_t>(memory)] = bytes;
    return reinterpret_cast<std::uint64_t>(memory);
}

void emulator_free(std::uint64_t address) {
    if (allocations.erase(address) == 1) std::free(reinterpret_cast<void*>(address));
}

/// Number of arguments of a kernel and their kinds; -1 if there is no such kernel.
int emulator_kinds(const char* name, int* kinds, int room) {
    for (const Kernel& kernel : kernels()) {
        if (std::strcmp(kernel.name, name) != 0) continue;
        for (int i = 0; i < int(kernel.kinds.size()) && i < room; i++) kinds[i] = int(kernel.kinds[i]);
        return int(kernel.kinds.size());
    }
    return -1;
}

/// Runs a kernel; 0, or 1 with a message in `error`.
int emulator_launch(const char* name, const unsigned* grid, unsigned block, unsigned shared, void** arguments, char* error, std::size_t room) {
    auto found = std::find_if(kernels().begin(), kernels().end(), [&](const Kernel& k) { return std::strcmp(k.name, name) == 0; });
    Launch state{};
    state.kernel = &*found;
    state.arguments = arguments;
    state.fibres.resize(block);
    for (unsigned i = 0; i < block; i++) {
        state.fibres[i].stack.reset(new char[stack_bytes]);
        state.fibres[i].thread = {i, 0, 0};
    }
    launch = &state;
    place.block_size = {block, 1, 1};
    place.grid_size = {grid[0], grid[1], grid[2]};
    bool good = true;
    for (unsigned z = 0; z < grid[2] && good; z++)
        for (unsigned y = 0; y < grid[1] && good; y++)
            for (unsigned x = 0; x < grid[0] && good; x++) {
                place.block = {x, y, z};
                state.shared.clear();
                forget_copies();
                state.dynamic.assign(shared / sizeof(std::max_align_t) + 1, {});
                good = run_block();
            }
    launch = nullptr;
    std::strncpy(error, state.error.c_str(), room - 1);
    return good ? 0 : 1;
}
}
