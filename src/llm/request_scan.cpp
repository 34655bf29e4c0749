#include "llm/request_scan.hpp"

#include <algorithm>
#include <utility>

#include "llm/prompt_text.hpp"
#include "llm/request_fields.hpp"

namespace llm {

using namespace scan;

namespace {

ApiError not_json(const json::Scan& scan) {
    if (scan.fault() == json::Fault::too_deep) {
        return invalid_request("The request body is nested deeper than " +
                               std::to_string(kMaxDepth) + " levels.");
    }
    return invalid_request(
        "The request body is not valid JSON: " + std::string(json::describe(scan.fault())) +
        " at byte " + std::to_string(scan.position()) + ".");
}

bool is_true(const Value& value) {
    return value.text == "true";
}

}  // namespace

class RequestScan::Impl {
  public:
    Impl(std::string_view body, Endpoint endpoint)
        : body_(body), endpoint_(endpoint), json_(body), prompt_(body, endpoint, out_.prompt) {}

    Impl(const Impl&) = delete;  // prompt_ refers to out_
    Impl& operator=(const Impl&) = delete;

    bool advance(size_t bytes);
    ScanResult take();

  private:
    // Each returns whether the scan goes on.
    bool on_value();
    bool on_key();
    bool top_key(std::string_view key);
    void on_close();
    bool member(const Value& value);
    bool nested(const Value& value, int depth);
    bool setting(const Value& value);
    bool stream_option(const Value& value);
    bool tag(const Value& value, int depth);
    bool read_bound(const Value& value, std::optional<TokenBound>& bound);
    bool read_tier(const Value& value);
    bool read_choices(const Value& value, int64_t min);
    bool read_text(const Value& value, std::string_view param, std::string& out);
    bool check(std::optional<ApiError> error);

    std::string_view key();
    std::string_view what_is_missing() const;
    void finish();
    bool in(Field field) const { return field_ && field_->field == field; }
    bool in_prompt() const { return field_ && field_->is_prompt(); }

    const std::string_view body_;
    const Endpoint endpoint_;
    json::Scan json_;
    ScannedRequest out_;
    PromptText prompt_;
    std::optional<ApiError> error_;
    std::string unescaped_key_;

    uint32_t seen_ = 0;  // field_bit()s of the top-level keys so far
    int64_t most_choices_ = 1;

    // The top-level member that we are in. nullptr: not interpreted.
    const KnownField* field_ = nullptr;
    Span key_;

    // Inside it.
    bool at_include_usage_ = false;  // in stream_options
    bool in_tags_ = false;           // in metadata
};

bool RequestScan::Impl::advance(size_t bytes) {
    json_.allow(bytes);
    for (;;) {
        switch (json_.next()) {
            case json::Event::value:
                if (!on_value()) {
                    return true;
                }
                break;
            case json::Event::key:
                if (!on_key()) {
                    return true;
                }
                break;
            case json::Event::close:
                on_close();
                break;
            case json::Event::pause:
                return false;
            case json::Event::end:
                finish();
                return true;
            case json::Event::error:
                error_ = not_json(json_);
                return true;
        }
    }
}

ScanResult RequestScan::Impl::take() {
    if (error_) {
        return *std::move(error_);
    }
    return std::move(out_);
}

std::string_view RequestScan::Impl::what_is_missing() const {
    if (out_.model.empty()) {
        return "model";
    }
    switch (endpoint_) {
        case Endpoint::chat_completions:
        case Endpoint::messages:
            return prompt_.holds(Field::messages) ? "" : "messages";
        case Endpoint::embeddings:
        case Endpoint::responses:
            return prompt_.holds(Field::input) ? "" : "input";
        case Endpoint::token_counter: {
            const bool any = prompt_.holds(Field::messages) || prompt_.holds(Field::prompt) ||
                             prompt_.holds(Field::input);
            return any ? "" : "messages";
        }
        default:
            return {};
    }
}

void RequestScan::Impl::finish() {
    if (const std::string_view name = what_is_missing(); !name.empty()) {
        error_ = missing_field(name);
        return;
    }
    const auto tokens = [](const std::optional<TokenBound>& bound) {
        return bound ? bound->tokens : std::nullopt;
    };
    // No bound is less than any bound.
    out_.max_tokens =
        std::max(tokens(out_.max_tokens_field), tokens(out_.max_completion_tokens_field));
    prompt_.finish();
    out_.choices = most_choices_ * (endpoint_ == Endpoint::completions ? out_.prompt.inputs : 1);
}

bool RequestScan::Impl::check(std::optional<ApiError> error) {
    error_ = std::move(error);
    return !error_;
}

bool RequestScan::Impl::on_value() {
    const Span raw = json_.raw();
    const Kind kind = json_.kind();
    const size_t quote = kind == Kind::string ? 1 : 0;
    const Value value{kind, raw, body_.substr(raw.begin + quote, raw.size() - 2 * quote),
                      json_.has_escapes()};
    const int depth = json_.depth() - (is_container(kind) ? 1 : 0);  // around the value
    if (depth > 1) {
        return nested(value, depth);
    }
    if (depth == 1) {
        return member(value);
    }
    return kind == Kind::object ||
           check(invalid_request("The request body must be a JSON object."));
}

void RequestScan::Impl::on_close() {
    const int depth = json_.depth();
    const size_t end = json_.raw().end;
    if (depth > 0 && in_prompt()) {
        prompt_.on_close(end);
    } else if (depth == 1 && in(Field::stream_options)) {
        out_.stream_options->value.end = end;
    }
}

// Unescaped; empty if it is too long to be one that is known.
std::string_view RequestScan::Impl::key() {
    constexpr size_t kLongest = 256;
    const Span raw = json_.raw();
    const std::string_view inside = body_.substr(raw.begin + 1, raw.size() - 2);
    if (!json_.has_escapes()) {
        return inside;
    }
    unescaped_key_.clear();
    if (inside.size() <= kLongest) {
        json::unescape(inside, unescaped_key_);
    }
    return unescaped_key_;
}

bool RequestScan::Impl::on_key() {
    const int depth = json_.depth();
    if (depth == 1) {
        return top_key(key());
    }
    if (in_prompt()) {
        prompt_.on_key(key());
    } else if (depth == 2 && in(Field::stream_options)) {
        at_include_usage_ = key() == "include_usage";
    } else if (depth == 2 && in(Field::metadata)) {
        in_tags_ = key() == "tags";
    }
    return true;
}

bool RequestScan::Impl::top_key(std::string_view key) {
    key_ = json_.raw();
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

bool RequestScan::Impl::member(const Value& value) {
    if (!field_) {
        return true;
    }
    if (value.kind != Kind::null && !(field_->accepted & bit(value.kind))) {
        return check(wrong_type(field_->name, field_->accepted, value.kind));
    }
    if (in_prompt()) {
        prompt_.begin(field_->field, value);
        return true;
    }
    return setting(value);
}

bool RequestScan::Impl::setting(const Value& value) {
    switch (field_->field) {
        case Field::model:
            out_.model_value = value.raw;
            return read_text(value, field_->name, out_.model);
        case Field::user:
            return read_text(value, field_->name, out_.user);
        case Field::service_tier:
            return read_tier(value);
        case Field::stream:
            out_.stream = is_true(value);
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
        default:
            return true;
    }
}

bool RequestScan::Impl::nested(const Value& value, int depth) {
    if (!field_) {
        return true;
    }
    if (in_prompt()) {
        prompt_.on_value(value);
        return true;
    }
    if (in(Field::stream_options)) {
        return depth > 2 || stream_option(value);
    }
    return !in(Field::metadata) || tag(value, depth);
}

bool RequestScan::Impl::stream_option(const Value& value) {
    if (!at_include_usage_) {
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
    out_.include_usage = is_true(value);
    return true;
}

// metadata.tags is ours if it is an array. (OpenAI's metadata may have a string of that name.)
bool RequestScan::Impl::tag(const Value& value, int depth) {
    constexpr std::string_view kName = "metadata.tags";
    if (!in_tags_) {
        return true;
    }
    if (depth == 2) {
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
    return read_text(value, kName, out_.tags.emplace_back());
}

bool RequestScan::Impl::read_bound(const Value& value, std::optional<TokenBound>& bound) {
    bound = TokenBound{{key_, value.raw}, std::nullopt};
    if (value.kind == Kind::null) {
        return true;
    }
    // A completion of no tokens is how the prompt's own log probabilities are asked for.
    const int64_t min = endpoint_ == Endpoint::completions ? 0 : 1;
    return check(read_integer(value, field_->name, min, kMaxTokensField, bound->tokens.emplace()));
}

bool RequestScan::Impl::read_tier(const Value& value) {
    std::string name;
    const bool valid = read_text(value, field_->name, name);
    out_.service_tier = parse_service_tier(name);
    return valid;
}

bool RequestScan::Impl::read_choices(const Value& value, int64_t min) {
    int64_t choices = 1;
    if (value.kind == Kind::null) {
        return true;
    }
    const bool valid = check(read_integer(value, field_->name, min, kMaxChoices, choices));
    most_choices_ = std::max(most_choices_, choices);
    return valid;
}

bool RequestScan::Impl::read_text(const Value& value, std::string_view param, std::string& out) {
    return value.kind == Kind::null || check(read_short_text(value, param, out));
}

RequestScan::RequestScan(std::string_view body, Endpoint endpoint)
    : impl_(std::make_unique<Impl>(body, endpoint)) {}
RequestScan::~RequestScan() = default;
RequestScan::RequestScan(RequestScan&&) noexcept = default;
RequestScan& RequestScan::operator=(RequestScan&&) noexcept = default;

bool RequestScan::advance(size_t bytes) {
    return impl_->advance(bytes);
}

ScanResult RequestScan::take() {
    return impl_->take();
}

ScanResult scan_request(std::string_view body, Endpoint endpoint) {
    RequestScan scan(body, endpoint);
    scan.advance(body.size());
    return scan.take();
}

}  // namespace llm
