#include "llm/prompt_text.hpp"

#include <algorithm>
#include <utility>

namespace llm::scan {
namespace {

bool is_counted_input(Endpoint endpoint, Field field) {
    switch (endpoint) {
        case Endpoint::completions:
            return field == Field::prompt;
        case Endpoint::embeddings:
            return field == Field::input;
        case Endpoint::token_counter:
            return field == Field::prompt || field == Field::input;
        default:
            return false;
    }
}

}  // namespace

PromptText::PromptText(std::string_view body, Endpoint endpoint, PromptContent& out)
    : body_(body), endpoint_(endpoint), out_(out) {
    frames_.reserve(8);
}

void PromptText::begin(Field field, const Value& value) {
    field_ = field;
    if (value.kind == Kind::null) {
        return;
    }
    switch (field) {
        case Field::tools:
            return begin_tools(value);
        case Field::tool_choice:
            return open_structure(Structure::Rule::tool_choice, value);
        case Field::format:
            return open_structure(Structure::Rule::format, value);
        case Field::messages:
            return enter(value);
        default:
            break;
    }
    held_ |= held_bit(field);
    const bool is_message = field == Field::input && endpoint_ == Endpoint::responses;
    if (field == Field::system || (is_message && value.kind == Kind::string)) {
        add_implied_message();
    }
    enter(value);
}

// A value that is text, or holds some.
void PromptText::enter(const Value& value) {
    if (value.kind == Kind::string) {
        add_text(value);
    } else if (value.kind == Kind::array) {
        open(Place::list);
    } else if (value.kind == Kind::object) {
        open(Place::block);
    }
}

PromptText::Frame& PromptText::open(Place place) {
    return frames_.emplace_back(Frame{.place = place});
}

void PromptText::open_structure(Structure::Rule rule, const Value& value) {
    if (!is_container(value.kind)) {
        return add_structure(rule, value.raw);
    }
    Frame& frame = open(Place::structure);
    frame.rule = rule;
    frame.begin = value.raw.begin;
}

void PromptText::add_structure(Structure::Rule rule, Span value) {
    out_.structures.push_back({rule, value});
    out_.text_bytes += static_cast<int64_t>(value.size());
}

void PromptText::begin_tools(const Value& value) {
    if (value.kind == Kind::array) {
        open(Place::tools);
    } else {
        open_structure(Structure::Rule::json, value);
    }
}

void PromptText::add_text(const Value& value) {
    if (!value.text.empty()) {
        out_.text.push_back({value.raw.begin + 1, value.raw.end - 1});
        out_.text_bytes += static_cast<int64_t>(value.text.size());
    }
}

// What is not known: its strings may be text to a provider that knows it.
void PromptText::add_other(const Value& value) {
    if (is_container(value.kind)) {
        open(Place::elsewhere);
    } else if (value.kind == Kind::string) {
        out_.other_bytes += static_cast<int64_t>(value.text.size());
    }
}

void PromptText::add_implied_message() {
    ++out_.messages;
    ++out_.implied_roles;
}

void PromptText::on_value(const Value& value) {
    const PromptKey key = std::exchange(key_, PromptKey::other);
    switch (frames_.back().place) {
        case Place::elsewhere:
            return add_other(value);
        case Place::list:
            return on_element(value);
        case Place::block:
            return on_member(key, value);
        case Place::tools:
            return on_tool(value);
        case Place::structure:
        case Place::in_structure:
            if (is_container(value.kind)) {
                open(Place::in_structure);
            }
            return;
        case Place::image:
            return on_image_member(key, value);
        case Place::source:
            return on_source_member(key, value);
        case Place::sound:
            return on_sound_member(key, value);
        case Place::file:
            return on_file_member(key, value);
    }
}

void PromptText::on_tool(const Value& value) {
    if (value.kind == Kind::object) {
        open_structure(Structure::Rule::tool, value);
    } else {
        enter(value);
    }
}

void PromptText::on_element(const Value& value) {
    if (frames_.size() == 1) {
        count_element(value.kind);
    }
    if (is_number(value.kind) && (field_ == Field::prompt || field_ == Field::input)) {
        ++out_.token_ids;
    } else {
        enter(value);
    }
}

void PromptText::count_element(Kind kind) {
    held_ |= held_bit(field_);
    if (field_ == Field::messages || (field_ == Field::input && kind == Kind::object)) {
        ++out_.messages;
    }
    if (is_counted_input(endpoint_, field_)) {
        has_token_ids_ = has_token_ids_ || is_number(kind);
        elements_ += is_number(kind) ? 0 : 1;
    }
}

void PromptText::on_member(PromptKey key, const Value& value) {
    switch (key) {
        case PromptKey::text:
        case PromptKey::content:
            return enter(value);
        case PromptKey::name:
            return on_name(value);
        case PromptKey::call:
            out_.has_tool_calls = out_.has_tool_calls || value.kind != Kind::null;
            return enter(value);
        case PromptKey::call_id:
            out_.has_tool_calls = out_.has_tool_calls || value.kind != Kind::null;
            return add_other(value);
        case PromptKey::call_input:
            return on_call_input(value);
        default:
            return on_media(key, value);
    }
}

// A message's own name costs more than its text.
void PromptText::on_name(const Value& value) {
    constexpr size_t kInMessage = 2;  // in the object in the array
    const bool is_message = field_ == Field::messages && frames_.size() == kInMessage;
    out_.names += is_message && value.kind == Kind::string ? 1 : 0;
    enter(value);
}

void PromptText::on_call_input(const Value& value) {
    if (!is_container(value.kind)) {
        return enter(value);
    }
    out_.has_tool_calls = true;
    open_structure(Structure::Rule::json, value);
}

void PromptText::on_close(size_t end) {
    const Frame frame = frames_.back();
    frames_.pop_back();
    close(frame, end);
}

void PromptText::finish() {
    out_.inputs = std::max<int64_t>(1, elements_ + (has_token_ids_ ? 1 : 0));
}

}  // namespace llm::scan
