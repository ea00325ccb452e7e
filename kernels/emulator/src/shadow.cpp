// Memory with its tags; what they mean is in access.cpp.
#include "shadow.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace emulator {

namespace {

/// Unwritten memory and red zones: NaN as f32 and as bf16, -1 as an integer.
constexpr int poison = 0xff, red = 0xfb;
constexpr std::size_t alignment = 256, red_zone = 128;

Tag* no_tags(std::size_t count) {
    void* tags = std::calloc(std::max<std::size_t>(count, 1), sizeof(Tag));
    if (tags == nullptr) throw std::bad_alloc();
    return static_cast<Tag*>(tags);
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

}  // namespace emulator
