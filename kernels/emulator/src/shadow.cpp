#include "shadow.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace emulator {

__thread Moment moment;

// Which block and thread is behind a stamp (scheduler.cpp).
std::string block_of_stamp(u32 stamp);

namespace {

/// Unwritten memory and red zones: NaN as f32 and as bf16, -1 as an integer.
constexpr int poison = 0xff, red = 0xfb;
constexpr std::size_t alignment = 256, red_zone = 128;

Tag* no_tags(std::size_t count) {
    void* tags = std::calloc(std::max<std::size_t>(count, 1), sizeof(Tag));
    if (tags == nullptr) throw std::bad_alloc();
    return static_cast<Tag*>(tags);
}

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

[[noreturn]] void complain(const char* what, const Buffer& buffer, std::size_t offset, Conflict conflict, Tag tag) {
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
    Tag difference = 0;
    for (std::size_t i = 1; i < COUNT; i++) difference |= tags[i] ^ tags[0];
    return difference == 0;
}

template <bool SHARED, std::size_t COUNT>
void read(Buffer& buffer, std::size_t offset) {
    Tag* writers = buffer.writers.get() + offset;
    Tag* readers = buffer.readers.get() + offset;
    if (equal<COUNT>(writers) && equal<COUNT>(readers)) {
        Tag tag = check_read<SHARED>(buffer, offset, writers[0], readers[0]);
        if (tag != readers[0]) std::fill_n(readers, COUNT, tag);
        return;
    }
    for (std::size_t i = 0; i < COUNT; i++) readers[i] = check_read<SHARED>(buffer, offset + i, writers[i], readers[i]);
}

template <bool SHARED, std::size_t COUNT>
void write(Buffer& buffer, std::size_t offset) {
    Tag* writers = buffer.writers.get() + offset;
    const Tag* readers = buffer.readers.get() + offset;
    if (equal<COUNT>(writers) && equal<COUNT>(readers)) {
        check_write<SHARED, false>("a write", buffer, offset, writers[0], readers[0]);
    } else {
        for (std::size_t i = 0; i < COUNT; i++) check_write<SHARED, false>("a write", buffer, offset + i, writers[i], readers[i]);
    }
    std::fill_n(writers, COUNT, moment.mine);
}

template <std::size_t COUNT>
void read_any(Buffer& buffer, std::size_t offset) {
    buffer.shared ? read<true, COUNT>(buffer, offset) : read<false, COUNT>(buffer, offset);
}
template <std::size_t COUNT>
void write_any(Buffer& buffer, std::size_t offset) {
    buffer.shared ? write<true, COUNT>(buffer, offset) : write<false, COUNT>(buffer, offset);
}

}  // namespace

Buffer::Buffer(std::size_t room, bool shared, const char* name)
    : name(name), shared(shared), room(room), memory(new unsigned char[room + 2 * red_zone + alignment]) {
    start = (reinterpret_cast<std::uintptr_t>(memory.get()) + red_zone + alignment - 1) / alignment * alignment;
    writers.reset(no_tags(room));
    readers.reset(no_tags(room));
    std::memset(data() - red_zone, red, red_zone);
    bytes = room;
    std::memset(data(), poison, room);
    std::memset(data() + room, red, red_zone);
}

void Buffer::forget(std::size_t reachable) {
    bytes = std::min(reachable, room);
    std::memset(data(), poison, bytes);
    std::memset(data() + bytes, red, room - bytes);
    std::fill_n(writers.get(), room, never);
    std::fill_n(readers.get(), room, never);
    output_of = nullptr;
}

void Buffer::written_by_host(std::size_t offset, std::size_t count) { std::fill_n(writers.get() + offset, count, by_host); }

void Buffer::renumber() {
    for (std::size_t i = 0; i < room; i++) writers.get()[i] = writers.get()[i] == never ? never : by_host;
    std::fill_n(readers.get(), room, never);
}

bool Buffer::red_zones_are_whole() const {
    auto is_red = [](unsigned char byte) { return byte == red; };
    return std::all_of(data() - red_zone, data(), is_red) && std::all_of(data() + bytes, data() + bytes + red_zone, is_red);
}

std::string Buffer::description() const {
    std::string size = std::to_string(bytes) + " bytes";
    if (shared) return "shared memory `" + std::string(name) + "` (" + size + ")";
    if (argument < 0) return "memory that is no argument (" + size + ")";
    return "argument " + std::to_string(argument) + (constant ? " (an input of " : " (an output of ") + size + ")";
}

std::size_t offset_inside(const char* what, const Buffer& buffer, const void* address, std::size_t count) {
    std::size_t offset = reinterpret_cast<std::uintptr_t>(address) - buffer.start;
    if (offset < buffer.bytes && count <= buffer.bytes - offset) return offset;
    fail(std::string(what) + " of " + std::to_string(count) + " bytes outside " + buffer.description() + ", at byte " +
         std::to_string(static_cast<std::ptrdiff_t>(offset)));
}

void note_read(Buffer& buffer, std::size_t offset, std::size_t count) {
    switch (count) {
        case 2:
            return read_any<2>(buffer, offset);
        case 4:
            return read_any<4>(buffer, offset);
        case 8:
            return read_any<8>(buffer, offset);
        case 16:
            return read_any<16>(buffer, offset);
        default:
            for (std::size_t i = 0; i < count; i++) read_any<1>(buffer, offset + i);
    }
}

void note_write(Buffer& buffer, std::size_t offset, std::size_t count) {
    switch (count) {
        case 2:
            return write_any<2>(buffer, offset);
        case 4:
            return write_any<4>(buffer, offset);
        case 8:
            return write_any<8>(buffer, offset);
        case 16:
            return write_any<16>(buffer, offset);
        default:
            for (std::size_t i = 0; i < count; i++) write_any<1>(buffer, offset + i);
    }
}

void note_atomic(Buffer& buffer, std::size_t offset, std::size_t count) {
    for (std::size_t i = offset; i < offset + count; i++) {
        Tag& writer = buffer.writers.get()[i];
        if (writer == never) complain("an atomic operation", buffer, i, Conflict::unwritten, writer);
        check_write<false, true>("an atomic operation", buffer, i, writer, buffer.readers.get()[i]);
        writer = moment.mine + atomic;
    }
}

void note_start(Buffer& buffer, std::size_t offset, std::size_t count) {
    note_write(buffer, offset, count);
    std::fill_n(buffer.writers.get() + offset, count, in_flight | my_thread());
}

void note_arrival(Buffer& buffer, std::size_t offset, std::size_t count) {
    std::fill_n(buffer.writers.get() + offset, count, moment.mine);
}

}  // namespace emulator
