#pragma once

// What the tests of Book share.

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "ledger/book_layout.hpp"

namespace ledger {

inline constexpr int64_t kStart = 1'750'000'000'000;  // 2025-06-15, a Sunday
inline constexpr Window kFixedSecond{WindowKind::fixed, 1000};
inline constexpr Window kMinute{WindowKind::sliding, 60'000};

inline llm::RequestId request(uint64_t n) {
    llm::RequestId id;
    std::memcpy(id.bytes.data() + 8, &n, sizeof(n));
    return id;
}

// A counter to make claims on; it outlives them.
struct Meter {
    Meter(std::string name, Unit u, Window w)
        : id(make_counter_id(std::move(name))), unit(u), window(w) {}
    Claim claim(int64_t limit, int64_t amount) const { return {&id, unit, window, limit, amount}; }

    CounterId id;
    Unit unit;
    Window window;
};

// As if a process had been killed inside a call on the book in this memory.
inline void die_in_a_call(std::span<std::byte> memory) {
    void* header = memory.data();
    size_t bytes = memory.size();
    std::align(kLine, sizeof(BookHeader), header, bytes);
    static_cast<BookHeader*>(header)->busy = 1;
}

}  // namespace ledger
