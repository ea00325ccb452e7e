// The table of kernels: EXPORT puts one into it with the kinds of its arguments.
#pragma once

struct DropoutMask;

namespace emulator {

/// What an argument of a kernel is, to check what the host passes. lib.rs has the same numbers.
enum class Kind : int { pointer, constant_pointer, i32, u32, i64, u64, f32, dropout };

struct Kernel {
    const char* name;
    /// Calls `function`; pointers among the arguments get the buffer of the same index.
    void (*run)(void (*function)(), void** arguments, Buffer** buffers);
    void (*function)();
    std::vector<Kind> kinds;
};
void add_kernel(Kernel kernel);

/// Kind of an argument and how it is made from what the host passed.
template <class T>
struct Argument {
    static T get(void* passed, Buffer*) { return *static_cast<T*>(passed); }
};
template <class T>
struct KindOf;
template <class T>
struct KindOf<Global<T>> {
    static constexpr Kind kind = std::is_const_v<T> ? Kind::constant_pointer : Kind::pointer;
};
template <class T>
struct Argument<Global<T>> {
    static Global<T> get(void* passed, Buffer* buffer) { return {*static_cast<T**>(passed), buffer}; }
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
void call(void (*function)(A...), void** arguments, Buffer** buffers, std::index_sequence<I...>) {
    function(Argument<A>::get(arguments[I], buffers[I])...);
}

template <class... A>
struct Registration {
    Registration(const char* name, void (*function)(A...)) {
        auto run = [](void (*erased)(), void** arguments, Buffer** buffers) {
            call(reinterpret_cast<void (*)(A...)>(erased), arguments, buffers, std::index_sequence_for<A...>{});
        };
        add_kernel({name, run, reinterpret_cast<void (*)()>(function), {KindOf<A>::kind...}});
    }
};

}  // namespace emulator

#define EXPORT(kernel) static const emulator::Registration registration_of_##kernel(#kernel, kernel);
