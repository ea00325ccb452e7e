// Who wrote and read each byte, and whether that was ordered before what runs now.
//
// Every byte has a writer's and a reader's tag: a stamp and who did it. The stamp counts launches, blocks and synchronisations:
// each of them starts a new one, and a thread's accesses bear the stamp of its warp's last synchronisation. Whether another
// access was ordered before the current thread's is then a comparison with a few limits, see Moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common.cuh"

namespace emulator {

/// A stamp in the upper bits, who in the lower.
using Tag = u32;
constexpr u32 who_bits = 11;
constexpr u32 who_mask = (1u << who_bits) - 1;
/// Below it: a thread's index.
constexpr u32 most_threads = 1024;
/// Of a writer: an atomic operation of thread `who - atomic`.
constexpr u32 atomic = most_threads;
/// Of readers: several lanes of warp `who - several_lanes`, several warps, several blocks.
constexpr u32 several_lanes = most_threads, several_warps = several_lanes + 32, several_blocks = several_warps + 1;
constexpr Tag never = 0, by_host = 1;
/// Stamp of a writer whose cp.async is under way.
constexpr Tag in_flight = ~who_mask;
constexpr u32 last_stamp = (in_flight >> who_bits) - 1;

inline Tag tag_of(u32 stamp, u32 who) { return stamp << who_bits | who; }
inline u32 stamp_of(Tag tag) { return tag >> who_bits; }
inline u32 who_of(Tag tag) { return tag & who_mask; }

/// The current thread's place in the order of things; tags below a limit are older than what it names.
struct Moment {
    /// Start of the launch, of the block, of the block's last barrier, of the warp's last synchronisation.
    Tag launch, block, barrier, warp;
    /// What this thread's plain accesses leave.
    Tag mine;
};
extern __thread Moment moment;

struct Buffer {
    /// In shared memory: the name in the source.
    const char* name = nullptr;
    bool shared = false;
    std::uintptr_t start = 0;
    /// Bytes that may be reached, and bytes that there are.
    std::size_t bytes = 0, room = 0;
    std::unique_ptr<unsigned char[]> memory;
    /// A tag for each of `room` bytes; zero pages until touched.
    std::unique_ptr<Tag, void (*)(void*)> writers{nullptr, std::free}, readers{nullptr, std::free};
    /// The current launch's argument that it is, or -1, and whether it may not be written.
    int argument = -1;
    bool constant = false;
    /// The kernel that last had it as an output.
    const char* output_of = nullptr;

    /// Memory with red zones on both sides, nothing written yet.
    Buffer(std::size_t room, bool shared, const char* name);
    unsigned char* data() const { return reinterpret_cast<unsigned char*>(start); }
    /// From now on `bytes` bytes may be reached, none of them written.
    void forget(std::size_t bytes);
    /// Bytes from `offset` on were written by the host.
    void written_by_host(std::size_t offset, std::size_t count);
    /// All that happened so far is ordered before all that follows.
    void renumber();
    /// False if somebody wrote past the checks beside the buffer.
    bool red_zones_are_whole() const;
    /// "argument 1 (an input of 400 bytes)".
    std::string description() const;
};

}  // namespace emulator
