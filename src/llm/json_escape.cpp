#include <algorithm>
#include <string>
#include <string_view>

#include "llm/json_bytes.hpp"
#include "llm/json_scan.hpp"

namespace llm::json {
namespace {

uint32_t read_hex4(std::string_view digits) {
    uint32_t value = 0;
    for (const char c : digits.substr(0, 4)) {
        value = value << 4 | kHex[byte(c)];
    }
    return value;
}

void append_utf8(uint32_t code_point, std::string& out) {
    const auto add = [&out](uint32_t bits) { out += static_cast<char>(bits); };
    const auto add_low = [&add](uint32_t bits) { add(0x80 | (bits & 0x3f)); };
    if (code_point < 0x80) {
        add(code_point);
    } else if (code_point < 0x800) {
        add(0xc0 | code_point >> 6);
        add_low(code_point);
    } else if (code_point < 0x10000) {
        add(0xe0 | code_point >> 12);
        add_low(code_point >> 6);
        add_low(code_point);
    } else {
        add(0xf0 | code_point >> 18);
        add_low(code_point >> 12);
        add_low(code_point >> 6);
        add_low(code_point);
    }
}

// The code point of the \u escapes that `escapes` begins with, which it loses: two, if they are a
// pair of surrogates. Half of a pair stays what it is.
uint32_t take_unicode(std::string_view& escapes) {
    constexpr size_t kSize = 6;
    const uint32_t first = read_hex4(escapes.substr(2));
    escapes.remove_prefix(kSize);
    if (first < 0xd800 || first >= 0xdc00 || !escapes.starts_with("\\u")) {
        return first;
    }
    const uint32_t second = read_hex4(escapes.substr(2));
    if (second < 0xdc00 || second >= 0xe000) {
        return first;
    }
    escapes.remove_prefix(kSize);
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
}

}  // namespace

bool unescape(std::string_view inside, std::string& out) {
    constexpr uint32_t kReplacement = 0xfffd;
    bool whole = true;
    while (!inside.empty()) {
        const size_t plain = std::min(inside.find('\\'), inside.size());
        out += inside.substr(0, plain);
        inside.remove_prefix(plain);
        if (inside.empty()) {
            break;
        }
        if (inside[1] != 'u') {
            out += kEscape[byte(inside[1])];
            inside.remove_prefix(2);
            continue;
        }
        const uint32_t code_point = take_unicode(inside);
        const bool half = code_point >= 0xd800 && code_point < 0xe000;
        append_utf8(half ? kReplacement : code_point, out);
        whole = whole && !half;
    }
    return whole;
}

}  // namespace llm::json
