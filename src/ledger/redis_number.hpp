#pragma once

// Numbers between the scripts and us: little-endian doubles, one after the other.

#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace ledger {

// Exact up to 2^53.
inline std::array<char, sizeof(double)> packed(int64_t number) noexcept {
    auto bits = std::bit_cast<uint64_t>(static_cast<double>(number));
    if constexpr (std::endian::native == std::endian::big) {
        bits = __builtin_bswap64(bits);
    }
    return std::bit_cast<std::array<char, sizeof(double)>>(bits);
}

inline void append_number(std::string& out, int64_t number) {
    const auto bytes = packed(number);
    out.append(bytes.data(), bytes.size());
}

// Of a string reply that is long enough.
inline double number_at(const redisReply& reply, size_t index) noexcept {
    uint64_t bits = 0;
    for (size_t i = 8; i-- > 0;) {
        bits = bits << 8 | static_cast<unsigned char>(reply.str[8 * index + i]);
    }
    return std::bit_cast<double>(bits);
}

inline int64_t integer_at(const redisReply& reply, size_t index) noexcept {
    constexpr double kMost = 0x1p62;
    return static_cast<int64_t>(std::clamp(number_at(reply, index), -kMost, kMost));
}

}  // namespace ledger
