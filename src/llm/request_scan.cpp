#include "llm/request_scan.hpp"

#include <yajl/yajl_parse.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <utility>

#include "llm/prompt_text.hpp"
#include "llm/request_fields.hpp"

namespace llm {
namespace {

using namespace scan;

ApiError not_json(const std::string& why) {
    return invalid_request("The request body is not valid JSON: " + why + ".");
}

// Between two tokens stand only these; yajl takes VT and FF for white space too.
constexpr bool is_separator(char c) {
    return c == ' ' || c == ',' || c == ':' || (c >= '\t' && c <= '\r');
}

// The callbacks of one yajl parse over one whole body. yajl_get_bytes_consumed() is the end of the
// token that a callback is called for; its begin follows from the end of the one before, so that
// spans are exact for escaped strings too.
class Scanner {
  public:
    Scanner(std::string_view body, Endpoint endpoint)
        : body_(body), endpoint_(endpoint), prompt_(endpoint, out_) {}

    ScanResult run();

    // Called through guarded(); false stops the parse.
    bool on_value(Kind kind, std::string_view text = {}, bool truth = false);
    bool on_key(std::string_view key);
    bool on_container_end();
    void on_exception() noexcept { exception_ = std::current_exception(); }

  private:
    bool member(const Value& value);
    bool nested(const Value& value);
    bool setting(const Value& value);
    bool stream_option(const Value& value);
    bool tag(const Value& value);

    bool read_bound(const Value& value, std::optional<TokenBound>& bound);
    bool read_choices(const Value& value, int64_t min);
    bool read_short_text(const Value& value, std::string_view param, std::string& out);

    ScanResult finish();
    std::string_view what_is_missing() const;
    Span take_token();
    bool in(Field field) const { return field_ && field_->field == field; }
    bool in_text() const { return field_ && field_->is_text(); }
    bool check(std::optional<ApiError> error);

    const std::string_view body_;
    const Endpoint endpoint_;
    yajl_handle handle_ = nullptr;
    ScannedRequest out_;
    PromptText prompt_;
    std::optional<ApiError> error_;
    std::exception_ptr exception_;

    int depth_ = 0;        // open objects and arrays
    size_t last_end_ = 0;  // of the last token
    bool closed_ = false;  // the top-level object has ended, at last_end_
    uint32_t seen_ = 0;    // field_bit()s of the top-level keys so far
    int64_t most_choices_ = 1;

    // The top-level member that we are in. nullptr: not interpreted.
    const KnownField* field_ = nullptr;
    Span key_;
    size_t value_begin_ = 0;

    // Inside it.
    bool at_include_usage_ = false;  // in stream_options
    bool in_tags_ = false;           // in metadata
    bool has_input_ = false;         // "input" is there and not null
};

template <class F>
int guarded(void* context, F&& call) noexcept {
    auto& scanner = *static_cast<Scanner*>(context);
    try {
        return call(scanner) ? 1 : 0;
    } catch (...) {
        scanner.on_exception();
        return 0;
    }
}

int on_null(void* context) noexcept {
    return guarded(context, [](Scanner& s) { return s.on_value(Kind::null); });
}

int on_boolean(void* context, int truth) noexcept {
    return guarded(context, [=](Scanner& s) { return s.on_value(Kind::boolean, {}, truth != 0); });
}

int on_number(void* context, const char* data, size_t size) noexcept {
    const std::string_view text(data, size);
    const bool decimal = text.find_first_of(".eE") != std::string_view::npos;
    const Kind kind = decimal ? Kind::decimal : Kind::integer;
    return guarded(context, [=](Scanner& s) { return s.on_value(kind, text); });
}

int on_string(void* context, const unsigned char* data, size_t size) noexcept {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    return guarded(context, [=](Scanner& s) { return s.on_value(Kind::string, text); });
}

int on_key(void* context, const unsigned char* data, size_t size) noexcept {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    return guarded(context, [=](Scanner& s) { return s.on_key(text); });
}

int on_start_map(void* context) noexcept {
    return guarded(context, [](Scanner& s) { return s.on_value(Kind::object); });
}

int on_start_array(void* context) noexcept {
    return guarded(context, [](Scanner& s) { return s.on_value(Kind::array); });
}

int on_container_end(void* context) noexcept {
    return guarded(context, [](Scanner& s) { return s.on_container_end(); });
}

constexpr yajl_callbacks kCallbacks{on_null,          on_boolean,     nullptr,         nullptr,
                                    on_number,        on_string,      on_start_map,    on_key,
                                    on_container_end, on_start_array, on_container_end};

struct FreeHandle {
    void operator()(yajl_handle handle) const noexcept { yajl_free(handle); }
};
using Handle = std::unique_ptr<std::remove_pointer_t<yajl_handle>, FreeHandle>;

ScanResult Scanner::run() {
    const Handle handle(yajl_alloc(&kCallbacks, nullptr, this));
    handle_ = handle.get();
    const auto* bytes = reinterpret_cast<const unsigned char*>(body_.data());
    const yajl_status status = yajl_parse(handle_, bytes, body_.size());
    if (exception_) {
        std::rethrow_exception(exception_);
    }
    if (error_) {
        return *std::move(error_);
    }
    if (status != yajl_status_ok) {
        return not_json("error at byte " + std::to_string(yajl_get_bytes_consumed(handle_)));
    }
    // yajl_complete_parse() has nothing to add: an object's end is known when it is read. And it
    // would let an unterminated string pass that follows the object.
    if (!closed_) {
        return not_json("it ends too early");
    }
    if (body_.find_first_not_of(" \t\r\n", last_end_) != std::string_view::npos) {
        return not_json("something follows its end");
    }
    return finish();
}

std::string_view Scanner::what_is_missing() const {
    if (out_.model.empty()) {
        return "model";
    }
    if (endpoint_ == Endpoint::chat_completions && out_.messages == 0) {
        return "messages";
    }
    if (endpoint_ == Endpoint::embeddings && !has_input_) {
        return "input";
    }
    return {};
}

ScanResult Scanner::finish() {
    if (const std::string_view name = what_is_missing(); !name.empty()) {
        return missing_field(name);
    }
    const auto tokens = [](const std::optional<TokenBound>& bound) {
        return bound ? bound->tokens : std::nullopt;
    };
    // No bound is less than any bound.
    out_.max_tokens =
        std::max(tokens(out_.max_tokens_field), tokens(out_.max_completion_tokens_field));
    prompt_.finish();
    out_.choices = most_choices_ * (endpoint_ == Endpoint::completions ? out_.inputs : 1);
    return std::move(out_);
}

Span Scanner::take_token() {
    const size_t end = yajl_get_bytes_consumed(handle_);
    size_t begin = last_end_;
    while (is_separator(body_[begin])) {
        ++begin;
    }
    last_end_ = end;
    return {begin, end};
}

// Returns whether the scan goes on: it does without an error.
bool Scanner::check(std::optional<ApiError> error) {
    error_ = std::move(error);
    return !error_;
}

bool Scanner::on_value(Kind kind, std::string_view text, bool truth) {
    const Value value{kind, take_token(), text, truth};
    const bool container = is_container(kind);
    if (container && depth_ == kMaxDepth) {
        return check(invalid_request("The request body is nested deeper than " +
                                     std::to_string(kMaxDepth) + " levels."));
    }
    if (depth_ == 0 && kind != Kind::object) {
        return check(invalid_request("The request body must be a JSON object."));
    }
    if (depth_ == 1 && !member(value)) {
        return false;
    }
    if (depth_ > 1 && !nested(value)) {
        return false;
    }
    depth_ += container ? 1 : 0;
    return true;
}

bool Scanner::on_container_end() {
    const Span raw = take_token();
    --depth_;
    if (depth_ == 0) {
        closed_ = true;
    } else if (depth_ == 1 && in(Field::structure)) {
        out_.structures.push_back({value_begin_, raw.end});
    } else if (depth_ == 1 && in(Field::stream_options)) {
        out_.stream_options->value.end = raw.end;
    } else if (in_text()) {
        prompt_.on_container_end(depth_);
    }
    return true;
}

bool Scanner::on_key(std::string_view key) {
    const Span raw = take_token();
    if (depth_ > 1) {
        if (in_text()) {
            prompt_.on_key(key, depth_);
        } else if (depth_ == 2 && in(Field::stream_options)) {
            at_include_usage_ = key == "include_usage";
        } else if (depth_ == 2 && in(Field::metadata)) {
            in_tags_ = key == "tags";
        }
        return true;
    }
    key_ = raw;
    field_ = find_field(key);
    if (!field_) {
        return true;
    }
    if (seen_ & field_bit(*field_)) {
        return check(duplicate_field(field_->name));
    }
    seen_ |= field_bit(*field_);
    return true;
}

bool Scanner::member(const Value& value) {
    if (!field_) {
        return true;
    }
    if (value.kind != Kind::null && !(field_->accepted & bit(value.kind))) {
        return check(wrong_type(field_->name, field_->accepted, value.kind));
    }
    value_begin_ = value.raw.begin;
    if (in_text()) {
        has_input_ = has_input_ || (in(Field::input) && value.kind != Kind::null);
        prompt_.on_value(field_->field, value, depth_);
        return true;
    }
    return setting(value);
}

bool Scanner::setting(const Value& value) {
    switch (field_->field) {
        case Field::model:
            out_.model_value = value.raw;
            return read_short_text(value, field_->name, out_.model);
        case Field::user:
            return read_short_text(value, field_->name, out_.user);
        case Field::stream:
            out_.stream = value.truth;
            return true;
        case Field::stream_options:
            out_.stream_options = FieldSpan{key_, value.raw};
            return true;
        case Field::max_tokens:
            return read_bound(value, out_.max_tokens_field);
        case Field::max_completion_tokens:
            return read_bound(value, out_.max_completion_tokens_field);
        case Field::n:
            return read_choices(value, 1);
        case Field::best_of:
            return read_choices(value, 0);
        case Field::structure:
            if (value.kind != Kind::null && !is_container(value.kind)) {
                out_.structures.push_back(value.raw);
            }
            return true;
        default:
            return true;
    }
}

bool Scanner::nested(const Value& value) {
    if (!field_) {
        return true;
    }
    if (in_text()) {
        prompt_.on_value(field_->field, value, depth_);
        return true;
    }
    if (in(Field::stream_options)) {
        return stream_option(value);
    }
    return !in(Field::metadata) || tag(value);
}

bool Scanner::stream_option(const Value& value) {
    if (depth_ != 2 || !at_include_usage_) {
        return true;
    }
    constexpr std::string_view kName = "stream_options.include_usage";
    if (out_.include_usage_value) {
        return check(duplicate_field(kName));
    }
    if (value.kind != Kind::boolean && value.kind != Kind::null) {
        return check(wrong_type(kName, bit(Kind::boolean), value.kind));
    }
    out_.include_usage_value = value.raw;
    out_.include_usage = value.truth;
    return true;
}

// metadata.tags is ours if it is an array. (OpenAI's metadata may have a string of that name.)
bool Scanner::tag(const Value& value) {
    constexpr std::string_view kName = "metadata.tags";
    if (!in_tags_) {
        return true;
    }
    if (depth_ == 2) {
        in_tags_ = value.kind == Kind::array;
        return true;
    }
    if (value.kind != Kind::string) {
        return check(wrong_type(kName, bit(Kind::string), value.kind));
    }
    if (out_.tags.size() == kMaxTags) {
        return check(invalid_request(
            "Invalid 'metadata.tags': expected at most " + std::to_string(kMaxTags) + " tags.",
            std::string(kName), "array_above_max_length"));
    }
    return read_short_text(value, kName, out_.tags.emplace_back());
}

bool Scanner::read_bound(const Value& value, std::optional<TokenBound>& bound) {
    bound = TokenBound{value.raw, std::nullopt};
    if (value.kind == Kind::null) {
        return true;
    }
    // A completion of no tokens is how the prompt's own log probabilities are asked for.
    const int64_t min = endpoint_ == Endpoint::completions ? 0 : 1;
    return check(
        read_integer(value.text, field_->name, min, kMaxTokensField, bound->tokens.emplace()));
}

bool Scanner::read_choices(const Value& value, int64_t min) {
    int64_t choices = 1;
    if (value.kind == Kind::null) {
        return true;
    }
    const bool valid = check(read_integer(value.text, field_->name, min, kMaxChoices, choices));
    most_choices_ = std::max(most_choices_, choices);
    return valid;
}

bool Scanner::read_short_text(const Value& value, std::string_view param, std::string& out) {
    return value.kind == Kind::null || check(scan::read_short_text(value.text, param, out));
}

}  // namespace

ScanResult scan_request(std::string_view body, Endpoint endpoint) {
    return Scanner(body, endpoint).run();
}

}  // namespace llm
