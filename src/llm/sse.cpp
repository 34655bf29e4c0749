#include "llm/sse.hpp"

#include <algorithm>

namespace llm {

namespace {

// A rare large event's memory does not stay with its stream.
constexpr size_t kKeptCapacity = 8 * 1024;

void recycle(std::string& buffer) {
    buffer.clear();
    if (buffer.capacity() > kKeptCapacity) {
        buffer.shrink_to_fit();
    }
}

// Cuts the first line off `text` and returns it without its end.
std::string_view take_line(std::string_view& text) {
    const auto is_end = [](char c) { return c == '\r' || c == '\n'; };
    const auto end = std::find_if(text.begin(), text.end(), is_end);
    const auto size = static_cast<size_t>(end - text.begin());
    const auto line = text.substr(0, size);
    text.remove_prefix(size);
    text.remove_prefix(text.starts_with("\r\n") ? 2 : std::min<size_t>(text.size(), 1));
    return line;
}

// Whether the line is a data field; then `value` is its value.
bool is_data(std::string_view line, std::string_view& value) {
    constexpr std::string_view kName = "data";
    if (!line.starts_with(kName)) {
        return false;
    }
    value = line.substr(kName.size());
    if (value.empty()) {
        return true;
    }
    if (value.front() != ':') {
        return false;
    }
    value.remove_prefix(value.starts_with(": ") ? 2 : 1);
    return true;
}

}  // namespace

void SseSplitter::feed(std::string_view bytes) {
    if (overflowed_) {
        recycle(held_);
        return;
    }
    recycle(assembled_);
    input_ = bytes;
}

bool SseSplitter::next(Event& event) {
    if (overflowed_ || input_.empty()) {
        return false;
    }
    if (tail_follows_) {
        tail_follows_ = false;
        if (input_.front() == '\n') {
            event = {.raw = input_.substr(0, 1), .data = {}, .tail = true};
            input_.remove_prefix(1);
            return true;
        }
    }
    const size_t size = find_event_end();
    const bool ended = size != std::string_view::npos;
    if (held_.size() + (ended ? size : input_.size()) > kMaxEvent) {
        return give_up();
    }
    if (!ended) {
        held_.append(input_);
        input_ = {};
        return false;
    }
    const auto raw = complete(size);
    event = {.raw = raw, .data = data_of(raw), .tail = false};
    return true;
}

bool SseSplitter::unfinished(Event& event) {
    if (overflowed_ || held_.empty()) {
        return false;
    }
    event = {.raw = held_, .data = data_of(held_), .tail = false};
    return true;
}

// Where the event in progress ends in `input_`; npos: not in this feed. Sees every byte once.
size_t SseSplitter::find_event_end() noexcept {
    for (size_t i = 0; i < input_.size(); ++i) {
        const char c = input_[i];
        if (c != '\r' && c != '\n') {
            line_empty_ = false;
            after_cr_ = false;
            continue;
        }
        const bool second_half = c == '\n' && after_cr_;
        after_cr_ = c == '\r';
        if (second_half) {
            continue;
        }
        if (!line_empty_) {
            line_empty_ = true;
            continue;
        }
        const bool has_lf = c == '\r' && i + 1 < input_.size() && input_[i + 1] == '\n';
        tail_follows_ = c == '\r' && i + 1 == input_.size();
        after_cr_ = false;
        return i + (has_lf ? 2 : 1);
    }
    return std::string_view::npos;
}

bool SseSplitter::give_up() {
    held_.append(input_);
    input_ = {};
    overflowed_ = true;
    return false;
}

// The event's bytes: what was held and the first `size` bytes of the input.
std::string_view SseSplitter::complete(size_t size) {
    const auto rest = input_.substr(0, size);
    input_.remove_prefix(size);
    if (held_.empty()) {
        return rest;
    }
    held_.append(rest);
    assembled_.swap(held_);
    return assembled_;
}

std::string_view SseSplitter::data_of(std::string_view raw) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
    if (at_start_ && raw.starts_with(kByteOrderMark)) {
        raw.remove_prefix(kByteOrderMark.size());
    }
    at_start_ = false;

    std::string_view data;
    size_t lines = 0;
    recycle(joined_);
    while (!raw.empty()) {
        std::string_view value;
        if (!is_data(take_line(raw), value)) {
            continue;
        }
        if (++lines == 1) {
            data = value;
            continue;
        }
        if (lines == 2) {
            joined_ = data;
        }
        joined_ += '\n';
        joined_ += value;
        data = joined_;
    }
    return data;
}

}  // namespace llm
