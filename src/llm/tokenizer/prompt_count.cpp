#include "llm/tokenizer/prompt_count.hpp"

#include <algorithm>

#include "llm/tokenizer/tool_tokens.hpp"

namespace llm::tokenizer {
namespace {

// Small enough that even the slowest text of a slice takes less than half a millisecond.
constexpr size_t kSliceBytes = 2048;

}  // namespace

PromptCount::PromptCount(Encoding& encoding, const ModelTokens& model, std::string_view body,
                         const ScannedRequest& request, int64_t names) noexcept
    : encoding_(encoding),
      model_(model),
      body_(body),
      request_(request),
      counter_(model.text.exact ? Counter(encoding) : Counter(encoding, characters_)),
      added_(request.token_ids),
      estimated_(!model.text.exact) {
    if (request.messages > 0) {
        const FrameRule& frame = model.frame;
        added_ += request.messages * frame.per_message + names * frame.per_name + frame.per_prompt;
        estimated_ = estimated_ || !frame.exact;
    }
    if (request.images > 0) {
        added_ += request.images * image_tokens(model.image, false, 0, 0);
        estimated_ = true;
    }
}

bool PromptCount::advance(uint64_t work) {
    const uint64_t end = encoding_.work() + read_ + work;
    while (item_ < items()) {
        if (encoding_.work() + read_ >= end) {
            return false;
        }
        if (item_read_ == 0 && takes_as_tools()) {
            next_item();
            continue;
        }
        read_slice(item());
        if (item_read_ == item().size()) {
            counter_.finish();
            next_item();
        }
    }
    return true;
}

int64_t PromptCount::tokens() const noexcept {
    return added_ + text_tokens(model_.text, counter_.tokens(), characters_);
}

std::string_view PromptCount::item() const noexcept {
    const Span& span =
        in_structures() ? request_.structures[item_ - request_.text.size()] : request_.text[item_];
    return body_.substr(span.begin, span.size());
}

// Structures that are no tools are counted as the text that they are.
bool PromptCount::takes_as_tools() {
    if (!in_structures()) {
        return false;
    }
    estimated_ = true;
    auto tokens = tool_tokens(item(), model_.per_function, encoding_);
    if (!tokens) {
        tokens = tool_choice_tokens(item(), encoding_);
    }
    if (!tokens) {
        return false;
    }
    added_ += *tokens;
    read_ += item().size();
    return true;
}

void PromptCount::read_slice(std::string_view item) {
    if (read_ >= kMaxBytes) {
        const size_t rest = item.size() - item_read_;
        added_ += static_cast<int64_t>(rest);
        estimated_ = true;
        item_read_ += rest;
        return;
    }
    const std::string_view slice = item.substr(item_read_, kSliceBytes);
    counter_.feed(slice, in_structures() ? TextForm::plain : TextForm::json);
    item_read_ += slice.size();
    read_ += slice.size();
}

void PromptCount::next_item() noexcept {
    ++item_;
    item_read_ = 0;
}

}  // namespace llm::tokenizer
