#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

// Half-open byte range of a body.
struct Span {
    size_t begin = 0;
    size_t end = 0;
    size_t size() const noexcept { return end - begin; }
};

}  // namespace llm

namespace llm::json {

enum class Kind : uint8_t { null, boolean, integer, decimal, string, object, array };

constexpr bool is_container(Kind kind) {
    return kind == Kind::object || kind == Kind::array;
}

constexpr bool is_number(Kind kind) {
    return kind == Kind::integer || kind == Kind::decimal;
}

// What a scan came upon.
enum class Event : uint8_t {
    value,  // null, a boolean, a number, a string; or an object or array that begins
    key,    // of the member whose value comes next
    close,  // the innermost object or array has ended
    pause,  // the slice is used up
    end,    // of the body, which is one whole JSON text
    error,  // it is none; nothing comes after it
};

enum class Fault : uint8_t {
    none,
    ends_early,
    no_value,
    no_key,
    no_colon,
    no_comma_in_object,
    no_comma_in_array,
    control_character,
    escape,
    utf8,
    number,
    too_deep,
    trailing,
};

// In words that can stand behind "The body is not valid JSON: ".
std::string_view describe(Fault fault) noexcept;

// Reads a JSON text (RFC 8259, strictly) that lies whole in memory, token by token and in slices: a
// slice may end within a string, a number or white space, and where slices end changes nothing.
// Strings are UTF-8 without overlong forms and surrogates (Unicode, table 3-7); their escapes are
// checked, not undone. Half a surrogate pair as an escape passes, as RFC 8259 (8.2) lets it. A
// byte-order mark and comments are refused. The work is linear in the bytes.
class Scan {
  public:
    // The body must outlive the scan.
    explicit Scan(std::string_view body) noexcept : body_(body) {}

    // The next slice: next() goes on for about so many bytes (at least 1) before it pauses.
    void allow(size_t bytes) noexcept;

    Event next() noexcept;

    // Of the token that next() came upon: its bytes, a string's quotes included; of an object or
    // array that begins or ends the brace alone.
    Kind kind() const noexcept { return kind_; }  // of a value or key
    Span raw() const noexcept { return {begin_, at_}; }
    bool has_escapes() const noexcept { return has_escapes_; }

    // Objects and arrays that are open, with the one that has just begun, without the one that has
    // just ended.
    int depth() const noexcept { return depth_; }

    Fault fault() const noexcept { return fault_; }
    // Offset of the next byte to read; after an error, of the first byte that cannot stand there.
    size_t position() const noexcept { return at_; }

    static constexpr int kMaxDepth = 128;

  private:
    enum class Expect : uint8_t { value, first_value, key, first_key, colon, comma, nothing };
    enum class Open : uint8_t { none, string, number };  // the token that a slice has cut
    enum class Part : uint8_t { integer, fraction, exponent };

    bool skip_space() noexcept;
    Event read_value(char first) noexcept;
    Event read_literal(std::string_view word, Kind kind) noexcept;
    Event open(Kind kind) noexcept;
    Event close(char brace) noexcept;
    Event begin_string() noexcept;
    Event read_string() noexcept;
    Event end_string() noexcept;
    bool skip_escapes() noexcept;
    bool skip_characters() noexcept;
    Event begin_number() noexcept;
    Event read_number() noexcept;
    bool begin_part(Part part) noexcept;
    Event end_value() noexcept;
    Event run_out() noexcept;
    Event fail(Fault fault) noexcept;

    bool in_object() const noexcept { return is_object_[static_cast<size_t>(depth_ - 1)]; }
    bool holds_digit(size_t at) const noexcept;

    std::string_view body_;
    size_t at_ = 0;
    size_t limit_ = 0;  // of the slice
    size_t begin_ = 0;  // of the token
    int depth_ = 0;
    Expect expect_ = Expect::value;
    Open open_ = Open::none;
    Part part_ = Part::integer;  // of the number
    Kind kind_ = Kind::null;
    Fault fault_ = Fault::none;
    bool has_escapes_ = false;
    std::bitset<kMaxDepth> is_object_;  // by depth - 1
};

// Appends to `out` what the inside of a string (between the quotes, escapes checked by a scan)
// stands for. False if half of a surrogate pair stands alone: U+FFFD is put for it.
bool unescape(std::string_view inside, std::string& out);

}  // namespace llm::json
