#pragma once

#include <string>
#include <string_view>

namespace llm {

// Appends `s` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so that what
// is written is always valid JSON.
void append_json_string(std::string& out, std::string_view s);

}  // namespace llm
