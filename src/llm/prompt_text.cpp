#include "llm/prompt_text.hpp"

#include <algorithm>
#include <utility>

namespace llm {
namespace scan {
namespace {

bool is_counted_input(Endpoint endpoint, Field field) {
    return (endpoint == Endpoint::completions && field == Field::prompt) ||
           (endpoint == Endpoint::embeddings && field == Field::input);
}

}  // namespace

PromptText::PromptText(Endpoint endpoint, ScannedRequest& out) : endpoint_(endpoint), out_(out) {
    out_.text.reserve(16);
}

void PromptText::on_key(std::string_view key, int depth) {
    const bool in_image = image_.depth != 0 && depth == image_.depth + 1;
    key_ = PartKey::none;
    if (key == "image_url") {
        key_ = PartKey::image_url;
    } else if (key == "source") {
        key_ = PartKey::source;
    } else if (in_image && key == "type") {
        key_ = PartKey::source_type;
    } else if (in_image && key == "media_type") {
        key_ = PartKey::media_type;
    }
}

void PromptText::on_value(Field field, const Value& value, int depth) {
    const PartKey key = std::exchange(key_, PartKey::none);
    if (depth == 2) {
        count_element(field, value.kind);
    }
    if (opens_image(key, value, depth)) {
        return;
    }
    if (value.kind == Kind::string) {
        judge_source(key, value.text);
        if (value.raw.size() > 2) {
            out_.text.push_back({value.raw.begin + 1, value.raw.end - 1});
        }
    } else if (is_number(value.kind) && (field == Field::prompt || field == Field::input)) {
        ++out_.token_ids;
    }
}

// Depth 2 holds the elements of the array that a top-level member is.
void PromptText::count_element(Field field, Kind kind) {
    if (field == Field::messages) {
        ++out_.messages;
    } else if (is_counted_input(endpoint_, field)) {
        has_token_ids_ = has_token_ids_ || is_number(kind);
        elements_ += is_number(kind) ? 0 : 1;
    }
}

bool PromptText::opens_image(PartKey key, const Value& value, int depth) {
    if (image_.depth != 0 || (key != PartKey::image_url && key != PartKey::source)) {
        return false;
    }
    const bool is_image = key == PartKey::image_url;
    if (value.kind == Kind::object) {
        image_ = {depth, out_.text.size(), is_image, false};
        return true;
    }
    if (value.kind == Kind::string && is_image) {
        ++out_.images;
        return true;
    }
    return false;
}

// A "source" may also be a document, and its data text:
// {"type":"text","media_type":"text/plain",…}.
void PromptText::judge_source(PartKey key, std::string_view text) {
    if (key == PartKey::source_type) {
        image_.holds_image = image_.holds_image || text == "url" || text == "file";
        image_.holds_text = image_.holds_text || text == "text" || text == "content";
    } else if (key == PartKey::media_type) {
        const bool image = text.starts_with("image/");
        image_.holds_image = image_.holds_image || image;
        image_.holds_text = image_.holds_text || !image;
    }
}

void PromptText::on_container_end(int depth) {
    if (image_.depth == 0 || depth != image_.depth) {
        return;
    }
    if (image_.holds_image && !image_.holds_text) {
        out_.text.resize(image_.text_mark);
        ++out_.images;
    }
    image_ = {};
}

void PromptText::finish() {
    out_.inputs = std::max<int64_t>(1, elements_ + (has_token_ids_ ? 1 : 0));
}

}  // namespace scan

namespace {

// The parts of prompt_token_bound() that stand in no byte of the request.
// OpenAI's cookbook ("How to count tokens with tiktoken"): 3 for each message, 1 more for its name.
constexpr int64_t kTokensPerMessage = 4;
// Ibid.: 3 that prime the answer. Covers the special tokens around a plain prompt or input too.
constexpr int64_t kTokensPerInput = 3;
// What a provider adds to present tools or a schema to the model, besides the raw JSON that is
// counted whole. The highest published is 530 (Anthropic, tool use with Claude 3 Opus); rounded up.
constexpr int64_t kTokensOfToolPrompt = 1024;
// The highest published: gpt-4o-mini in high detail, 2833 + 5667 for each of at most 8 tiles.
constexpr int64_t kTokensPerImage = 2833 + 8 * 5667;

}  // namespace

int64_t prompt_token_bound(const ScannedRequest& request) noexcept {
    size_t bytes = 0;
    for (const Span& span : request.text) {
        bytes += span.size();
    }
    for (const Span& span : request.structures) {
        bytes += span.size();
    }
    const int64_t tool_prompt = request.structures.empty() ? 0 : kTokensOfToolPrompt;
    return static_cast<int64_t>(bytes) + request.token_ids + request.messages * kTokensPerMessage +
           request.inputs * kTokensPerInput + request.images * kTokensPerImage + tool_prompt;
}

}  // namespace llm
