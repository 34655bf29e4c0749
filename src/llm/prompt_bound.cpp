#include "llm/request_scan.hpp"

namespace llm {
namespace {

// What stands in no byte of the request, at most (see tokenizer/model_tokens.cpp for the sources).
constexpr int64_t kTokensPerMessage = 5;  // and its name
constexpr int64_t kTokensPerInput = 6;
// What a provider adds to present tools or a schema to the model, besides the raw JSON that is
// counted whole. The highest published is 530 (Anthropic, tool use with Claude 3 Opus); rounded up.
constexpr int64_t kTokensOfToolPrompt = 1024;
// The highest published: gpt-4o-mini in high detail, 2833 + 5667 for each of at most 8 tiles.
constexpr int64_t kTokensPerImage = 2833 + 8 * 5667;
// The highest published: Gemini.
constexpr int64_t kTokensPerSecondOfAudio = 32;

}  // namespace

int64_t prompt_token_bound(const PromptContent& prompt) noexcept {
    const int64_t tool_prompt = prompt.structures.empty() ? 0 : kTokensOfToolPrompt;
    const int64_t images = static_cast<int64_t>(prompt.images.size()) * kTokensPerImage;
    const int64_t audio = (prompt.audio.at_most * kTokensPerSecondOfAudio + 999) / 1000;
    return prompt.text_bytes + prompt.other_bytes + prompt.token_ids +
           prompt.messages * kTokensPerMessage + prompt.implied_roles +
           prompt.inputs * kTokensPerInput + images + audio + prompt.file_bytes + tool_prompt;
}

}  // namespace llm
