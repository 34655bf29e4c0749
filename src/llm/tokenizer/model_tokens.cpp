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
constexpr TextRule kQwen = {
    EncodingName::cl100k_base, false, 1.009, -0.265, -0.439, -1.13, 4.8, 16.1};
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

struct Family {
    std::string_view word;
    ModelTokens tokens;
};

// OpenAI's names begin with the word; the first that fits counts.
constexpr Family kOpenAiFamilies[] = {
    {"gpt-4o-mini", {kO200k, kOpenAi, ImageRule::tiles_2833_5667, 7}},
    {"gpt-4o", {kO200k, kOpenAi, ImageRule::tiles_85_170, 7}},
    {"chatgpt-4o", {kO200k, kOpenAi, ImageRule::tiles_85_170, 7}},
    {"gpt-4.1-mini", {kO200k, kLikeOpenAi, ImageRule::patches_162, 7}},
    {"gpt-4.1-nano", {kO200k, kLikeOpenAi, ImageRule::patches_246, 7}},
    {"gpt-4.1", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, 7}},
    {"gpt-4.5", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, 7}},
    {"gpt-4", {kCl100k, kOpenAi, ImageRule::tiles_85_170, 10}},
    {"gpt-3.5", {kCl100k, kOpenAi, ImageRule::tiles_85_170, 10}},
    {"gpt-35", {kCl100k, kOpenAi, ImageRule::tiles_85_170, 10}},
    {"gpt-5-mini", {kO200k, kGpt5, ImageRule::patches_162, 7}},
    {"gpt-5-nano", {kO200k, kGpt5, ImageRule::patches_246, 7}},
    {"gpt-5", {kO200k, kGpt5, ImageRule::tiles_70_140, 7}},
    {"gpt-oss", {kO200k, kLikeOpenAi, ImageRule::tiles_85_170, 7}},
    {"o4-mini", {kO200k, kLikeOpenAi, ImageRule::patches_172, 7}},
    {"o1", {kO200k, kLikeOpenAi, ImageRule::tiles_75_150, 7}},
    {"o3", {kO200k, kLikeOpenAi, ImageRule::tiles_75_150, 7}},
    {"text-embedding-", {kCl100k, kOpenAi, ImageRule::tiles_85_170, 10}},
    {"davinci-002", {kCl100k, kOpenAi, ImageRule::tiles_85_170, 10}},
    {"babbage-002", {kCl100k, kOpenAi, ImageRule::tiles_85_170, 10}},
};

// Other names hold the word somewhere.
constexpr Family kOtherFamilies[] = {
    {"claude", {kClaude, kAnthropic, ImageRule::area_750, 7}},
    {"gemini", {kGemma, kTemplate, ImageRule::tiles_258, 7}},
    {"gemma", {kGemma, kTemplate, ImageRule::tiles_258, 7}},
    {"deepseek", {kDeepSeek, kTemplate, ImageRule::tiles_85_170, 7}},
    {"qwen", {kQwen, kTemplate, ImageRule::tiles_85_170, 7}},
    {"qwq", {kQwen, kTemplate, ImageRule::tiles_85_170, 7}},
    {"llama", {kLlama, kTemplate, ImageRule::tiles_85_170, 7}},
    {"mistral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
    {"mixtral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
    {"ministral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
    {"magistral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
    {"codestral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
    {"devstral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
    {"pixtral", {kMistral, kTemplate, ImageRule::tiles_85_170, 7}},
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
    if (holds(name, "opus-4-7") || holds(name, "opus-4.7") || holds(name, "opus-4-8") ||
        holds(name, "opus-4.8")) {
        return true;
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

int64_t divide_up(int64_t a, int64_t b) noexcept {
    return (a + b - 1) / b;
}

struct Size {
    double width;
    double height;

    void fit(double longest) noexcept { scale(longest / std::max(width, height)); }
    void fit_short_side(double shortest) noexcept { scale(shortest / std::min(width, height)); }
    int64_t tiles(double side) const noexcept {
        return static_cast<int64_t>(std::ceil(width / side) * std::ceil(height / side));
    }

  private:
    void scale(double factor) noexcept {
        if (factor < 1) {
            width *= factor;
            height *= factor;
        }
    }
};

// Fit into 2048 × 2048, then the short side into 768: at most 2 × 4 tiles.
int64_t openai_tiles(int64_t base, int64_t per_tile, bool low, Size size) noexcept {
    if (low) {
        return base;
    }
    size.fit(2048);
    size.fit_short_side(768);
    return base + per_tile * size.tiles(512);
}

int64_t openai_patches(int64_t percent, Size size) noexcept {
    constexpr int64_t kMostPatches = 1536;
    return divide_up(std::min(size.tiles(32), kMostPatches) * percent, 100);
}

int64_t claude_area(Size size) noexcept {
    constexpr double kMostTokens = 1600;
    size.fit(1568);
    return static_cast<int64_t>(std::ceil(std::min(size.width * size.height / 750, kMostTokens)));
}

int64_t gemini_tiles(Size size) noexcept {
    return std::max(size.width, size.height) <= 384 ? 258 : 258 * size.tiles(768);
}

}  // namespace

std::string_view name_of(EncodingName encoding) noexcept {
    return encoding == EncodingName::o200k_base ? "o200k_base" : "cl100k_base";
}

ModelTokens model_tokens(std::string_view model) noexcept {
    std::string_view name = model.substr(model.rfind('/') + 1);
    if (begins_with(name, "ft:")) {
        name.remove_prefix(3);
    }
    for (const Family& family : kOpenAiFamilies) {
        if (begins_with(name, family.word)) {
            return family.tokens;
        }
    }
    for (const Family& family : kOtherFamilies) {
        if (holds(model, family.word)) {
            ModelTokens tokens = family.tokens;
            if (family.tokens.image == ImageRule::area_750 && is_new_claude(name)) {
                tokens.text = kNewClaude;
            }
            return tokens;
        }
    }
    return {kUnknown, kLikeOpenAi, ImageRule::tiles_85_170, 7};
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

int64_t image_tokens(ImageRule rule, bool low, int64_t width, int64_t height) noexcept {
    constexpr int64_t kMostPixels = 1'000'000;  // of a side; more is taken for that
    constexpr Size kLargest = {768, 2048};
    const bool known = width > 0 && height > 0;
    const Size size = known ? Size{static_cast<double>(std::min(width, kMostPixels)),
                                   static_cast<double>(std::min(height, kMostPixels))}
                            : kLargest;
    switch (rule) {
        case ImageRule::tiles_85_170:
            return openai_tiles(85, 170, low, size);
        case ImageRule::tiles_70_140:
            return openai_tiles(70, 140, low, size);
        case ImageRule::tiles_75_150:
            return openai_tiles(75, 150, low, size);
        case ImageRule::tiles_2833_5667:
            return openai_tiles(2833, 5667, low, size);
        case ImageRule::patches_162:
            return openai_patches(162, size);
        case ImageRule::patches_246:
            return openai_patches(246, size);
        case ImageRule::patches_172:
            return openai_patches(172, size);
        case ImageRule::area_750:
            return claude_area(known ? size : Size{1568, 1568});
        case ImageRule::tiles_258:
            return gemini_tiles(size);
    }
    return 0;
}

}  // namespace llm::tokenizer
