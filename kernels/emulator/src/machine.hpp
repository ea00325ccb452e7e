// The emulator object, and a launch on it.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "fibre.hpp"
#include "shadow.hpp"

namespace emulator {

/// What belongs to one emulator: its memory. Any host thread may use it, one at a time.
struct Machine {
    std::mutex busy;
    std::map<std::uintptr_t, Buffer> buffers;
    /// The newest stamp.
    u32 stamp = 0;
    /// Most shared memory of a block.
    std::size_t shared_bytes = 0;
    /// 0: threads and blocks in their order; 1: backwards; else shuffled by this seed.
    std::uint64_t order = 0;
    /// Whether copying bytes that were never written to the host is an error.
    bool outputs_are_checked = true;

    /// The allocation with this address, or null.
    Buffer* find(std::uintptr_t address);
};

/// What a fibre waits for. `none`: it can run.
enum class Wait { none, sync_block, sync_warp, shuffle, vote, product, matrices, finished };

/// The same of every lane of a warp, done at once for all of them when all are there.
struct WarpOperation {
    Wait kind;
    /// Does it; `lanes` are what the lanes passed. Returns what is wrong, or null.
    const char* (*complete)(void** lanes, std::size_t count);
};

/// A queued cp.async.
struct Copy {
    Buffer* buffer;
    std::size_t offset;
    unsigned char bytes[16];
};

struct Thread {
    Context context;
    char* stack = nullptr;
    Wait wait = Wait::finished;
    const WarpOperation* operation = nullptr;
    void* passed = nullptr;
    /// Groups of copies under way, the open one last.
    std::vector<std::vector<Copy>> copies;
};

/// A launch on this host thread.
struct Launch {
    Machine& machine;
    const Kernel& kernel;
    void** arguments;
    std::vector<Buffer*> buffers;
    /// Static arrays by their place in the source, and the dynamic memory.
    std::map<const void*, Buffer> shared;
    Buffer dynamic;
    std::vector<Thread> threads;
    Context scheduler;
    std::size_t current = 0;
    /// Stamp of each warp's last synchronisation.
    std::vector<u32> warps;
    /// First stamp of every block so far.
    std::vector<std::pair<u32, Index3>> blocks;
    /// Counts draws of the order.
    std::uint64_t draws = 0;
    std::string error;
};
extern __thread Launch* launch;

/// Runs all blocks; false after an error, which is in `launch->error`.
bool run_blocks();

/// Waits for the other lanes, which pass their own `passed`; returns when the operation is complete for all.
void take_part(const WarpOperation& operation, void* passed);

/// A cp.async to this address begins: until it has finished, nobody may read or write there.
Copy start_copy(Buffer* known, void* to);
void finish_copy(const Copy& copy);

/// The block that an access with this stamp was of, for messages.
std::string block_of_stamp(u32 stamp);

const std::vector<Kernel>& kernels();

}  // namespace emulator
