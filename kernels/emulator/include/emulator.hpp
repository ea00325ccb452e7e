// The device's side of common.cuh on the host: a block's threads are fibres, and every access is checked.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace emulator {

struct Index3 {
    unsigned x, y, z;
};

/// What a running thread sees; the scheduler sets it before it switches to the thread's fibre.
struct Place {
    Index3 thread, block, block_size, grid_size;
};
// Not `thread_local`: that would ask for a dynamic initialiser at every use.
extern __thread Place place;

/// Ends the launch with an error that names block and thread. Does not return.
[[noreturn]] void fail(const std::string& message);

/// An allocation, or an array in shared memory: what a pointer into it may reach, and who wrote and read it.
struct Buffer;

/// Checks of one access. A pointer that was made from an address alone has no buffer: the address is looked up then.
void global_read(Buffer* buffer, const void* address, std::size_t bytes);
void global_write(Buffer* buffer, void* address, std::size_t bytes);
void global_atomic(Buffer* buffer, void* address, std::size_t bytes);
void shared_read(Buffer* buffer, const void* address, std::size_t bytes);
void shared_write(Buffer* buffer, void* address, std::size_t bytes);

struct SharedMemory {
    u8* address;
    Buffer* buffer;
};
/// The block's static shared array of this place in the source: the same memory for every thread of the block.
SharedMemory shared_array(const void* site, const char* name, std::size_t bytes);
/// The block's dynamic shared memory.
SharedMemory dynamic_shared();

void sync_block();
void sync_warp();
/// Every lane of the warp gives 8 bytes and gets those of `lane`.
std::uint64_t shuffle(std::uint64_t mine, int lane);
/// Bit i of the result is what lane i gave.
u32 vote(bool mine);
int lane();

struct GlobalSpace {
    static void read(Buffer* buffer, const void* address, std::size_t bytes) { global_read(buffer, address, bytes); }
    static void write(Buffer* buffer, void* address, std::size_t bytes) { global_write(buffer, address, bytes); }
};
struct SharedSpace {
    static void read(Buffer* buffer, const void* address, std::size_t bytes) { shared_read(buffer, address, bytes); }
    static void write(Buffer* buffer, void* address, std::size_t bytes) { shared_write(buffer, address, bytes); }
};

}  // namespace emulator

#define KERNEL static void
#define BOUNDS(threads, blocks)
#define DEVICE inline
#define threadIdx (emulator::place.thread)
#define blockIdx (emulator::place.block)
#define blockDim (emulator::place.block_size)
#define gridDim (emulator::place.grid_size)

/// A reference that checks.
template <class T, class Space>
struct Checked {
    using Value = std::remove_const_t<T>;
    T* address;
    emulator::Buffer* buffer;
    operator Value() const {
        Space::read(buffer, address, sizeof(T));
        return *address;
    }
    Checked(T* address, emulator::Buffer* buffer) : address(address), buffer(buffer) {}
    Checked(const Checked&) = default;
    const Checked& operator=(const Value& value) const {
        Space::write(buffer, address, sizeof(T));
        *address = value;
        return *this;
    }
    const Checked& operator=(const Checked& other) const { return *this = Value(other); }
    const Checked& operator+=(const Value& value) const { return *this = Value(*this) + value; }
    const Checked& operator*=(const Value& value) const { return *this = Value(*this) * value; }
};

template <class T, class Space>
struct Pointer {
    T* address;
    emulator::Buffer* buffer = nullptr;
    Checked<T, Space> operator[](i64 index) const { return {address + index, buffer}; }
    Pointer operator+(i64 offset) const { return {address + offset, buffer}; }
    explicit operator bool() const { return address != nullptr; }
    operator Pointer<const T, Space>() const { return {address, buffer}; }
};

template <class T>
using Global = Pointer<T, emulator::GlobalSpace>;
template <class T>
using Shared = Pointer<T, emulator::SharedSpace>;

template <class T>
Shared<T> typed(emulator::SharedMemory memory) {
    return {reinterpret_cast<T*>(memory.address), memory.buffer};
}

#define SHARED(type, name, count)      \
    static const char name##_site = 0; \
    const Shared<type> name = typed<type>(emulator::shared_array(&name##_site, #name, sizeof(type) * (count)))
#define UNROLL
#define UNROLL_BY(count)
#define DYNAMIC_SHARED(name) u8* const name = emulator::dynamic_shared().address

template <class T>
Shared<T> carve(u8* memory, int offset) {
    if (offset % alignof(T) != 0) emulator::fail("a part of shared memory is not aligned");
    return {reinterpret_cast<T*>(memory + offset), emulator::dynamic_shared().buffer};
}

template <class T>
Global<T> at_address(u64 address) {
    return {reinterpret_cast<T*>(address)};
}

template <int N, class T, class Space>
Vec<std::remove_const_t<T>, N> load(Pointer<T, Space> from, i64 index) {
    using Value = Vec<std::remove_const_t<T>, N>;
    T* address = from.address + index;
    if (reinterpret_cast<std::uintptr_t>(address) % sizeof(Value) != 0) emulator::fail("a vector load is not aligned");
    Space::read(from.buffer, address, sizeof(Value));
    Value value;
    std::memcpy(&value, address, sizeof(Value));
    return value;
}
template <int N, class T, class Space>
void store(Pointer<T, Space> to, i64 index, const Vec<T, N>& values) {
    T* address = to.address + index;
    if (reinterpret_cast<std::uintptr_t>(address) % sizeof(values) != 0) emulator::fail("a vector store is not aligned");
    Space::write(to.buffer, address, sizeof(values));
    std::memcpy(address, &values, sizeof(values));
}

inline void sync_block() { emulator::sync_block(); }
inline void sync_warp() { emulator::sync_warp(); }
template <class T>
T shuffle(T value, int lane) {
    static_assert(sizeof(T) <= 8, "at most 8 bytes");
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof(T));
    word = emulator::shuffle(word, lane & 31);
    std::memcpy(&value, &word, sizeof(T));
    return value;
}
template <class T>
T shuffle_xor(T value, int mask) {
    return shuffle(value, emulator::lane() ^ mask);
}
inline u32 ballot(bool value) { return emulator::vote(value); }
inline int atomic_add(Global<int> to, i64 index, int value) {
    int* address = to.address + index;
    emulator::global_atomic(to.buffer, address, sizeof(int));
    int old = *address;
    *address = old + value;
    return old;
}

inline u32 float_bits(float value) {
    u32 bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline float float_of_bits(u32 bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline u32 multiply_high(u32 a, u32 b) { return u32((u64(a) * b) >> 32); }
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }

#include "table.hpp"
