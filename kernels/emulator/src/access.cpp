// The checks of every access of the running thread.
#include <algorithm>

#include "machine.hpp"

namespace emulator {

__thread Moment moment;

namespace {

u32 my_thread() { return who_of(moment.mine); }
bool of_my_warp(u32 thread) { return thread / 32 == my_thread() / 32; }

/// What stands against an access.
enum class Conflict { none, unwritten, on_its_way, thread_wrote, block_wrote, thread_read, block_read };

/// What an earlier write means for an access of the current thread.
template <bool SHARED, bool ATOMIC>
Conflict against_writer(Tag tag) {
    if (tag == moment.mine) return Conflict::none;
    if (tag >= in_flight) return Conflict::on_its_way;
    if (SHARED) {
        if (tag < moment.block) return Conflict::none;
    } else {
        if (tag < moment.launch) return Conflict::none;
        if (ATOMIC && who_of(tag) >= atomic) return Conflict::none;
        if (tag < moment.block) return Conflict::block_wrote;
    }
    if (tag < moment.barrier) return Conflict::none;
    u32 thread = who_of(tag) % most_threads;
    if (thread == my_thread()) return Conflict::none;
    if (of_my_warp(thread) && tag < moment.warp) return Conflict::none;
    return Conflict::thread_wrote;
}

/// What earlier reads mean for a write of the current thread.
template <bool SHARED>
Conflict against_readers(Tag tag) {
    if (tag == moment.mine) return Conflict::none;
    if (!SHARED) {
        if (tag < moment.launch) return Conflict::none;
        if (tag < moment.block || who_of(tag) == several_blocks) return Conflict::block_read;
    }
    if (tag < moment.barrier) return Conflict::none;
    u32 who = who_of(tag);
    if (who == my_thread()) return Conflict::none;
    bool my_warp = who < most_threads ? of_my_warp(who) : who < several_warps && who - several_lanes == my_thread() / 32;
    if (my_warp && tag < moment.warp) return Conflict::none;
    return Conflict::thread_read;
}

/// The reader's tag after a read by the current thread.
template <bool SHARED>
Tag with_me(Tag tag) {
    if (tag == moment.mine) return tag;
    u32 stamp = stamp_of(moment.mine);
    if (!SHARED && tag >= moment.launch) {
        if (who_of(tag) == several_blocks) return tag;
        if (tag < moment.block) return tag_of(stamp, several_blocks);
    }
    if (tag < moment.barrier) return moment.mine;
    u32 who = who_of(tag);
    if (who == my_thread()) return moment.mine;
    u32 warp = my_thread() / 32;
    bool my_warp = who < most_threads ? of_my_warp(who) : who == several_lanes + warp;
    if (!my_warp) return tag_of(stamp, several_warps);
    return tag < moment.warp ? moment.mine : tag_of(stamp, several_lanes + warp);
}

std::string readers_of(Tag tag) {
    u32 who = who_of(tag);
    if (who < most_threads) return "thread " + std::to_string(who);
    if (who < several_warps) return "several threads of warp " + std::to_string(who - several_lanes);
    return "several warps";
}

[[noreturn, gnu::cold, gnu::noinline]] void complain(const char* what, const Buffer& buffer, std::size_t offset, Conflict conflict, Tag tag) {
    std::string text = std::string(what) + " of byte " + std::to_string(offset) + " of " + buffer.description();
    switch (conflict) {
        case Conflict::unwritten:
            fail(text + ", which was never written, or only by a thread that runs later");
        case Conflict::on_its_way:
            fail(text + ", to which a cp.async of thread " + std::to_string(who_of(tag)) + " is still under way");
        case Conflict::thread_wrote:
            fail(text + ": a race, thread " + std::to_string(who_of(tag) % most_threads) + " wrote it with no barrier between");
        case Conflict::block_wrote:
            fail(text + ": a race, " + block_of_stamp(stamp_of(tag)) + " of this launch wrote it");
        case Conflict::thread_read:
            fail(text + ": a race, " + readers_of(tag) + " read it with no barrier between");
        default:
            fail(text + ": a race, " + (who_of(tag) == several_blocks ? "several blocks" : block_of_stamp(stamp_of(tag))) +
                 " of this launch read it");
    }
}

/// One check for bytes with equal tags.
template <bool SHARED>
Tag check_read(const Buffer& buffer, std::size_t offset, Tag writer, Tag readers) {
    if (writer == never) complain("a read", buffer, offset, Conflict::unwritten, writer);
    Conflict conflict = against_writer<SHARED, false>(writer);
    if (conflict != Conflict::none) complain("a read", buffer, offset, conflict, writer);
    return with_me<SHARED>(readers);
}
template <bool SHARED, bool ATOMIC>
void check_write(const char* what, const Buffer& buffer, std::size_t offset, Tag writer, Tag readers) {
    Conflict conflict = against_writer<SHARED, ATOMIC>(writer);
    if (conflict != Conflict::none) complain(what, buffer, offset, conflict, writer);
    conflict = against_readers<SHARED>(readers);
    if (conflict != Conflict::none) complain(what, buffer, offset, conflict, readers);
}

template <std::size_t COUNT>
bool equal(const Tag* tags) {
    if constexpr (COUNT == 1) return true;
    // Pairs of tags as words.
    std::uint64_t words[COUNT / 2 + 1];
    std::memcpy(words, tags, COUNT * sizeof(Tag));
    std::uint64_t difference = (words[0] >> 32) ^ (words[0] & 0xffffffff);
    for (std::size_t i = 1; i < COUNT / 2; i++) difference |= words[i] ^ words[0];
    return difference == 0;
}

/// Nothing stands against the current thread's access: the common case, told at once.
template <bool SHARED>
bool is_quiet(Tag tag) {
    return tag < (SHARED ? moment.barrier : moment.launch) || tag == moment.mine;
}

template <bool SHARED, std::size_t COUNT>
void read(Buffer& buffer, std::size_t offset) {
    Tag* writers = buffer.writers.get() + offset;
    Tag* readers = buffer.readers.get() + offset;
    if (!equal<COUNT>(writers) || !equal<COUNT>(readers)) {
        for (std::size_t i = 0; i < COUNT; i++) readers[i] = check_read<SHARED>(buffer, offset + i, writers[i], readers[i]);
        return;
    }
    Tag writer = writers[0], reader = readers[0], tag = moment.mine;
    if (writer == never || !is_quiet<SHARED>(writer) || !is_quiet<SHARED>(reader)) tag = check_read<SHARED>(buffer, offset, writer, reader);
    if (tag != reader) std::fill_n(readers, COUNT, tag);
}

template <bool SHARED, std::size_t COUNT>
void write(Buffer& buffer, std::size_t offset) {
    Tag* writers = buffer.writers.get() + offset;
    const Tag* readers = buffer.readers.get() + offset;
    if (!equal<COUNT>(writers) || !equal<COUNT>(readers)) {
        for (std::size_t i = 0; i < COUNT; i++) check_write<SHARED, false>("a write", buffer, offset + i, writers[i], readers[i]);
    } else if (!is_quiet<SHARED>(writers[0]) || !is_quiet<SHARED>(readers[0])) {
        check_write<SHARED, false>("a write", buffer, offset, writers[0], readers[0]);
    }
    std::fill_n(writers, COUNT, moment.mine);
}

template <bool SHARED>
void note_read(Buffer& buffer, std::size_t offset, std::size_t count) {
    switch (count) {
        case 2:
            return read<SHARED, 2>(buffer, offset);
        case 4:
            return read<SHARED, 4>(buffer, offset);
        case 8:
            return read<SHARED, 8>(buffer, offset);
        case 16:
            return read<SHARED, 16>(buffer, offset);
        default:
            for (std::size_t i = 0; i < count; i++) read<SHARED, 1>(buffer, offset + i);
    }
}

template <bool SHARED>
void note_write(Buffer& buffer, std::size_t offset, std::size_t count) {
    switch (count) {
        case 2:
            return write<SHARED, 2>(buffer, offset);
        case 4:
            return write<SHARED, 4>(buffer, offset);
        case 8:
            return write<SHARED, 8>(buffer, offset);
        case 16:
            return write<SHARED, 16>(buffer, offset);
        default:
            for (std::size_t i = 0; i < count; i++) write<SHARED, 1>(buffer, offset + i);
    }
}

[[noreturn, gnu::cold, gnu::noinline]] void outside(const char* what, const Buffer& buffer, std::size_t offset, std::size_t count) {
    fail(std::string(what) + " of " + std::to_string(count) + " bytes outside " + buffer.description() + ", at byte " +
         std::to_string(static_cast<std::ptrdiff_t>(offset)));
}

/// Offset of an access, after the check that all of it lies inside.
std::size_t offset_inside(const char* what, const Buffer& buffer, const void* address, std::size_t count) {
    std::size_t offset = reinterpret_cast<std::uintptr_t>(address) - buffer.start;
    if (offset >= buffer.bytes || count > buffer.bytes - offset) outside(what, buffer, offset, count);
    return offset;
}

/// The buffer that a pointer points into; one made from an address alone names none.
Buffer& global_buffer(const char* what, Buffer* known, const void* address) {
    if (known != nullptr) return *known;
    Buffer* buffer = launch->machine.find(reinterpret_cast<std::uintptr_t>(address));
    if (buffer == nullptr) fail(std::string(what) + " outside every allocation (a null pointer?)");
    return *buffer;
}

Buffer& shared_buffer(Buffer* known, const void* address) {
    if (known != nullptr) return *known;
    auto holds = [&](const Buffer& buffer) { return reinterpret_cast<std::uintptr_t>(address) - buffer.start < buffer.room; };
    for (auto& [site, buffer] : launch->shared) {
        if (holds(buffer)) return buffer;
    }
    if (!holds(launch->dynamic)) fail("an access outside the block's shared memory");
    return launch->dynamic;
}

void refuse_constant(const Buffer& buffer) {
    if (buffer.constant) fail("a write to " + buffer.description());
}

}  // namespace

void global_read(Buffer* known, const void* address, std::size_t bytes) {
    Buffer& buffer = global_buffer("a read", known, address);
    note_read<false>(buffer, offset_inside("a read", buffer, address, bytes), bytes);
}

void global_write(Buffer* known, void* address, std::size_t bytes) {
    Buffer& buffer = global_buffer("a write", known, address);
    std::size_t offset = offset_inside("a write", buffer, address, bytes);
    refuse_constant(buffer);
    note_write<false>(buffer, offset, bytes);
}

void global_atomic(Buffer* known, void* address, std::size_t bytes) {
    Buffer& buffer = global_buffer("an atomic operation", known, address);
    std::size_t offset = offset_inside("an atomic operation", buffer, address, bytes);
    refuse_constant(buffer);
    for (std::size_t i = offset; i < offset + bytes; i++) {
        Tag& writer = buffer.writers.get()[i];
        if (writer == never) complain("an atomic operation", buffer, i, Conflict::unwritten, writer);
        check_write<false, true>("an atomic operation", buffer, i, writer, buffer.readers.get()[i]);
        writer = moment.mine + atomic;
    }
}

void shared_read(Buffer* known, const void* address, std::size_t bytes) {
    Buffer& buffer = shared_buffer(known, address);
    note_read<true>(buffer, offset_inside("a read", buffer, address, bytes), bytes);
}

void shared_write(Buffer* known, void* address, std::size_t bytes) {
    Buffer& buffer = shared_buffer(known, address);
    note_write<true>(buffer, offset_inside("a write", buffer, address, bytes), bytes);
}

Copy start_copy(Buffer* known, void* to) {
    Buffer& buffer = shared_buffer(known, to);
    Copy copy{&buffer, offset_inside("cp.async: a write", buffer, to, sizeof copy.bytes), {}};
    note_write<true>(buffer, copy.offset, sizeof copy.bytes);
    std::fill_n(buffer.writers.get() + copy.offset, sizeof copy.bytes, in_flight | my_thread());
    return copy;
}

void finish_copy(const Copy& copy) {
    std::fill_n(copy.buffer->writers.get() + copy.offset, sizeof copy.bytes, moment.mine);
    std::memcpy(copy.buffer->data() + copy.offset, copy.bytes, sizeof copy.bytes);
}

}  // namespace emulator
