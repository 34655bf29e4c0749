#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keys {

// SHA-256 of a virtual key. Keys are stored and compared by it; the secret itself is never kept.
using KeyHash = std::array<uint8_t, 32>;

KeyHash hash_key(std::string_view secret) noexcept;
std::string to_hex(const KeyHash& hash);
// 64 hex digits, either case.
std::optional<KeyHash> parse_key_hash(std::string_view hex) noexcept;

// For a hash table over hashes: they are uniform, so any of their bytes will do.
struct KeyHashHasher {
    size_t operator()(const KeyHash& hash) const noexcept;
};

}  // namespace keys
