#pragma once

#include <cstdint>
#include <ctime>

namespace spend {

// A few milliseconds coarse, and cheap enough to ask for each row.
inline int64_t monotonic_ms() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace spend
