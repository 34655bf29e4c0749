#include "llm/request_fields.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "llm/json_writer.hpp"

namespace llm::scan {
namespace {

constexpr std::array<std::string_view, 7> kKindNames{
    "null", "a boolean", "an integer", "a decimal number", "a string", "an object", "an array"};

constexpr Kinds kAnyKind = ~0U;
constexpr Kinds kStringOrArray = bit(Kind::string) | bit(Kind::array);

constexpr std::array<KnownField, 20> kFields{{
    {"model", Field::model, bit(Kind::string)},
    {"messages", Field::messages, bit(Kind::array)},
    {"stream", Field::stream, bit(Kind::boolean)},
    {"stream_options", Field::stream_options, bit(Kind::object)},
    {"max_tokens", Field::max_tokens, bit(Kind::integer)},
    {"max_completion_tokens", Field::max_completion_tokens, bit(Kind::integer)},
    {"n", Field::n, bit(Kind::integer)},
    {"best_of", Field::best_of, bit(Kind::integer)},
    {"user", Field::user, bit(Kind::string)},
    {"metadata", Field::metadata, bit(Kind::object)},
    {"prompt", Field::prompt, kStringOrArray},
    {"input", Field::input, kStringOrArray},
    {"suffix", Field::other_text, kAnyKind},
    {"instructions", Field::other_text, kAnyKind},
    {"prediction", Field::other_text, kAnyKind},
    {"tools", Field::structure, kAnyKind},
    {"tool_choice", Field::structure, kAnyKind},
    {"functions", Field::structure, kAnyKind},
    {"function_call", Field::structure, kAnyKind},
    {"response_format", Field::structure, kAnyKind},
}};
static_assert(kFields.size() <= 32, "field_bit() has 32 bits");

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

}  // namespace

const KnownField* find_field(std::string_view name) noexcept {
    for (const KnownField& known : kFields) {
        if (known.name == name) {
            return &known;
        }
    }
    return nullptr;
}

uint32_t field_bit(const KnownField& field) noexcept {
    return 1U << (&field - kFields.data());
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

std::optional<ApiError> read_integer(std::string_view text, std::string_view param, int64_t min,
                                     int64_t max, int64_t& out) {
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), out);
    if (parsed.ec == std::errc::result_out_of_range) {
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

std::optional<ApiError> read_short_text(std::string_view text, std::string_view param,
                                        std::string& out) {
    if (text.size() > kMaxShortField) {
        return invalid(
            param, "string too long. Expected at most " + std::to_string(kMaxShortField) + " bytes",
            "string_above_max_length");
    }
    if (utf8_prefix_size(text) != text.size() || text.find('\0') != std::string_view::npos) {
        return invalid(param, "expected Unicode text without U+0000", "invalid_value");
    }
    out = text;
    return std::nullopt;
}

}  // namespace llm::scan
