// Accesses of the running thread: which buffer, then the buffer's checks.
#include "machine.hpp"

namespace emulator {

namespace {

/// The buffer that a pointer points into; one made from an address alone names none.
Buffer& global_buffer(const char* what, Buffer* buffer, const void* address) {
    if (buffer != nullptr) return *buffer;
    buffer = launch->machine.find(reinterpret_cast<std::uintptr_t>(address));
    if (buffer == nullptr) fail(std::string(what) + " outside every allocation (a null pointer?)");
    return *buffer;
}

void refuse_constant(const Buffer& buffer) {
    if (buffer.constant) fail("a write to " + buffer.description());
}

}  // namespace

Buffer* Machine::find(std::uintptr_t address) {
    auto after = buffers.upper_bound(address);
    if (after == buffers.begin()) return nullptr;
    Buffer& buffer = std::prev(after)->second;
    return address - buffer.start < buffer.room ? &buffer : nullptr;
}

void global_read(Buffer* known, const void* address, std::size_t bytes) {
    Buffer& buffer = global_buffer("a read", known, address);
    note_read(buffer, offset_inside("a read", buffer, address, bytes), bytes);
}

void global_write(Buffer* known, void* address, std::size_t bytes) {
    Buffer& buffer = global_buffer("a write", known, address);
    std::size_t offset = offset_inside("a write", buffer, address, bytes);
    refuse_constant(buffer);
    note_write(buffer, offset, bytes);
}

void global_atomic(Buffer* known, void* address, std::size_t bytes) {
    Buffer& buffer = global_buffer("an atomic operation", known, address);
    std::size_t offset = offset_inside("an atomic operation", buffer, address, bytes);
    refuse_constant(buffer);
    note_atomic(buffer, offset, bytes);
}

Buffer& shared_buffer(const void* address) {
    auto holds = [&](const Buffer& buffer) { return reinterpret_cast<std::uintptr_t>(address) - buffer.start < buffer.room; };
    for (auto& [site, buffer] : launch->shared) {
        if (holds(buffer)) return buffer;
    }
    if (!holds(launch->dynamic)) fail("an access outside the block's shared memory");
    return launch->dynamic;
}

void shared_read(Buffer* known, const void* address, std::size_t bytes) {
    Buffer& buffer = known != nullptr ? *known : shared_buffer(address);
    note_read(buffer, offset_inside("a read", buffer, address, bytes), bytes);
}

void shared_write(Buffer* known, void* address, std::size_t bytes) {
    Buffer& buffer = known != nullptr ? *known : shared_buffer(address);
    note_write(buffer, offset_inside("a write", buffer, address, bytes), bytes);
}

SharedMemory shared_array(const void* site, const char* name, std::size_t bytes) {
    auto found = launch->shared.find(site);
    if (found == launch->shared.end()) {
        // What a kernel may have without asking for more at its launch.
        constexpr std::size_t most = 48 * 1024;
        std::size_t all = bytes;
        for (auto& [other, buffer] : launch->shared) all += buffer.room;
        if (all > most) fail("static shared memory of " + std::to_string(all) + " bytes, more than " + std::to_string(most));
        if (all + launch->dynamic.room > launch->machine.shared_bytes) {
            fail("static and dynamic shared memory of " + std::to_string(all + launch->dynamic.room) + " bytes, more than " +
                 std::to_string(launch->machine.shared_bytes));
        }
        found = launch->shared.try_emplace(site, bytes, true, name).first;
    }
    return {found->second.data(), &found->second};
}

SharedMemory dynamic_shared() { return {launch->dynamic.data(), &launch->dynamic}; }

}  // namespace emulator
