#include "llm/request_fields.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "llm/name_table.hpp"

namespace llm::scan {
namespace {

constexpr std::array<std::string_view, 7> kKindNames{
    "null", "a boolean", "an integer", "a decimal number", "a string", "an object", "an array"};

constexpr Kinds kAnyKind = ~0U;
constexpr Kinds kStringOrArray = bit(Kind::string) | bit(Kind::array);

constexpr NameTable kFields(std::array<KnownField, 24>{{
    {"n", Field::n, bit(Kind::integer)},
    {"user", Field::user, bit(Kind::string)},
    {"text", Field::format, kAnyKind},
    {"model", Field::model, bit(Kind::string)},
    {"input", Field::input, kStringOrArray},
    {"tools", Field::tools, kAnyKind},
    {"stream", Field::stream, bit(Kind::boolean)},
    {"prompt", Field::prompt, kStringOrArray},
    {"suffix", Field::other_text, kAnyKind},
    {"system", Field::system, kStringOrArray},
    {"best_of", Field::best_of, bit(Kind::integer)},
    {"messages", Field::messages, bit(Kind::array)},
    {"metadata", Field::metadata, bit(Kind::object)},
    {"functions", Field::tools, kAnyKind},
    {"max_tokens", Field::max_tokens, bit(Kind::integer)},
    {"prediction", Field::other_text, kAnyKind},
    {"tool_choice", Field::tool_choice, kAnyKind},
    {"service_tier", Field::service_tier, bit(Kind::string)},
    {"instructions", Field::system, kAnyKind},
    {"function_call", Field::tool_choice, kAnyKind},
    {"output_config", Field::format, kAnyKind},
    {"stream_options", Field::stream_options, bit(Kind::object)},
    {"response_format", Field::format, kAnyKind},
    {"max_completion_tokens", Field::max_completion_tokens, bit(Kind::integer)},
}});

std::string in_quotes(std::string_view param) {
    return "'" + std::string(param) + "'";
}

ApiError invalid(std::string_view param, const std::string& why, std::string code) {
    return invalid_request("Invalid " + in_quotes(param) + ": " + why + ".", std::string(param),
                           std::move(code));
}

std::string names_of(Kinds kinds) {
    std::string names;
    for (size_t i = 0; i < kKindNames.size(); ++i) {
        if (kinds & (1U << i)) {
            names += names.empty() ? "" : " or ";
            names += kKindNames[i];
        }
    }
    return names;
}

// Empty if it is too long for a word that is known.
std::string unescaped(const Value& string) {
    constexpr size_t kLongest = 256;
    std::string text;
    if (string.text.size() <= kLongest) {
        json::unescape(string.text, text);
    }
    return text;
}

}  // namespace

bool equals(const Value& string, std::string_view text) {
    return string.has_escapes ? unescaped(string) == text : string.text == text;
}

bool begins_with(const Value& string, std::string_view text) {
    return string.has_escapes ? unescaped(string).starts_with(text) : string.text.starts_with(text);
}

const KnownField* find_field(std::string_view name) noexcept {
    return kFields.find(name);
}

uint32_t field_bit(const KnownField& field) noexcept {
    return 1U << kFields.index_of(field);
}

ApiError wrong_type(std::string_view param, Kinds expected, Kind got) {
    return invalid_request("Invalid type for " + in_quotes(param) + ": expected " +
                               names_of(expected) + ", but got " +
                               std::string(kKindNames[static_cast<size_t>(got)]) + " instead.",
                           std::string(param), "invalid_type");
}

ApiError missing_field(std::string_view param) {
    return invalid_request("Missing required parameter: " + in_quotes(param) + ".",
                           std::string(param), "missing_required_parameter");
}

ApiError duplicate_field(std::string_view param) {
    return invalid_request("Duplicate parameter: " + in_quotes(param) + ".", std::string(param),
                           "duplicate_parameter");
}

std::optional<ApiError> read_integer(const Value& integer, std::string_view param, int64_t min,
                                     int64_t max, int64_t& out) {
    constexpr size_t kMostDigits = 20;  // of an int64_t, with its sign
    const std::string_view text = integer.text;
    const bool fits =
        text.size() <= kMostDigits &&
        std::from_chars(text.data(), text.data() + text.size(), out).ec == std::errc();
    if (!fits) {
        out = text.starts_with('-') ? INT64_MIN : INT64_MAX;
    }
    if (out < min) {
        return invalid(param,
                       "integer below minimum value. Expected a value >= " + std::to_string(min),
                       "integer_below_min_value");
    }
    if (out > max) {
        return invalid(param,
                       "integer above maximum value. Expected a value <= " + std::to_string(max),
                       "integer_above_max_value");
    }
    return std::nullopt;
}

std::optional<ApiError> read_short_text(const Value& string, std::string_view param,
                                        std::string& out) {
    constexpr size_t kLongestEscape = 6;  // of one byte
    bool valid = true;
    if (!string.has_escapes) {
        out = string.text.substr(0, kMaxShortField + 1);
    } else if (string.text.size() <= kLongestEscape * kMaxShortField) {
        valid = json::unescape(string.text, out);
    }
    if (out.size() > kMaxShortField || string.text.size() > kLongestEscape * kMaxShortField) {
        return invalid(
            param, "string too long. Expected at most " + std::to_string(kMaxShortField) + " bytes",
            "string_above_max_length");
    }
    if (!valid || out.find('\0') != std::string::npos) {
        return invalid(param, "expected Unicode text without U+0000", "invalid_value");
    }
    return std::nullopt;
}

}  // namespace llm::scan
