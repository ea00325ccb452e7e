// The shared memory of a block.
#include "machine.hpp"

namespace emulator {

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
