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

enum class Kind : uint8_t { null, boolean, integer, decimal, string, object, array };

using Kinds = uint32_t;  // a set, one bit for each Kind

constexpr Kinds bit(Kind kind) {
    return 1U << static_cast<unsigned>(kind);
}

constexpr bool is_container(Kind kind) {
    return kind == Kind::object || kind == Kind::array;
}

constexpr bool is_number(Kind kind) {
    return kind == Kind::integer || kind == Kind::decimal;
}

struct Value {
    Kind kind;
    Span raw;               // of an object or array only the first byte
    std::string_view text;  // a string unescaped, a number as it stands; valid in the callback only
    bool truth;
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
    metadata,
    messages,
    prompt,
    input,
    other_text,
    structure,
};

struct KnownField {
    std::string_view name;
    Field field;
    Kinds accepted;  // null is accepted too, and means absent

    bool is_text() const noexcept {
        return field == Field::messages || field == Field::prompt || field == Field::input ||
               field == Field::other_text;
    }
};

// nullptr: not interpreted.
const KnownField* find_field(std::string_view name) noexcept;

// Of a field that find_field() returned: one bit, for a set of fields.
uint32_t field_bit(const KnownField& field) noexcept;

// 400s in OpenAI's words.
ApiError wrong_type(std::string_view param, Kinds expected, Kind got);
ApiError missing_field(std::string_view param);
ApiError duplicate_field(std::string_view param);

// `text`: an integer as JSON writes it.
std::optional<ApiError> read_integer(std::string_view text, std::string_view param, int64_t min,
                                     int64_t max, int64_t& out);
// `text`: unescaped.
std::optional<ApiError> read_short_text(std::string_view text, std::string_view param,
                                        std::string& out);

}  // namespace llm::scan
