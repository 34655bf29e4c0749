#include "llm/tokenizer/model_tokens.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace llm::tokenizer {
namespace {

constexpr TextRule kO200k = {EncodingName::o200k_base, true, 1, 0, 0, 0, 0, 0};
constexpr TextRule kCl100k = {EncodingName::cl100k_base, true, 1, 0, 0, 0, 0, 0};
constexpr TextRule kUnknown = {EncodingName::o200k_base, false, 1, 0, 0, 0, 0, 0};
// Fitted to the vocabulary of Claude 2, the last one published.
constexpr TextRule kClaude = {
    EncodingName::cl100k_base, false, 1.127, 0.195, -0.215, -0.5, 7.6, 22.6};
// "Approximately 30 percent more tokens" (Anthropic, "Token counting") since Opus 4.7 and Sonnet 5.
constexpr TextRule kNewClaude = {
    EncodingName::cl100k_base, false, 1.465, 0.254, -0.28, -0.65, 0, 0};
constexpr TextRule kLlama = {
    EncodingName::cl100k_base, false, 1.002, -0.313, -0.327, -0.14, 4.2, 15.7};
constexpr TextRule kQwen = {EncodingName::qwen2, true, 1, 0, 0, 0, 0, 0};
// Since Qwen 3.5 there is a larger vocabulary (248,000 tokens), which makes rather fewer.
constexpr TextRule kLikeQwen = {EncodingName::qwen2, false, 1, 0, 0, 0, 0, 0};
constexpr TextRule kGemma = {
    EncodingName::o200k_base, false, 1.092, -0.051, -0.224, -1.124, 8.9, 25.2};
constexpr TextRule kMistral = {
    EncodingName::o200k_base, false, 1.091, -0.015, 0.106, 1.623, 6.7, 25.2};
constexpr TextRule kDeepSeek = {
    EncodingName::o200k_base, false, 1.058, 0.163, -0.042, -0.24, 10.0, 27.4};

// OpenAI's cookbook, "How to count tokens with tiktoken": agrees with the API for gpt-3.5 to
// gpt-4o.
constexpr FrameRule kOpenAi = {3, 1, 3, true};
constexpr FrameRule kLikeOpenAi = {3, 1, 3, false};
constexpr FrameRule kGpt5 = {4, 1, 5, false};       // ai-tokenizer, fitted to the API
constexpr FrameRule kAnthropic = {2, 0, 6, false};  // the same
constexpr FrameRule kTemplate = {4, 1, 4, false};   // two marks, the role, line breaks
// The chat template of Qwen 3: "<|im_start|>", the role, a line break, the text, "<|im_end|>", a
// line break. Qwen 2.5 adds a system message of its own where there is none, of 21 tokens; Qwen 3
// asked not to think "<think>" and "</think>", 4.
constexpr FrameRule kChatMl = {4, 0, 3, false, 32};

// OpenAI, "Managing costs" (Realtime): a token for each 100 ms of a user's audio.
constexpr int64_t kOpenAiAudioPerSecond = 10;

struct Family {
    std::string_view word;
    ModelTokens tokens;
};

constexpr ToolRule kOpenAiTools = {12, 7};
constexpr ToolRule kOlderOpenAiTools = {12, 10};  // gpt-4, gpt-3.5
constexpr ToolRule kAnthropicTools = {346, 7};    // Anthropic, "Tool use": its system prompt

// OpenAI's names begin with the word; the first that fits counts.
constexpr Family kOpenAiFamilies[] = {
    {"gpt-4o-mini", {kO200k, kOpenAi, ImageRule::tiles_2833_5667, kOpenAiTools}},
    {"gpt-4o", {kO200k, kOpenAi, ImageRule::tiles_85_170, kOpenAiTools}},
    {"chatgpt-4o", {kO200k, kOpenAi, ImageRule::tiles_85_170, kOpenAiTools}},
    {"gpt-4.1-mini", {kO200k, kLikeOpenAi, ImageRule::patches_162, kOpenAiTools}},
    {"gpt-4.1-nano", {kO200k, kLikeOpenAi, ImageRule::patches_246, kOpenAiTools}},
    {"gpt-4.1", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, kOpenAiTools}},
    {"gpt-4.5", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, kOpenAiTools}},
    {"gpt-4", {kCl100k, kOpenAi, ImageRule::tiles_85_170, kOlderOpenAiTools}},
    {"gpt-3.5", {kCl100k, kOpenAi, ImageRule::tiles_85_170, kOlderOpenAiTools}},
    {"gpt-35", {kCl100k, kOpenAi, ImageRule::tiles_85_170, kOlderOpenAiTools}},
    {"gpt-5-mini", {kO200k, kGpt5, ImageRule::patches_162, kOpenAiTools}},
    {"gpt-5-nano", {kO200k, kGpt5, ImageRule::patches_246, kOpenAiTools}},
    {"gpt-5-codex-mini", {kO200k, kGpt5, ImageRule::patches_162, kOpenAiTools}},
    {"gpt-5.1-codex-mini", {kO200k, kGpt5, ImageRule::patches_162, kOpenAiTools}},
    {"gpt-5.1", {kO200k, kGpt5, ImageRule::tiles_70_140, kOpenAiTools}},
    {"gpt-5.2", {kO200k, kGpt5, ImageRule::patches_120, kOpenAiTools}},
    {"gpt-5.3", {kO200k, kGpt5, ImageRule::patches_120, kOpenAiTools}},
    {"gpt-5.4-mini", {kO200k, kGpt5, ImageRule::patches_162, kOpenAiTools}},
    {"gpt-5.4-nano", {kO200k, kGpt5, ImageRule::patches_246, kOpenAiTools}},
    {"gpt-5.4", {kO200k, kGpt5, ImageRule::large_patches, kOpenAiTools}},
    {"gpt-5.5", {kO200k, kGpt5, ImageRule::original_patches, kOpenAiTools}},
    {"gpt-5.", {kO200k, kGpt5, ImageRule::unresized_patches, kOpenAiTools}},
    {"gpt-5", {kO200k, kGpt5, ImageRule::tiles_70_140, kOpenAiTools}},
    {"gpt-6", {kUnknown, kGpt5, ImageRule::unresized_patches, kOpenAiTools}},
    {"gpt-oss", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, kOpenAiTools}},
    {"gpt-audio", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, kOpenAiTools}},
    {"computer-use", {kO200k, kLikeOpenAi, ImageRule::tiles_65_129, kOpenAiTools}},
    {"o4-mini", {kO200k, kLikeOpenAi, ImageRule::patches_172, kOpenAiTools}},
    {"o1", {kO200k, kLikeOpenAi, ImageRule::tiles_75_150, kOpenAiTools}},
    {"o3", {kO200k, kLikeOpenAi, ImageRule::tiles_75_150, kOpenAiTools}},
    {"text-embedding-", {kCl100k, kOpenAi, ImageRule::tiles_85_170, kOlderOpenAiTools}},
    {"davinci-002", {kCl100k, kOpenAi, ImageRule::tiles_85_170, kOlderOpenAiTools}},
    {"babbage-002", {kCl100k, kOpenAi, ImageRule::tiles_85_170, kOlderOpenAiTools}},
};

// Other names hold the word somewhere; the first that fits counts.
constexpr Family kOtherFamilies[] = {
    {"claude", {kClaude, kAnthropic, ImageRule::claude, kAnthropicTools}},
    {"gemini-1", {kGemma, kTemplate, ImageRule::tiles_258, kOpenAiTools}},
    {"gemini-2", {kGemma, kTemplate, ImageRule::tiles_258, kOpenAiTools}},
    {"gemini", {kGemma, kTemplate, ImageRule::gemini, kOpenAiTools}},
    {"gemma", {kGemma, kTemplate, ImageRule::tiles_258, kOpenAiTools}},
    {"deepseek", {kDeepSeek, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"qwq", {kQwen, kChatMl, ImageRule::tiles_85_170, kOpenAiTools}},
    {"qvq", {kQwen, kChatMl, ImageRule::tiles_85_170, kOpenAiTools}},
    {"qwen", {kLikeQwen, kChatMl, ImageRule::tiles_85_170, kOpenAiTools}},
    {"llama", {kLlama, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"mistral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"mixtral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"ministral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"magistral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"codestral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"devstral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
    {"pixtral", {kMistral, kTemplate, ImageRule::tiles_85_170, kOpenAiTools}},
};

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

bool same(char a, char b) noexcept {
    return lower(a) == b;
}

bool begins_with(std::string_view name, std::string_view word) noexcept {
    return name.size() >= word.size() && std::equal(word.begin(), word.end(), name.begin(),
                                                    [](char a, char b) { return same(b, a); });
}

bool holds(std::string_view name, std::string_view word) noexcept {
    return std::search(name.begin(), name.end(), word.begin(), word.end(), same) != name.end();
}

// "claude-opus-4-7", "claude-sonnet-5", and whatever family of that generation.
bool is_new_claude(std::string_view name) noexcept {
    for (const std::string_view version : {"-4-7", "-4.7", "-4-8", "-4.8", "-4-9", "-4.9"}) {
        if (holds(name, version)) {
            return true;
        }
    }
    for (size_t at = name.find('-'); at != std::string_view::npos; at = name.find('-', at + 1)) {
        const std::string_view rest = name.substr(at + 1);
        const bool one_digit = !rest.empty() && rest[0] >= '5' && rest[0] <= '9' &&
                               (rest.size() == 1 || rest[1] == '-' || rest[1] == '.');
        if (one_digit) {
            const char before = at == 0 ? '-' : lower(name[at - 1]);
            return before >= 'a' && before <= 'z';  // the generation follows a name, not a number
        }
    }
    return false;
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// Takes the number that the text begins with.
std::string_view take_number(std::string_view& text) noexcept {
    const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
    const std::string_view number = text.substr(0, static_cast<size_t>(end - text.begin()));
    text.remove_prefix(number.size());
    return number;
}

// Takes one of these characters, if the text begins with it.
bool take_one(std::string_view& text, std::string_view characters) noexcept {
    const bool begins = !text.empty() && characters.find(text[0]) != std::string_view::npos;
    text.remove_prefix(begins ? 1 : 0);
    return begins;
}

// Of the generations 1 to 3, which have one vocabulary: "Qwen3-32B", "qwen-2.5-coder",
// "qwen2p5-vl"; the first one says its size only, "qwen-7b", "qwen-1_8b". Not "qwen3.5", nor
// "qwen-max", which is whatever Alibaba serves by that name at the time.
bool has_qwen_vocabulary(std::string_view name) noexcept {
    // CodeQwen has a vocabulary of its own, models of embeddings add a token to each input.
    if (holds(name, "codeqwen") || holds(name, "embed") || begins_with(name, "gte-")) {
        return false;
    }
    constexpr std::string_view kWord = "qwen";
    const auto word = std::find_end(name.begin(), name.end(), kWord.begin(), kWord.end(), same);
    std::string_view rest = name.substr(static_cast<size_t>(word - name.begin()));
    rest.remove_prefix(std::min(rest.size(), kWord.size()));
    take_one(rest, "-:");
    const std::string_view major = take_number(rest);
    if (major.empty()) {
        return false;
    }
    const bool has_minor = take_one(rest, "._p") && !take_number(rest).empty();
    const bool is_size = take_one(rest, "bB");
    return is_size || major == "1" || major == "2" || (major == "3" && !has_minor);
}

}  // namespace

std::string_view name_of(EncodingName encoding) noexcept {
    constexpr std::string_view kNames[kEncodingCount] = {"o200k_base", "cl100k_base", "qwen2"};
    return kNames[static_cast<size_t>(encoding)];
}

ModelTokens model_tokens(std::string_view model) noexcept {
    std::string_view name = model.substr(model.rfind('/') + 1);
    if (begins_with(name, "ft:")) {
        name.remove_prefix(3);
    }
    for (const Family& family : kOpenAiFamilies) {
        if (begins_with(name, family.word)) {
            ModelTokens tokens = family.tokens;
            tokens.audio_per_second = kOpenAiAudioPerSecond;
            return tokens;
        }
    }
    for (const Family& family : kOtherFamilies) {
        if (holds(model, family.word)) {
            ModelTokens tokens = family.tokens;
            if (family.tokens.image == ImageRule::claude && is_new_claude(name)) {
                tokens.text = kNewClaude;
                tokens.image = ImageRule::new_claude;
            }
            if (tokens.text == kLikeQwen && has_qwen_vocabulary(name)) {
                tokens.text = kQwen;
            }
            return tokens;
        }
    }
    return {kUnknown, kLikeOpenAi, ImageRule::tiles_85_170, kOpenAiTools};
}

int64_t text_tokens(const TextRule& rule, int64_t counted,
                    const CharacterCounts& characters) noexcept {
    if (rule.exact) {
        return counted;
    }
    const double estimate = rule.per_token * static_cast<double>(counted) +
                            rule.per_two * static_cast<double>(characters.two) +
                            rule.per_three * static_cast<double>(characters.three) +
                            rule.per_four * static_cast<double>(characters.four);
    // A correction may not make much text of one kind cost nothing.
    return static_cast<int64_t>(std::ceil(std::max(estimate, 0.25 * static_cast<double>(counted))));
}

}  // namespace llm::tokenizer
