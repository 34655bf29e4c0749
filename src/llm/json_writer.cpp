#include "llm/json_writer.hpp"

#include <algorithm>
#include <cstdint>

namespace llm {
namespace {

bool in(unsigned char c, unsigned low, unsigned high) {
    return c >= low && c <= high;
}

// Size of the well-formed sequence that `s` begins with (Unicode, table 3-7); 0: none.
size_t utf8_sequence_size(std::string_view s) {
    const auto at = [s](size_t i) {
        return static_cast<unsigned char>(i < s.size() ? s[i] : '\0');
    };
    const auto continues = [at](size_t i) { return in(at(i), 0x80, 0xbf); };
    const unsigned char lead = at(0);
    if (lead < 0x80) {
        return s.empty() ? 0 : 1;
    }
    if (in(lead, 0xc2, 0xdf)) {
        return continues(1) ? 2 : 0;
    }
    if (in(lead, 0xe0, 0xef)) {
        const unsigned low = lead == 0xe0 ? 0xa0 : 0x80;
        const unsigned high = lead == 0xed ? 0x9f : 0xbf;
        return in(at(1), low, high) && continues(2) ? 3 : 0;
    }
    if (in(lead, 0xf0, 0xf4)) {
        const unsigned low = lead == 0xf0 ? 0x90 : 0x80;
        const unsigned high = lead == 0xf4 ? 0x8f : 0xbf;
        return in(at(1), low, high) && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

// Not a function: a pointer to one is not inlined.
constexpr auto is_plain = [](char c) noexcept {
    return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
};

void append_control(std::string& out, char c) {
    constexpr char kHex[] = "0123456789abcdef";
    switch (c) {
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        default:
            out += "\\u00";
            out += kHex[static_cast<uint8_t>(c) >> 4];
            out += kHex[static_cast<uint8_t>(c) & 0x0f];
    }
}

void append_escaped(std::string& out, std::string_view utf8) {
    for (const char c : utf8) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            append_control(out, c);
        } else {
            out += c;
        }
    }
}

}  // namespace

size_t utf8_prefix_size(std::string_view s) noexcept {
    size_t size = 0;
    while (const size_t step = utf8_sequence_size(s.substr(size))) {
        size += step;
    }
    return size;
}

void append_json_string(std::string& out, std::string_view s) {
    if (std::all_of(s.begin(), s.end(), is_plain)) {  // nearly every name
        out.append(1, '"').append(s).append(1, '"');
        return;
    }
    constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
    out += '"';
    while (true) {
        const size_t valid = utf8_prefix_size(s);
        append_escaped(out, s.substr(0, valid));
        if (valid == s.size()) {
            break;
        }
        out += kReplacement;
        s.remove_prefix(valid + 1);
    }
    out += '"';
}

}  // namespace llm
