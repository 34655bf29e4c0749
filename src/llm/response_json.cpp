#include "llm/response_json.hpp"

#include <yajl/yajl_parse.h>

#include <algorithm>
#include <charconv>

#include "llm/response_tap.hpp"
#include "llm/tokenizer/output_count.hpp"

namespace llm {

// What yajl calls; the context is the ResponseJson.
struct ResponseJsonCallbacks {
    static ResponseJson& told(void* context) noexcept {
        auto& json = *static_cast<ResponseJson*>(context);
        json.stalled_ = 0;
        return json;
    }
    static std::string_view view(const unsigned char* text, size_t size) noexcept {
        return {reinterpret_cast<const char*>(text), size};
    }
    static int null(void* context) noexcept { return told(context).on_literal(true); }
    static int boolean(void* context, int) noexcept { return told(context).on_literal(false); }
    static int number(void* context, const char* text, size_t size) noexcept {
        return told(context).on_number({text, size});
    }
    static int string(void* context, const unsigned char* text, size_t size) noexcept {
        return told(context).on_string(view(text, size));
    }
    static int key(void* context, const unsigned char* text, size_t size) noexcept {
        return told(context).on_key(view(text, size));
    }
    static int open_map(void* context) noexcept { return told(context).on_open(true); }
    static int open_array(void* context) noexcept { return told(context).on_open(false); }
    static int close(void* context) noexcept { return told(context).on_close(); }

    static constexpr yajl_callbacks kTable = {
        .yajl_null = null,
        .yajl_boolean = boolean,
        .yajl_integer = nullptr,
        .yajl_double = nullptr,
        .yajl_number = number,
        .yajl_string = string,
        .yajl_start_map = open_map,
        .yajl_map_key = key,
        .yajl_end_map = close,
        .yajl_start_array = open_array,
        .yajl_end_array = close,
    };
};

namespace {

bool is_space(char c) noexcept {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// The end of the run that is neither quote nor backslash, at most `limit`.
size_t plain_end(std::string_view bytes, size_t at, size_t limit) noexcept {
    while (at < limit && bytes[at] != '"' && bytes[at] != '\\') {
        ++at;
    }
    return at;
}

bool is_control(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

// Strings are not validated as UTF-8: a broken character in the output must not cost us the usage.
// One parser reads all chunks of a stream.
yajl_handle_t* make_parser(void* context) noexcept {
    yajl_handle_t* parser = yajl_alloc(&ResponseJsonCallbacks::kTable, nullptr, context);
    if (parser != nullptr) {
        yajl_config(parser, yajl_dont_validate_strings, 1);
        yajl_config(parser, yajl_allow_multiple_values, 1);
    }
    return parser;
}

}  // namespace

ResponseJson::~ResponseJson() {
    if (parser_ != nullptr) {
        yajl_free(parser_);
    }
}

void ResponseJson::feed(std::string_view bytes) noexcept {
    while (!bytes.empty() && !failed_) {
        bytes.remove_prefix(skipping_ ? feed_skipped(bytes) : feed_parsed(bytes));
    }
}

bool ResponseJson::finish() noexcept {
    // yajl itself would let an unfinished string after the document pass.
    const bool whole = !failed_ && has_root_ && depth_ == 0 && !in_string_ &&
                       yajl_complete_parse(parser_) == yajl_status_ok;
    if (!whole) {
        facts_.malformed = true;
        if (parser_ != nullptr) {
            yajl_free(parser_);
            parser_ = nullptr;
        }
    }
    failed_ = has_root_ = in_string_ = skipping_ = false;
    depth_ = stalled_ = skipped_bytes_ = 0;
    return whole;
}

// Hands the parser all bytes up to where a string becomes too long, and returns their number. What
// is cut depends on the document only, not on how it was fed.
size_t ResponseJson::feed_parsed(std::string_view bytes) noexcept {
    size_t at = 0;
    while (at < bytes.size() && !skipping_) {
        at = in_string_ ? scan_string(bytes, at) : scan_structure(bytes, at);
    }
    parse(bytes.substr(0, at));
    return at;
}

size_t ResponseJson::scan_structure(std::string_view bytes, size_t at) noexcept {
    const size_t quote = bytes.find('"', at);
    if (quote == std::string_view::npos) {
        return bytes.size();
    }
    in_string_ = true;
    string_bytes_ = 0;
    escape_ = 0;
    return quote + 1;
}

size_t ResponseJson::scan_string(std::string_view bytes, size_t at) noexcept {
    while (at < bytes.size()) {
        if (escape_ == 0) {
            const size_t room = kParsedString - std::min(string_bytes_, kParsedString);
            const size_t end = plain_end(bytes, at, std::min(bytes.size(), at + room));
            string_bytes_ += end - at;
            at = end;
            if (at == bytes.size()) {
                return at;
            }
            if (bytes[at] == '"') {
                in_string_ = false;
                return at + 1;
            }
            if (string_bytes_ >= kParsedString) {
                skipping_ = true;
                return at;
            }
        }
        decoded_size(bytes[at]);
        ++string_bytes_;
        ++at;
    }
    return at;
}

// Counts bytes up to the end of the string; the parser goes on at the closing quote.
size_t ResponseJson::feed_skipped(std::string_view bytes) noexcept {
    for (size_t at = 0; at < bytes.size(); ++at) {
        if (escape_ == 0) {
            const size_t end = plain_end(bytes, at, bytes.size());
            skipped_bytes_ += end - at;
            at = end;
            if (at == bytes.size()) {
                return at;
            }
            if (bytes[at] == '"') {
                in_string_ = skipping_ = false;
                parse(bytes.substr(at, 1));
                skipped_bytes_ = 0;
                return at + 1;
            }
        }
        skipped_bytes_ += decoded_size(bytes[at]);
    }
    return bytes.size();
}

// How much the string's next byte adds to the decoded text. An escaped UTF-16 unit counts as 3
// bytes, the most that it can become.
size_t ResponseJson::decoded_size(char c) noexcept {
    constexpr int kLetter = 5;
    constexpr int kHexDigits = 4;
    if (escape_ == kLetter) {
        escape_ = c == 'u' ? kHexDigits : 0;
        return c == 'u' ? 3 : 1;
    }
    if (escape_ > 0) {
        --escape_;
        return 0;
    }
    if (c == '\\') {
        escape_ = kLetter;
        return 0;
    }
    return 1;
}

void ResponseJson::parse(std::string_view bytes) noexcept {
    if (parser_ == nullptr) {
        parser_ = make_parser(this);
    }
    stalled_ += bytes.size();
    failed_ = parser_ == nullptr ||
              yajl_parse(parser_, reinterpret_cast<const unsigned char*>(bytes.data()),
                         bytes.size()) != yajl_status_ok;
    if (!in_string_ && !bytes.empty() && is_space(bytes.back())) {
        stalled_ = 0;
    }
    failed_ = failed_ || stalled_ > kMaxStalled;
}

// What the value that begins now is.
ResponseNode ResponseJson::arrive() noexcept {
    switch (open_[depth_ - 1]) {
        case Node::choices:
            shape_.no_choices = false;
            return Node::choice;
        case Node::tool_calls:
            return Node::tool_call;
        case Node::ignored:
            return Node::ignored;
        default:
            return member_;
    }
}

bool ResponseJson::push(Node node) noexcept {
    if (depth_ == kMaxDepth) {
        return false;
    }
    open_[depth_++] = node;
    return true;
}

bool ResponseJson::on_open(bool map) noexcept {
    if (depth_ == 0) {
        if (!map || has_root_) {
            return false;
        }
        has_root_ = true;
        shape_ = {};
        return push(Node::root);
    }
    const Node node = arrive();
    bad_count_ = bad_count_ || is_count(node);
    if (map ? !is_map(node) : !is_array(node)) {
        return push(Node::ignored);
    }
    enter(node);
    return push(node);
}

void ResponseJson::enter(Node node) noexcept {
    if (node == Node::choices) {
        shape_.no_choices = true;
    } else if (node == Node::error) {
        shape_.error = true;
    } else if (node == Node::usage) {
        shape_.usage = true;
        counts_.fill(-1);
        bad_count_ = false;
    }
}

bool ResponseJson::on_close() noexcept {
    if (open_[--depth_] == Node::usage) {
        close_usage();
    }
    return true;
}

bool ResponseJson::on_key(std::string_view key) noexcept {
    member_ = member_of(open_[depth_ - 1], key);
    return true;
}

bool ResponseJson::on_string(std::string_view text) noexcept {
    if (depth_ == 0) {
        return false;
    }
    const Node node = arrive();
    if (node == Node::output) {
        add_output(text, skipped_bytes_);
    } else if (node == Node::model && facts_.model.empty()) {
        constexpr size_t kMaxModel = 256;
        if (std::none_of(text.begin(), text.end(), is_control)) {
            facts_.model = text.substr(0, kMaxModel);
        }
    }
    bad_count_ = bad_count_ || is_count(node);
    return true;
}

bool ResponseJson::on_number(std::string_view text) noexcept {
    if (depth_ == 0) {
        return false;
    }
    const Node node = arrive();
    if (is_count(node)) {
        set_count(node, text);
    }
    return true;
}

bool ResponseJson::on_literal(bool null) noexcept {
    if (depth_ == 0) {
        return false;
    }
    bad_count_ = bad_count_ || (is_count(arrive()) && !null);
    return true;
}

void ResponseJson::add_output(std::string_view text, size_t unread_bytes) noexcept {
    if (output_ != nullptr) {
        output_->add(text, unread_bytes);
    }
    const size_t bytes = text.size() + unread_bytes;
    facts_.output_bytes += static_cast<int64_t>(bytes);
    facts_.has_output = facts_.has_output || bytes > 0;
}

void ResponseJson::set_count(Node node, std::string_view text) noexcept {
    constexpr int64_t kMaxTokens = 1'000'000'000'000;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.front() == '-' ||
        value > kMaxTokens) {
        bad_count_ = true;
        return;
    }
    counts_[static_cast<size_t>(node) - kFirstCount] = value;
}

int64_t ResponseJson::count_or_zero(Node node) const noexcept {
    return std::max<int64_t>(counts_[static_cast<size_t>(node) - kFirstCount], 0);
}

void ResponseJson::close_usage() noexcept {
    constexpr size_t kPromptTokens = static_cast<size_t>(Node::prompt_tokens) - kFirstCount;
    facts_.has_usage = counts_[kPromptTokens] >= 0 && !bad_count_;
    if (!facts_.has_usage) {
        facts_.malformed = true;
        return;
    }
    Usage& usage = facts_.usage;
    usage.prompt_tokens = count_or_zero(Node::prompt_tokens);
    // Providers that bill reasoning beside the completion show it in the total only.
    usage.completion_tokens = std::max(count_or_zero(Node::completion_tokens),
                                       count_or_zero(Node::total_tokens) - usage.prompt_tokens);
    usage.cached_tokens =
        std::max(count_or_zero(Node::cached_tokens), count_or_zero(Node::cache_hit_tokens));
    usage.cache_write_tokens = count_or_zero(Node::cache_write_tokens);
    usage.reasoning_tokens = count_or_zero(Node::reasoning_tokens);
    usage.audio_prompt_tokens = count_or_zero(Node::audio_prompt_tokens);
    usage.audio_completion_tokens = count_or_zero(Node::audio_completion_tokens);
}

}  // namespace llm
