// Switching between the threads of a block on one host thread.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

// A switch in assembly takes a few nanoseconds; ucontext's does a system call for the signal mask.
#if !defined(STEPSYNTH_EMULATOR_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__)) && !defined(_WIN32)
#define STEPSYNTH_FIBRE_ASSEMBLY 1
#else
#include <ucontext.h>
#endif

namespace emulator {

constexpr std::size_t stack_bytes = 256 * 1024;

/// Where a thread that does not run goes on.
struct Context {
#ifdef STEPSYNTH_FIBRE_ASSEMBLY
    void* stack_pointer;
#else
    ucontext_t context;
#endif
    /// For AddressSanitizer: the stack this context runs on.
    const void* stack = nullptr;
    std::size_t size = 0;
    void* fake_stack = nullptr;
};

/// Makes `context` start `body` on this stack when it is switched to.
void prepare(Context& context, char* stack, void (*body)());

/// Goes on at `to`; returns when another switch goes to `from`.
void switch_context(Context& from, Context& to);

/// The first thing that a body does.
void entered(Context& mine, Context& from);

/// Stacks of this host thread, kept from launch to launch. The one given back last is taken first: it is in the cache.
class Stacks {
   public:
    char* take();
    /// False if the stack had run over.
    bool give_back(char* stack);

   private:
    std::vector<std::unique_ptr<char[]>> all;
    std::vector<char*> free;
};

}  // namespace emulator
