#include "fibre.hpp"

#include <cstdint>
#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/// A thread that failed never leaves its frames, so what they hold is never freed.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define SYMBOL(name) TEXT(__USER_LABEL_PREFIX__) name

#ifdef STEPSYNTH_FIBRE_ASSEMBLY
extern "C" void stepsynth_switch(void** from, void* to);

// Saves what the calling convention preserves on the old stack and takes it from the new one.
#ifdef __x86_64__
asm(".text\n"
    ".globl " SYMBOL("stepsynth_switch") "\n" SYMBOL("stepsynth_switch") ":\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n");
constexpr int saved_words = 8, entry_word = 6;
#else
asm(".text\n"
    ".balign 4\n"
    ".globl " SYMBOL("stepsynth_switch") "\n" SYMBOL("stepsynth_switch") ":\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n  stp x25, x26, [sp, #48]\n"
    "  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n"
    "  str x9, [x0]\n"
    "  mov sp, x1\n"
    "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n  ldp x25, x26, [sp, #48]\n"
    "  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n"
    "  ret\n");
constexpr int saved_words = 20, entry_word = 11;
#endif
#endif

namespace emulator {

namespace {

/// At the end that the stack grows towards.
constexpr std::uint64_t guard[2] = {0x5afe57ac5afe57ac, 0x0123456789abcdef};

}  // namespace

void prepare(Context& context, char* stack, void (*body)()) {
    context.stack = stack;
    context.size = stack_bytes;
    context.fake_stack = nullptr;
#ifdef STEPSYNTH_FIBRE_ASSEMBLY
    auto top = (reinterpret_cast<std::uintptr_t>(stack) + stack_bytes) & ~std::uintptr_t(15);
    // Stacks that start at the same place of their pages would share a few cache sets.
    top -= reinterpret_cast<std::uintptr_t>(stack) / stack_bytes % 61 * 64;
    auto** words = reinterpret_cast<void**>(top) - saved_words;
    std::memset(words, 0, saved_words * sizeof(void*));
    words[entry_word] = reinterpret_cast<void*>(body);
    context.stack_pointer = words;
#else
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = stack;
    context.context.uc_stack.ss_size = stack_bytes;
    context.context.uc_link = nullptr;
    makecontext(&context.context, body, 0);
#endif
}

void switch_context(Context& from, Context& to) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.size);
#endif
#ifdef STEPSYNTH_FIBRE_ASSEMBLY
    stepsynth_switch(&from.stack_pointer, to.stack_pointer);
#else
    swapcontext(&from.context, &to.context);
#endif
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void entered([[maybe_unused]] Context& mine, [[maybe_unused]] Context& from) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(mine.fake_stack, &from.stack, &from.size);
#endif
}

char* Stacks::take() {
    if (free.empty()) {
        all.emplace_back(new char[stack_bytes]);
        free.push_back(all.back().get());
    }
    char* stack = free.back();
    free.pop_back();
#ifdef __SANITIZE_ADDRESS__
    // A thread that failed never left its frames.
    __asan_unpoison_memory_region(stack, stack_bytes);
#endif
    std::memcpy(stack, guard, sizeof guard);
    return stack;
}

bool Stacks::give_back(char* stack) {
    free.push_back(stack);
    return std::memcmp(stack, guard, sizeof guard) == 0;
}

}  // namespace emulator
