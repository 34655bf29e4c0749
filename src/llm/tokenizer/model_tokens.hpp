#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/tokenizer/image_tokens.hpp"

namespace llm::tokenizer {

// qwen2: as transformers and llama.cpp call it; of all Qwen models from 1 to 3.
enum class EncodingName : uint8_t { o200k_base, cl100k_base, qwen2 };
inline constexpr size_t kEncodingCount = 3;

// For Vocabulary::open and for people.
std::string_view name_of(EncodingName encoding) noexcept;

// Characters by the length of their UTF-8.
struct CharacterCounts {
    int64_t two = 0;    // Latin with accents, Greek, Cyrillic, Hebrew, Arabic …
    int64_t three = 0;  // the rest of the Basic Multilingual Plane: Indic, Thai, Chinese, Korean …
    int64_t four = 0;   // emoji and rare scripts
};

// How the text of a model's prompt becomes a number of tokens: counted with `encoding`, which is
// the model's own if `exact`. Other vocabularies are estimated from that count and the characters,
// which they split otherwise in each script; fitted to the families' published vocabularies on
// samples of 600 and 2000 characters of English, code, JSON, emoji, Chinese and 35 other languages.
struct TextRule {
    EncodingName encoding = EncodingName::o200k_base;
    bool exact = false;
    double per_token = 1;
    double per_two = 0;
    double per_three = 0;
    double per_four = 0;
    // Of the estimate, in percent: the mean over the samples, and what 95 of 100 stay below. Text
    // of one common language is better than the mean, code and Indic scripts are worse. 0: exact,
    // or not measured.
    double mean_error = 0;
    double p95_error = 0;

    bool operator==(const TextRule&) const = default;
};

// What surrounds messages. The tokens of the role and the name are counted with the text.
struct FrameRule {
    int64_t per_message = 3;
    int64_t per_name = 1;
    int64_t per_prompt = 3;   // primes the answer
    bool exact = false;       // agrees with all published examples
    int64_t most_hidden = 0;  // that a chat template may add of its own, beyond these

    bool operator==(const FrameRule&) const = default;
};

// What tools add besides their text (see tool_tokens.hpp).
struct ToolRule {
    int64_t once = 12;  // if there are any
    int64_t per_function = 7;

    bool operator==(const ToolRule&) const = default;
};

struct ModelTokens {
    TextRule text;
    FrameRule frame;
    ImageRule image = ImageRule::tiles_85_170;
    ToolRule tools;
    // The most that is documented (Google, "Understand and count tokens"), for who is not known.
    int64_t audio_per_second = 32;

    bool operator==(const ModelTokens&) const = default;
};

// By family, from a model's name as users and providers write it: "gpt-4o-2024-11-20",
// "openai/gpt-4.1", "ft:gpt-4o-mini:…", "us.anthropic.claude-sonnet-4-5",
// "meta-llama/Llama-3.1-8B". Of an unknown name: o200k_base, not exact.
ModelTokens model_tokens(std::string_view model) noexcept;

// The estimate of a family (or the count itself, if exact).
int64_t text_tokens(const TextRule& rule, int64_t counted,
                    const CharacterCounts& characters) noexcept;

}  // namespace llm::tokenizer
