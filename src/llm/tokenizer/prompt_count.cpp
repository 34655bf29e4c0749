#include "llm/tokenizer/prompt_count.hpp"

#include <algorithm>
#include <utility>

#include "llm/tokenizer/tool_tokens.hpp"

namespace llm::tokenizer {
namespace {

// Small enough that even the slowest text of a slice takes less than half a millisecond.
constexpr size_t kSliceBytes = 2048;

// In the unit of advance(), about 4 ns.
constexpr uint64_t kWorkPerItem = 8;
constexpr uint64_t kWorkPerTool = 100;
constexpr uint64_t kWorkPerToolByte = 8;

// OpenAI shows the results of parallel tool calls to its models as JSON with \u escapes, and bills
// them: 13 tokens for 10 bytes of Korean were measured (its forum, topic 1375117). A byte of an
// escape is a token at most.
constexpr int64_t kEscape = 6;
constexpr int64_t kEscapedPair = 12;

// No provider publishes a rule for the bytes of a file. A PDF's page of 10 KB comes to 3413 tokens:
// Anthropic ("PDF support") speaks of 1500 to 3000 for its text, and its picture.
constexpr int64_t kFileBytesPerToken = 3;

}  // namespace

PromptCount::PromptCount(Encoding& encoding, const ModelTokens& model, std::string_view body,
                         const PromptContent& prompt) noexcept
    : encoding_(encoding),
      model_(model),
      body_(body),
      prompt_(prompt),
      counter_(model.text.exact && !prompt.has_tool_calls ? Counter(encoding)
                                                          : Counter(encoding, characters_)),
      added_(surroundings()) {
    const bool has_media = !prompt.images.empty() || prompt.audio.expected > 0 ||
                           prompt.file_bytes > 0 || prompt.remote_media > 0;
    const bool framed_inexactly = prompt.messages > 0 && !model.frame.exact;
    estimated_ = !model.text.exact || framed_inexactly || has_media || prompt.has_tool_calls;
}

int64_t PromptCount::surroundings() const noexcept {
    int64_t tokens = prompt_.token_ids + prompt_.file_bytes / kFileBytesPerToken;
    tokens += (prompt_.audio.expected * model_.audio_per_second + 999) / 1000;
    if (prompt_.messages > 0) {
        const FrameRule& frame = model_.frame;
        tokens += prompt_.messages * frame.per_message + prompt_.names * frame.per_name +
                  prompt_.implied_roles + frame.per_prompt;
    }
    return tokens;
}

bool PromptCount::advance(uint64_t work) {
    const uint64_t end = encoding_.work() + spent_ + work;
    while (in_item_ || item_ < items()) {
        if (encoding_.work() + spent_ >= end) {
            return false;
        }
        if (!in_item_) {
            begin_item();
        }
        read_slice();
        if (rest_.empty()) {
            end_item();
        }
    }
    return true;
}

int64_t PromptCount::tokens() const noexcept {
    // No vocabulary makes more tokens than bytes.
    const int64_t text = text_tokens(model_.text, counter_.tokens(), characters_);
    return added_ + std::min(text, static_cast<int64_t>(fed_));
}

int64_t PromptCount::most() const noexcept {
    if (!is_estimate()) {
        return tokens();
    }
    const int64_t hidden = prompt_.messages > 0 ? model_.frame.most_hidden : 0;
    const int64_t escapes = prompt_.has_tool_calls
                                ? (characters_.two + characters_.three) * kEscape +
                                      characters_.four * kEscapedPair
                                : 0;
    const auto growth = static_cast<int64_t>(fed_ - exact_bytes_) * (counter_.most_per_byte() - 1);
    const int64_t less = static_cast<int64_t>(exact_bytes_) - exact_tokens_;
    const int64_t bound = prompt_token_bound(prompt_) - less + growth + escapes;
    return std::max(tokens(), bound) + hidden;
}

void PromptCount::begin_item() {
    size_t i = item_++;
    in_item_ = true;
    spent_ += kWorkPerItem;
    if (i < prompt_.text.size()) {
        const Span& span = prompt_.text[i];
        rest_ = body_.substr(span.begin, span.size());
        form_ = TextForm::json;
        return;
    }
    i -= prompt_.text.size();
    if (i < prompt_.structures.size()) {
        rest_ = begin_structure(prompt_.structures[i]);
        form_ = TextForm::plain;
        return;
    }
    added_ += image_tokens(model_.image, prompt_.images[i - prompt_.structures.size()]);
}

void PromptCount::end_item() noexcept {
    counter_.finish();
    in_item_ = false;
    // What is shown in escapes is not what was counted.
    if (model_.text.exact && !prompt_.has_tool_calls && counter_.is_exact() &&
        item_ <= prompt_.text.size()) {
        exact_bytes_ = fed_;
        exact_tokens_ = counter_.tokens();
    }
}

// Returns what of it is to be counted as text: all, if no rule fits.
std::string_view PromptCount::begin_structure(const Structure& structure) {
    const std::string_view json = body_.substr(structure.value.begin, structure.value.size());
    std::optional<int64_t> tokens;
    switch (structure.rule) {
        case Structure::Rule::tool:
            added_ += std::exchange(has_tools_, true) ? 0 : model_.tools.once;
            tokens = tool_tokens(json, model_.tools.per_function, encoding_);
            break;
        case Structure::Rule::tool_choice:
            tokens = tool_choice_tokens(json, encoding_);
            break;
        case Structure::Rule::format: {
            const std::string_view schema = json.size() > kMaxToolBytes ? json : schema_in(json);
            estimated_ = estimated_ || !schema.empty();
            return schema;
        }
        case Structure::Rule::json:
            break;
    }
    estimated_ = true;
    added_ += tokens.value_or(0);
    if (json.size() <= kMaxToolBytes) {
        spent_ += kWorkPerTool + json.size() * kWorkPerToolByte;
    }
    return tokens ? std::string_view() : json;
}

void PromptCount::read_slice() {
    if (fed_ >= kMaxBytes) {
        added_ += static_cast<int64_t>(rest_.size());
        estimated_ = estimated_ || !rest_.empty();
        rest_ = {};
        return;
    }
    const std::string_view slice = rest_.substr(0, kSliceBytes);
    counter_.feed(slice, form_);
    rest_.remove_prefix(slice.size());
    fed_ += slice.size();
    spent_ += slice.size();
}

}  // namespace llm::tokenizer
