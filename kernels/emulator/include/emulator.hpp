// The device's side of common.cuh on the host: a block's threads are fibres, and every access is checked.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace emulator {

struct Index3 {
    unsigned x, y, z;
};

/// What a running thread sees; the scheduler sets it before it switches to the thread's fibre.
struct Place {
    Index3 thread, block, block_size, grid_size;
};
extern thread_local Place place;

/// Ends the launch with an error that names kernel, block and thread. Does not return.
[[noreturn]] void fail(const std::string& message);

/// Checks of one access to global memory.
void global_read(const void* address, std::size_t bytes);
void global_write(void* address, std::size_t bytes);
/// Checks of one access to shared memory.
void shared_read(const void* address, std::size_t bytes);
void shared_write(void* address, std::size_t bytes);

/// The block's static shared array of this place in the source: the same memory for every thread of the block.
void* shared_array(const void* site, std::size_t bytes);
/// The block's dynamic shared memory.
void* dynamic_shared();

/// Waits for every thread of the block.
void block_barrier();
/// Waits for every lane of the warp.
void warp_barrier();
/// Every lane of the warp gives 8 bytes and gets those of `lane`.
std::uint64_t warp_exchange(std::uint64_t mine, int lane);
int lane();

/// What an argument of a kernel is, to check what the host passes.
enum class Kind : int { pointer, constant_pointer, i32, u32, i64, u64, f32, dropout };

struct Kernel {
    const char* name;
    void (*run)(void (*function)(), void** arguments);
    void (*function)();
    std::vector<Kind> kinds;
};
void add_kernel(Kernel kernel);

}  // namespace emulator

#define KERNEL static void
#define DEVICE inline
#define threadIdx (emulator::place.thread)
#define blockIdx (emulator::place.block)
#define blockDim (emulator::place.block_size)
#define gridDim (emulator::place.grid_size)

/// A reference that checks.
template <class T, void (*READ)(const void*, std::size_t), void (*WRITE)(void*, std::size_t)>
struct Checked {
    T* address;
    operator std::remove_const_t<T>() const {
        READ(address, sizeof(T));
        return *address;
    }
    Checked(T* address) : address(address) {}
    Checked(const Checked&) = default;
    const Checked& operator=(const std::remove_const_t<T>& value) const {
        WRITE(address, sizeof(T));
        *address = value;
        return *this;
    }
    const Checked& operator=(const Checked& other) const { return *this = std::remove_const_t<T>(other); }
    const Checked& operator+=(const std::remove_const_t<T>& value) const { return *this = std::remove_const_t<T>(*this) + value; }
    const Checked& operator*=(const std::remove_const_t<T>& value) const { return *this = std::remove_const_t<T>(*this) * value; }
};

template <class T, void (*READ)(const void*, std::size_t), void (*WRITE)(void*, std::size_t)>
struct Pointer {
    T* address;
    Checked<T, READ, WRITE> operator[](i64 index) const { return {address + index}; }
    Pointer operator+(i64 offset) const { return {address + offset}; }
    explicit operator bool() const { return address != nullptr; }
    operator Pointer<const T, READ, WRITE>() const { return {address}; }
};

template <class T>
using Global = Pointer<T, emulator::global_read, emulator::global_write>;
template <class T>
using Shared = Pointer<T, emulator::shared_read, emulator::shared_write>;

#define SHARED(type, name, count)      \
    static const char name##_site = 0; \
    const Shared<type> name { static_cast<type*>(emulator::shared_array(&name##_site, sizeof(type) * (count))) }
#define DYNAMIC_SHARED(name) u8* const name = static_cast<u8*>(emulator::dynamic_shared())

template <class T>
Shared<T> carve(u8* memory, int offset) {
    if (offset % alignof(T) != 0) emulator::fail("a part of shared memory is not aligned");
    return {reinterpret_cast<T*>(memory + offset)};
}

template <int N, class T, void (*READ)(const void*, std::size_t), void (*WRITE)(void*, std::size_t)>
Vec<std::remove_const_t<T>, N> load(Pointer<T, READ, WRITE> from, i64 index) {
    using Value = Vec<std::remove_const_t<T>, N>;
    T* address = from.address + index;
    if (reinterpret_cast<std::uintptr_t>(address) % sizeof(Value) != 0) emulator::fail("a vector load is not aligned");
    READ(address, sizeof(Value));
    Value value;
    std::memcpy(&value, address, sizeof(Value));
    return value;
}
template <int N, class T, void (*READ)(const void*, std::size_t), void (*WRITE)(void*, std::size_t)>
void store(Pointer<T, READ, WRITE> to, i64 index, const Vec<T, N>& values) {
    T* address = to.address + index;
    if (reinterpret_cast<std::uintptr_t>(address) % sizeof(values) != 0) emulator::fail("a vector store is not aligned");
    WRITE(address, sizeof(values));
    std::memcpy(address, &values, sizeof(values));
}

inline void sync_block() { emulator::block_barrier(); }
inline void sync_warp() { emulator::warp_barrier(); }
template <class T>
T shuffle(T value, int lane) {
    static_assert(sizeof(T) <= 8, "at most 8 bytes");
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof(T));
    word = emulator::warp_exchange(word, lane & 31);
    std::memcpy(&value, &word, sizeof(T));
    return value;
}
template <class T>
T shuffle_xor(T value, int mask) {
    return shuffle(value, emulator::lane() ^ mask);
}
inline int atomic_add(Global<int> to, i64 index, int value) {
    int old = to[index];
    to[index] = old + value;
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

// ---- the table of kernels -------------------------------------------------------------------------------------------

struct DropoutMask;

namespace emulator {

template <class T>
struct KindOf;
template <class T>
struct KindOf<Global<T>> {
    static constexpr Kind kind = std::is_const_v<T> ? Kind::constant_pointer : Kind::pointer;
};
template <>
struct KindOf<int> {
    static constexpr Kind kind = Kind::i32;
};
template <>
struct KindOf<u32> {
    static constexpr Kind kind = Kind::u32;
};
template <>
struct KindOf<i64> {
    static constexpr Kind kind = Kind::i64;
};
template <>
struct KindOf<u64> {
    static constexpr Kind kind = Kind::u64;
};
template <>
struct KindOf<float> {
    static constexpr Kind kind = Kind::f32;
};
template <>
struct KindOf<DropoutMask> {
    static constexpr Kind kind = Kind::dropout;
};

template <class... A, std::size_t... I>
void call(void (*function)(A...), void** arguments, std::index_sequence<I...>) {
    function(*static_cast<A*>(arguments[I])...);
}

template <class... A>
struct Registration {
    Registration(const char* name, void (*function)(A...)) {
        auto run = [](void (*erased)(), void** arguments) {
            call(reinterpret_cast<void (*)(A...)>(erased), arguments, std::index_sequence_for<A...>{});
        };
        add_kernel({name, run, reinterpret_cast<void (*)()>(function), {KindOf<A>::kind...}});
    }
};

}  // namespace emulator

#define EXPORT(kernel) static const emulator::Registration registration_of_##kernel(#kernel, kernel);
