#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "llm/api_error.hpp"
#include "llm/request_scan.hpp"

// The top-level fields of a request that are interpreted, how their values are read, and the errors
// about them. A part of request_scan.cpp.
namespace llm::scan {

using json::is_container;
using json::is_number;
using json::Kind;

using Kinds = uint32_t;  // a set, one bit for each Kind

constexpr Kinds bit(Kind kind) {
    return 1U << static_cast<unsigned>(kind);
}

struct Value {
    Kind kind;
    Span raw;               // of an object or array only the first byte
    std::string_view text;  // the inside of a string with its escapes; else the bytes as they stand
    bool has_escapes;
};

enum class Field : uint8_t {
    model,
    stream,
    stream_options,
    max_tokens,
    max_completion_tokens,
    n,
    best_of,
    user,
    service_tier,
    metadata,
    // What becomes prompt tokens.
    messages,
    prompt,
    input,
    system,
    other_text,
    tools,
    tool_choice,
    format,
};

struct KnownField {
    std::string_view name;
    Field field;
    Kinds accepted;  // null is accepted too, and means absent

    bool is_prompt() const noexcept { return field >= Field::messages; }
};

// Whether a string is `text`, or begins with it, escapes undone.
bool equals(const Value& string, std::string_view text);
bool begins_with(const Value& string, std::string_view text);

// nullptr: not interpreted.
const KnownField* find_field(std::string_view name) noexcept;

// Of a field that find_field() returned: one bit, for a set of fields.
uint32_t field_bit(const KnownField& field) noexcept;

// 400s in OpenAI's words.
ApiError wrong_type(std::string_view param, Kinds expected, Kind got);
ApiError missing_field(std::string_view param);
ApiError duplicate_field(std::string_view param);

std::optional<ApiError> read_integer(const Value& integer, std::string_view param, int64_t min,
                                     int64_t max, int64_t& out);
std::optional<ApiError> read_short_text(const Value& string, std::string_view param,
                                        std::string& out);

}  // namespace llm::scan
