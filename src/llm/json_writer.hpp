#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm {

// Appends `s` as a JSON string with its quotes. Every byte that is no part of a well-formed UTF-8
// sequence becomes U+FFFD, so that what is written is always valid JSON.
void append_json_string(std::string& out, std::string_view s);

// Bytes of the longest prefix of `s` that is well-formed UTF-8 (no overlong forms, no surrogates).
size_t utf8_prefix_size(std::string_view s) noexcept;

}  // namespace llm
