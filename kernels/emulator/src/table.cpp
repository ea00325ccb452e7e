// The table of kernels, and what the Rust side calls.
#include <algorithm>

#include "machine.hpp"

namespace emulator {

namespace {

std::vector<Kernel>& table() {
    static std::vector<Kernel> all;
    return all;
}

/// Where a call says what is wrong: 0, or 1 with a message.
int answer(const std::string& message, char* text, std::size_t room) {
    if (message.empty()) return 0;
    std::size_t length = std::min(message.size(), room - 1);
    std::memcpy(text, message.data(), length);
    text[length] = 0;
    return 1;
}

/// The bytes that the host wants to reach, or why it may not.
std::string reach(Machine& machine, std::uint64_t address, std::size_t bytes, Buffer*& buffer, std::size_t& offset) {
    buffer = machine.find(address);
    offset = buffer == nullptr ? 0 : address - buffer->start;
    if (buffer == nullptr || offset > buffer->bytes || bytes > buffer->bytes - offset) {
        return "a copy of " + std::to_string(bytes) + " bytes that are not in one allocation";
    }
    return "";
}

/// Marks the buffers that the arguments name; what is wrong with them, or nothing.
std::string bind(Launch& state) {
    const std::vector<Kind>& kinds = state.kernel.kinds;
    for (std::size_t i = 0; i < kinds.size(); i++) {
        state.buffers.push_back(nullptr);
        bool constant = kinds[i] == Kind::constant_pointer;
        if (!constant && kinds[i] != Kind::pointer) continue;
        auto address = *static_cast<std::uint64_t*>(state.arguments[i]);
        if (address == 0) continue;
        Buffer* buffer = state.machine.find(address);
        if (buffer == nullptr) return "argument " + std::to_string(i) + " is not in any allocation";
        state.buffers[i] = buffer;
        if (buffer->argument >= 0) {
            if (constant && buffer->constant) continue;
            return "arguments " + std::to_string(buffer->argument) + " and " + std::to_string(i) +
                   " are in the same memory, though the kernel writes one of them and both are __restrict__";
        }
        buffer->argument = int(i);
        buffer->constant = constant;
        if (!constant) buffer->output_of = state.kernel.name;
    }
    return "";
}

std::string check_red_zones(const Machine& machine) {
    for (auto& [start, buffer] : machine.buffers) {
        if (!buffer.red_zones_are_whole()) return "a write past the checks, just outside " + buffer.description();
    }
    return "";
}

std::string run(Machine& machine, const Kernel& kernel, const unsigned* grid, unsigned block, unsigned shared, void** arguments) {
    if (block == 0 || block > most_threads) return "blocks of " + std::to_string(block) + " threads";
    if (shared > machine.shared_bytes) return "dynamic shared memory of " + std::to_string(shared) + " bytes";
    Launch state{machine, kernel, arguments, {}, {}, Buffer(shared, true, "dynamic"), {}, {}, 0, {}, {}, 0, {}};
    state.threads.resize(block);
    state.error = bind(state);
    if (state.error.empty()) {
        if (machine.stamp > last_stamp / 2) {
            for (auto& [start, buffer] : machine.buffers) buffer.renumber();
            machine.stamp = 0;
        }
        launch = &state;
        place.block_size = {block, 1, 1};
        place.grid_size = {grid[0], grid[1], grid[2]};
        run_blocks();
        launch = nullptr;
        if (state.error.empty()) state.error = check_red_zones(machine);
    }
    for (Buffer* buffer : state.buffers) {
        if (buffer == nullptr) continue;
        buffer->argument = -1;
        buffer->constant = false;
    }
    return state.error;
}

}  // namespace

Buffer* Machine::find(std::uintptr_t address) {
    auto after = buffers.upper_bound(address);
    if (after == buffers.begin()) return nullptr;
    Buffer& buffer = std::prev(after)->second;
    return address - buffer.start < buffer.room ? &buffer : nullptr;
}

void add_kernel(Kernel kernel) { table().push_back(std::move(kernel)); }
const std::vector<Kernel>& kernels() { return table(); }

}  // namespace emulator

using emulator::Buffer;
using emulator::Kernel;
using emulator::Machine;

extern "C" {

Machine* stepsynth_machine_new(std::size_t shared_bytes) {
    auto* machine = new Machine;
    machine->shared_bytes = shared_bytes;
    return machine;
}

void stepsynth_machine_delete(Machine* machine) { delete machine; }

void stepsynth_machine_set_order(Machine* machine, std::uint64_t order) { machine->order = order; }
void stepsynth_machine_set_output_check(Machine* machine, int check) { machine->outputs_are_checked = check != 0; }

std::uint64_t stepsynth_machine_allocate(Machine* machine, std::size_t bytes) {
    std::lock_guard<std::mutex> lock(machine->busy);
    try {
        Buffer buffer(bytes, false, nullptr);
        std::uintptr_t start = buffer.start;
        machine->buffers.emplace(start, std::move(buffer));
        return start;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

void stepsynth_machine_release(Machine* machine, std::uint64_t address) {
    std::lock_guard<std::mutex> lock(machine->busy);
    machine->buffers.erase(address);
}

/// Forgets what was written to the allocation at this address; from now on its first `bytes` bytes may be reached.
void stepsynth_machine_forget(Machine* machine, std::uint64_t address, std::size_t bytes) {
    std::lock_guard<std::mutex> lock(machine->busy);
    auto found = machine->buffers.find(address);
    if (found != machine->buffers.end()) found->second.forget(bytes);
}

/// Copies from the host; from null, writes zeros.
int stepsynth_machine_copy_in(Machine* machine, std::uint64_t address, const void* from, std::size_t bytes, char* error, std::size_t room) {
    std::lock_guard<std::mutex> lock(machine->busy);
    Buffer* buffer;
    std::size_t offset;
    std::string message = emulator::reach(*machine, address, bytes, buffer, offset);
    if (message.empty()) {
        if (from == nullptr) {
            std::memset(buffer->data() + offset, 0, bytes);
        } else {
            std::memcpy(buffer->data() + offset, from, bytes);
        }
        buffer->written_by_host(offset, bytes);
    }
    return emulator::answer(message, error, room);
}

int stepsynth_machine_copy_out(Machine* machine, std::uint64_t address, void* to, std::size_t bytes, char* error, std::size_t room) {
    std::lock_guard<std::mutex> lock(machine->busy);
    Buffer* buffer;
    std::size_t offset;
    std::string message = emulator::reach(*machine, address, bytes, buffer, offset);
    if (message.empty() && machine->outputs_are_checked) {
        const emulator::Tag* tags = buffer->writers.get() + offset;
        std::size_t first = std::find(tags, tags + bytes, emulator::never) - tags;
        if (first < bytes) {
            std::size_t missing = std::count(tags, tags + bytes, emulator::never);
            message = std::to_string(missing) + " of " + std::to_string(bytes) + " bytes were never written, the first is byte " +
                      std::to_string(first);
            if (buffer->output_of != nullptr) message += std::string("; the memory was last an output of ") + buffer->output_of;
        }
    }
    if (message.empty()) std::memcpy(to, buffer->data() + offset, bytes);
    return emulator::answer(message, error, room);
}

/// Number of arguments of a kernel and their kinds; -1 if there is no such kernel.
int stepsynth_kernel_kinds(const char* name, int* kinds, int room) {
    for (const Kernel& kernel : emulator::kernels()) {
        if (std::strcmp(kernel.name, name) != 0) continue;
        for (int i = 0; i < int(kernel.kinds.size()) && i < room; i++) kinds[i] = int(kernel.kinds[i]);
        return int(kernel.kinds.size());
    }
    return -1;
}

/// Runs a kernel that is in the table with arguments of its kinds.
int stepsynth_machine_launch(Machine* machine, const char* name, const unsigned* grid, unsigned block, unsigned shared,
                             void** arguments, char* error, std::size_t room) {
    std::lock_guard<std::mutex> lock(machine->busy);
    auto& all = emulator::kernels();
    auto found = std::find_if(all.begin(), all.end(), [&](const Kernel& kernel) { return std::strcmp(kernel.name, name) == 0; });
    return emulator::answer(emulator::run(*machine, *found, grid, block, shared, arguments), error, room);
}
}
