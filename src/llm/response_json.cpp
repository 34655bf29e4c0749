#include "llm/response_json.hpp"

#include <yajl/yajl_parse.h>

#include <algorithm>
#include <new>
#include <utility>

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
    if (bytes.empty()) {
        return;
    }
    if (is_whole_) {
        failed_ = failed_ || !std::all_of(bytes.begin(), bytes.end(), is_space);
        return;
    }
    try {
        if (!std::exchange(begun_, true) && read_whole(bytes)) {
            return;
        }
    } catch (const std::bad_alloc&) {
        failed_ = true;
    }
    while (!bytes.empty() && !failed_) {
        bytes.remove_prefix(skipping_ ? feed_skipped(bytes) : feed_parsed(bytes));
    }
}

bool ResponseJson::finish() noexcept {
    // yajl itself would let an unfinished string after the document pass.
    const bool whole = !failed_ && has_root_ && depth_ == 0 && !in_string_ &&
                       (is_whole_ || yajl_complete_parse(parser_) == yajl_status_ok);
    if (!whole) {
        facts_.malformed = true;
        if (parser_ != nullptr) {
            yajl_free(parser_);
            parser_ = nullptr;
        }
    }
    failed_ = begun_ = is_whole_ = has_root_ = in_string_ = skipping_ = false;
    depth_ = stalled_ = skipped_bytes_ = 0;
    return whole;
}

// False: it is not the whole document, or one that yajl reads in a way of its own, and nothing was
// told of it. No string of it is too long to be parsed.
bool ResponseJson::read_whole(std::string_view document) {
    if (document.size() > kParsedString || document.find("\\u") != std::string_view::npos) {
        return false;
    }
    constexpr size_t kUsualTokens = 64;
    tokens_.clear();
    tokens_.reserve(kUsualTokens);
    json::Scan scan(document);
    scan.allow(document.size());
    json::Event event = scan.next();
    for (; event != json::Event::end && event != json::Event::error; event = scan.next()) {
        tokens_.push_back({event, scan.kind(), scan.has_escapes(), scan.raw()});
    }
    is_whole_ = event == json::Event::end;
    const auto told = [&](const Token& token) { return tell(token, document); };
    failed_ = is_whole_ && !std::all_of(tokens_.begin(), tokens_.end(), told);
    return is_whole_;
}

bool ResponseJson::tell(const Token& token, std::string_view document) {
    if (token.event == json::Event::close) {
        return on_close();
    }
    if (json::is_container(token.kind)) {
        return on_open(token.kind == json::Kind::object);
    }
    std::string_view raw = document.substr(token.raw.begin, token.raw.size());
    if (token.kind != json::Kind::string) {
        return json::is_number(token.kind) ? on_number(raw)
                                           : on_literal(token.kind == json::Kind::null);
    }
    raw = raw.substr(1, raw.size() - 2);
    if (token.has_escapes) {
        text_.clear();
        json::unescape(raw, text_);
        raw = text_;
    }
    return token.event == json::Event::key ? on_key(raw) : on_string(raw);
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
    const Node around = open_[depth_ - 1];
    if (!is_array(around)) {
        return around == Node::ignored ? Node::ignored : member_;
    }
    shape_.no_choices = shape_.no_choices && around != Node::choices;
    return item_of(around);
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
        usage_.begin_document();
        return push(Node::root);
    }
    const Node node = arrive();
    if (is_count(node)) {
        usage_.spoil_count();
    }
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
    } else if (is_usage(node)) {
        shape_.usage = true;
    }
    usage_.enter(node);
}

bool ResponseJson::on_close() noexcept {
    leave(open_[--depth_]);
    return true;
}

void ResponseJson::leave(Node node) noexcept {
    if (node == Node::root) {
        facts_.complete = facts_.complete || shape_.ends;
        usage_.end_document();
        tell_usage();
        return;
    }
    usage_.leave(node, open_[depth_ - 1]);
    if (is_usage(node)) {
        tell_usage();
    }
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
    if (is_output(node) || (node == Node::whole_text && !shape_.repeats)) {
        add_output(text, skipped_bytes_);
    } else if (node == Node::model) {
        set_model(text);
    } else if (node == Node::event) {
        note_event(text);
    } else if (node == Node::finish_reason) {
        shape_.ends = true;
    } else {
        usage_.add_text(node, text);
    }
    return true;
}

bool ResponseJson::on_number(std::string_view text) noexcept {
    if (depth_ == 0) {
        return false;
    }
    usage_.add_number(arrive(), text);
    return true;
}

bool ResponseJson::on_literal(bool null) noexcept {
    if (depth_ == 0) {
        return false;
    }
    if (is_count(arrive()) && !null) {
        usage_.spoil_count();
    }
    return true;
}

// The one place where what the model wrote passes: `text` and, where a string is too long to be
// parsed, so many bytes more of it.
void ResponseJson::add_output(std::string_view text, size_t more_bytes) noexcept {
    if (output_ != nullptr) {
        output_->add(text, more_bytes);
    }
    const size_t bytes = text.size() + more_bytes;
    facts_.output_bytes += static_cast<int64_t>(bytes);
    facts_.has_output = facts_.has_output || bytes > 0;
}

void ResponseJson::set_model(std::string_view name) noexcept {
    constexpr size_t kMaxModel = 256;
    if (facts_.model.empty() && std::none_of(name.begin(), name.end(), is_control)) {
        facts_.model = name.substr(0, kMaxModel);
    }
}

void ResponseJson::note_event(std::string_view type) noexcept {
    constexpr std::string_view kLast[] = {"message_stop",         "response.completed",
                                          "response.incomplete",  "response.failed",
                                          "transcript.text.done", "speech.audio.done",
                                          "image_edit.completed", "image_generation.completed"};
    shape_.repeats = type.ends_with(".done");
    shape_.ends = std::find(std::begin(kLast), std::end(kLast), type) != std::end(kLast);
}

void ResponseJson::tell_usage() noexcept {
    facts_.has_usage = usage_.is_known();
    facts_.has_prompt = usage_.has_prompt();
    facts_.malformed = facts_.malformed || usage_.is_malformed();
    facts_.usage = usage_.usage();
}

}  // namespace llm
