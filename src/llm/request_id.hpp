#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace llm {

// A UUID of version 7 (RFC 9562): 48 bits of Unix time in milliseconds, then random bits.
struct RequestId {
    std::array<uint8_t, 16> bytes{};
    bool operator==(const RequestId&) const = default;
};

// `random`: 10 bytes from a cryptographic source.
RequestId make_request_id(int64_t unix_ms, const std::array<uint8_t, 10>& random) noexcept;

// The canonical 36 characters, lower case.
std::string to_string(const RequestId& id);

}  // namespace llm
