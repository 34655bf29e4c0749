#include "llm/response_tap.hpp"

namespace llm {

void JsonTap::feed(std::string_view bytes) noexcept {
    json_.feed(bytes);
}

void JsonTap::finish() noexcept {
    facts_.complete = json_.finish();
}

ResponseFacts read_json_response(std::string_view body, tokenizer::OutputCount* output) {
    JsonTap tap;
    tap.count_output(output);
    tap.feed(body);
    tap.finish();
    return tap.facts();
}

std::string_view SseTap::pass(std::string_view bytes) {
    const bool passes_unparsed = splitter_.overflowed();
    shown_ = {};
    shown_copy_.clear();
    splitter_.feed(bytes);
    if (passes_unparsed) {
        return bytes;
    }
    SseSplitter::Event event;
    while (splitter_.next(event)) {
        if (is_visible(event)) {
            show(event.raw);
        }
    }
    if (splitter_.overflowed()) {
        facts_.malformed = true;
        show(splitter_.pending());
    }
    return hide_usage_ ? shown_ : bytes;
}

std::string_view SseTap::finish() {
    SseSplitter::Event event;
    const bool shows = splitter_.unfinished(event) && is_visible(event);
    return hide_usage_ && shows ? event.raw : std::string_view();
}

// Reads the event; whether the client is to see it.
bool SseTap::is_visible(const SseSplitter::Event& event) {
    if (!event.tail) {
        last_visible_ = !(read_chunk(event.data) && hide_usage_);
    }
    return last_visible_;
}

// Whether the chunk carries usage only.
bool SseTap::read_chunk(std::string_view data) {
    if (data.empty()) {
        return false;
    }
    if (data == "[DONE]") {
        facts_.complete = true;
        return false;
    }
    json_.feed(data);
    return json_.finish() && json_.is_usage_only();
}

// Appends to what is shown. As long as that is one piece of the input, nothing is copied.
void SseTap::show(std::string_view raw) {
    if (shown_.empty()) {
        shown_ = raw;
        return;
    }
    const bool adjacent = shown_.data() + shown_.size() == raw.data();
    if (shown_copy_.empty() && adjacent) {
        shown_ = {shown_.data(), shown_.size() + raw.size()};
        return;
    }
    if (shown_copy_.empty()) {
        shown_copy_ = shown_;
    }
    shown_copy_ += raw;
    shown_ = shown_copy_;
}

}  // namespace llm
