#include "llm/request_id.hpp"

#include <algorithm>

namespace llm {

RequestId make_request_id(int64_t unix_ms, const std::array<uint8_t, 10>& random) noexcept {
    RequestId id;
    const auto ms = static_cast<uint64_t>(unix_ms);
    for (size_t i = 0; i < 6; ++i) {
        id.bytes[i] = static_cast<uint8_t>(ms >> (8 * (5 - i)));
    }
    std::copy(random.begin(), random.end(), id.bytes.begin() + 6);
    id.bytes[6] = static_cast<uint8_t>((id.bytes[6] & 0x0f) | 0x70);  // version 7
    id.bytes[8] = static_cast<uint8_t>((id.bytes[8] & 0x3f) | 0x80);  // RFC 9562's variant
    return id;
}

std::string to_string(const RequestId& id) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string text(36, '-');
    char* place = text.data();
    for (size_t i = 0; i < id.bytes.size(); ++i) {
        place += i == 4 || i == 6 || i == 8 || i == 10 ? 1 : 0;
        *place++ = kHex[id.bytes[i] >> 4];
        *place++ = kHex[id.bytes[i] & 0x0f];
    }
    return text;
}

}  // namespace llm
