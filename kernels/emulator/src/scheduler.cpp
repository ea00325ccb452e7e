// Runs the blocks of a launch one after another, and the threads of a block as fibres, warp by warp.
#include <algorithm>
#include <numeric>

#include "machine.hpp"

namespace emulator {

__thread Place place;
__thread Launch* launch;

namespace {

thread_local Stacks stacks;

const char* name_of(Wait wait) {
    switch (wait) {
        case Wait::sync_block:
            return "wait at sync_block";
        case Wait::sync_warp:
            return "wait at sync_warp";
        case Wait::shuffle:
            return "wait in a shuffle";
        case Wait::vote:
            return "wait in a ballot";
        case Wait::product:
            return "wait in an mma";
        case Wait::matrices:
            return "wait in an ldmatrix";
        default:
            return "have finished";
    }
}

/// The next stamp. When they run out, all that was done so far counts as ordered: a race across that point is not seen.
u32 next_stamp() {
    Machine& machine = launch->machine;
    if (machine.stamp == last_stamp) {
        for (auto& [start, buffer] : machine.buffers) buffer.renumber();
        machine.stamp = 1;
        moment = {tag_of(1, 0), tag_of(1, 0), tag_of(1, 0), tag_of(1, 0), 0};
        std::fill(launch->warps.begin(), launch->warps.end(), 1);
        launch->blocks.clear();
        auto keep = [](Buffer& buffer) {
            for (std::size_t i = 0; i < buffer.room; i++) {
                Tag& tag = buffer.writers.get()[i];
                if (tag != never && tag < in_flight) tag = tag_of(1, 0);
            }
            std::fill_n(buffer.readers.get(), buffer.room, never);
        };
        for (auto& [site, buffer] : launch->shared) keep(buffer);
        keep(launch->dynamic);
    }
    return ++machine.stamp;
}

/// Numbers from 0 to `count` in the order that this emulator takes things.
class Order {
   public:
    explicit Order(std::size_t count) : count(count), backwards(launch->machine.order == 1) {
        std::uint64_t seed = launch->machine.order;
        if (seed < 2) return;
        shuffled.resize(count);
        std::iota(shuffled.begin(), shuffled.end(), 0);
        for (std::size_t i = count; i > 1; i--) {
            // splitmix64 of the seed and the number of the draw.
            std::uint64_t word = seed + ++launch->draws * 0x9e3779b97f4a7c15;
            word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
            word = (word ^ word >> 27) * 0x94d049bb133111eb;
            std::swap(shuffled[i - 1], shuffled[(word ^ word >> 31) % i]);
        }
    }
    std::size_t operator[](std::size_t i) const { return !shuffled.empty() ? shuffled[i] : backwards ? count - 1 - i : i; }

   private:
    std::size_t count;
    bool backwards;
    std::vector<std::size_t> shuffled;
};

void wait_for(Wait what) {
    Thread& mine = launch->threads[launch->current];
    mine.wait = what;
    switch_context(mine.context, launch->scheduler);
}

void body() {
    Launch& state = *launch;
    entered(state.threads[state.current].context, state.scheduler);
    state.kernel.run(state.kernel.function, state.arguments, state.buffers.data());
    wait_for(Wait::finished);
}

/// Runs a thread until it waits.
void resume(std::size_t index) {
    Thread& thread = launch->threads[index];
    if (thread.stack == nullptr) {
        thread.stack = stacks.take();
        prepare(thread.context, thread.stack, body);
    }
    launch->current = index;
    place.thread = {unsigned(index), 0, 0};
    u32 stamp = launch->warps[index / 32];
    moment.warp = tag_of(stamp, 0);
    moment.mine = tag_of(stamp, u32(index));
    switch_context(launch->scheduler, thread.context);
    if (thread.wait == Wait::finished) {
        if (!stacks.give_back(thread.stack) && launch->error.empty()) launch->error = "a thread's stack ran over";
        thread.stack = nullptr;
    }
}

/// "threads 0-15 wait in a shuffle; threads 16-31 have finished".
std::string where_threads_are(std::size_t first, std::size_t end) {
    std::string text;
    for (std::size_t i = first; i < end;) {
        std::size_t last = i;
        while (last + 1 < end && launch->threads[last + 1].wait == launch->threads[i].wait) last++;
        if (!text.empty()) text += "; ";
        text += last == i ? "thread " + std::to_string(i) : "threads " + std::to_string(i) + "-" + std::to_string(last);
        text += std::string(" ") + (last == i && launch->threads[i].wait == Wait::finished ? "has finished" : name_of(launch->threads[i].wait));
        i = last + 1;
    }
    return text;
}

std::string name_of_block(Index3 block) {
    return "block (" + std::to_string(block.x) + "," + std::to_string(block.y) + "," + std::to_string(block.z) + ")";
}

/// Runs a warp until its threads are at the block's barrier or finished; false after an error.
bool run_warp(std::size_t first, std::size_t end) {
    std::vector<Thread>& threads = launch->threads;
    for (;;) {
        Order lanes(end - first);
        for (std::size_t i = 0; i < end - first; i++) {
            std::size_t thread = first + lanes[i];
            if (threads[thread].wait != Wait::none) continue;
            resume(thread);
            if (!launch->error.empty()) return false;
        }
        Wait wait = threads[first].wait;
        bool same = true, in_operation = false;
        void* passed[32];
        for (std::size_t i = first; i < end; i++) {
            same &= threads[i].wait == wait;
            in_operation |= threads[i].wait != Wait::sync_block && threads[i].wait != Wait::finished;
            passed[i - first] = threads[i].passed;
        }
        if (!in_operation) return true;
        std::string wrong;
        if (!same) {
            wrong = "a warp that cannot go on: ";
        } else if (const char* message = threads[first].operation->complete(passed, end - first)) {
            wrong = std::string(message) + ": ";
        }
        if (!wrong.empty()) {
            launch->error = wrong + where_threads_are(first, end) + " (" + name_of_block(place.block) + ")";
            return false;
        }
        for (std::size_t i = first; i < end; i++) threads[i].wait = Wait::none;
        launch->warps[first / 32] = next_stamp();
    }
}

/// Runs one block; false after an error.
bool run_block() {
    std::vector<Thread>& threads = launch->threads;
    std::size_t count = threads.size();
    for (Thread& thread : threads) {
        thread.wait = Wait::none;
        thread.copies.clear();
    }
    for (auto& [site, buffer] : launch->shared) buffer.forget(buffer.room);
    launch->dynamic.forget(launch->dynamic.room);
    moment.block = tag_of(next_stamp(), 0);
    launch->blocks.emplace_back(launch->machine.stamp, place.block);
    for (;;) {
        moment.barrier = tag_of(launch->machine.stamp, 0);
        std::fill(launch->warps.begin(), launch->warps.end(), launch->machine.stamp);
        Order warps(launch->warps.size());
        for (std::size_t i = 0; i < launch->warps.size(); i++) {
            std::size_t warp = warps[i];
            if (!run_warp(warp * 32, std::min(warp * 32 + 32, count))) return false;
        }
        std::size_t finished = 0;
        for (Thread& thread : threads) finished += thread.wait == Wait::finished;
        if (finished == count) return true;
        if (finished != 0) {
            launch->error = "a block that cannot go on: " + where_threads_are(0, count) + " (" + name_of_block(place.block) + ")";
            return false;
        }
        for (Thread& thread : threads) thread.wait = Wait::none;
        next_stamp();
    }
}

}  // namespace

std::string block_of_stamp(u32 stamp) {
    std::string name = "another block";
    for (auto& [first, block] : launch->blocks) {
        if (first <= stamp) name = name_of_block(block);
    }
    return name;
}

void fail(const std::string& message) {
    launch->error = message + " (" + name_of_block(place.block) + ", thread " + std::to_string(place.thread.x) + ")";
    switch_context(launch->threads[launch->current].context, launch->scheduler);
    std::abort();
}

bool run_blocks() {
    Index3 grid = place.grid_size;
    launch->warps.resize((launch->threads.size() + 31) / 32);
    moment.launch = tag_of(next_stamp(), 0);
    bool good = true;
    std::size_t count = std::size_t(grid.x) * grid.y * grid.z;
    Order blocks(count);
    for (std::size_t i = 0; i < count; i++) {
        std::size_t index = blocks[i];
        place.block = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y), unsigned(index / grid.x / grid.y)};
        good = run_block();
        if (!good) break;
    }
    for (Thread& thread : launch->threads) {
        if (thread.stack != nullptr) stacks.give_back(thread.stack);
    }
    return good;
}

int lane() { return int(launch->current % 32); }

void sync_block() { wait_for(Wait::sync_block); }

void take_part(const WarpOperation& operation, void* passed) {
    Thread& mine = launch->threads[launch->current];
    mine.operation = &operation;
    mine.passed = passed;
    wait_for(operation.kind);
}

void sync_warp() {
    static const WarpOperation operation{Wait::sync_warp, [](void**, std::size_t) -> const char* { return nullptr; }};
    take_part(operation, nullptr);
}

std::uint64_t shuffle(std::uint64_t mine, int lane) {
    struct Exchange {
        std::uint64_t given, got;
        int lane;
    };
    static const WarpOperation operation{Wait::shuffle, [](void** lanes, std::size_t count) -> const char* {
        for (std::size_t i = 0; i < count; i++) {
            auto* exchange = static_cast<Exchange*>(lanes[i]);
            if (std::size_t(exchange->lane) >= count) return "a shuffle from a lane that the warp does not have";
            exchange->got = static_cast<Exchange*>(lanes[exchange->lane])->given;
        }
        return nullptr;
    }};
    Exchange exchange{mine, 0, lane};
    take_part(operation, &exchange);
    return exchange.got;
}

u32 vote(bool mine) {
    struct Vote {
        bool given;
        u32 all;
    };
    static const WarpOperation operation{Wait::vote, [](void** lanes, std::size_t count) -> const char* {
        u32 all = 0;
        for (std::size_t i = 0; i < count; i++) all |= u32(static_cast<Vote*>(lanes[i])->given) << i;
        for (std::size_t i = 0; i < count; i++) static_cast<Vote*>(lanes[i])->all = all;
        return nullptr;
    }};
    Vote vote{mine, 0};
    take_part(operation, &vote);
    return vote.all;
}

}  // namespace emulator
