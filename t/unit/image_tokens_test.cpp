#include "llm/tokenizer/image_tokens.hpp"

#include <gtest/gtest.h>

#include "llm/tokenizer/model_tokens.hpp"

namespace llm::tokenizer {
namespace {

using Detail = PromptImage::Detail;

int64_t tokens(ImageRule rule, uint32_t width, uint32_t height, Detail detail = Detail::automatic) {
    return image_tokens(rule, {detail, {width, height}});
}

// The examples of OpenAI's "Images and vision".
TEST(ImageTokens, OpenAiExamples) {
    EXPECT_EQ(tokens(ImageRule::tiles_85_170, 4096, 8192, Detail::low), 85);
    EXPECT_EQ(tokens(ImageRule::tiles_85_170, 1024, 1024, Detail::high), 765);
    EXPECT_EQ(tokens(ImageRule::tiles_85_170, 2048, 4096), 1105);
    EXPECT_EQ(tokens(ImageRule::patches_162, 1024, 1024), 1659);  // 1024 patches
    EXPECT_EQ(tokens(ImageRule::patches_162, 1800, 2400), 2353);  // 1452 patches
    EXPECT_EQ(tokens(ImageRule::tiles_70_140, 512, 512), 210);
    EXPECT_EQ(tokens(ImageRule::tiles_75_150, 512, 512), 225);
    EXPECT_EQ(tokens(ImageRule::tiles_65_129, 512, 512), 194);
    EXPECT_EQ(tokens(ImageRule::tiles_2833_5667, 512, 512), 8500);
}

TEST(ImageTokens, DetailMattersSinceGpt54) {
    const auto all = [](ImageRule rule) {
        return std::vector<int64_t>{
            tokens(rule, 3200, 3200, Detail::low), tokens(rule, 3200, 3200, Detail::high),
            tokens(rule, 3200, 3200, Detail::original), tokens(rule, 3200, 3200)};
    };
    EXPECT_EQ(all(ImageRule::large_patches), (std::vector<int64_t>{308, 3000, 12'000, 3000}));
    EXPECT_EQ(all(ImageRule::original_patches), (std::vector<int64_t>{308, 3000, 12'000, 12'000}));
    EXPECT_EQ(all(ImageRule::unresized_patches), (std::vector<int64_t>{308, 3000, 12'000, 12'000}));
    EXPECT_EQ(all(ImageRule::patches_120), (std::vector<int64_t>{1826, 1826, 1826, 1826}));
}

// The examples of Anthropic's "Vision".
TEST(ImageTokens, ClaudeCountsPatches) {
    EXPECT_EQ(tokens(ImageRule::claude, 200, 200), 64);
    EXPECT_EQ(tokens(ImageRule::claude, 1920, 1080), 1568);  // 1560: how it is shrunk is not told
    EXPECT_EQ(tokens(ImageRule::new_claude, 1920, 1080), 2691);
    EXPECT_EQ(tokens(ImageRule::new_claude, 3840, 2160), 4784);
}

TEST(ImageTokens, GeminiCountsTiles) {
    EXPECT_EQ(tokens(ImageRule::tiles_258, 384, 384), 258);
    EXPECT_EQ(tokens(ImageRule::tiles_258, 960, 540), 516);
    EXPECT_EQ(tokens(ImageRule::gemini, 384, 384), 1120);
}

TEST(ImageTokens, UnknownSizeIsTheMost) {
    EXPECT_EQ(tokens(ImageRule::tiles_85_170, 0, 0), 85 + 8 * 170);
    EXPECT_EQ(tokens(ImageRule::patches_162, 0, 0), 2489);
    EXPECT_EQ(tokens(ImageRule::large_patches, 0, 0), 3000);
    EXPECT_EQ(tokens(ImageRule::claude, 0, 0), 1568);
    EXPECT_EQ(tokens(ImageRule::tiles_258, 0, 0), 16 * 258);
}

// None exceeds the bound that prompt_token_bound() takes, nor its own unknown size.
TEST(ImageTokens, AreBounded) {
    for (int rule = 0; rule <= static_cast<int>(ImageRule::gemini); ++rule) {
        const auto r = static_cast<ImageRule>(rule);
        for (const Detail detail :
             {Detail::automatic, Detail::low, Detail::high, Detail::original}) {
            const int64_t most = image_tokens(r, {detail, {}});
            EXPECT_LE(most, 48'169);
            for (const uint32_t width : {1U, 33U, 768U, 2049U, 6001U, 100'000U, 4'294'967'295U}) {
                for (const uint32_t height : {1U, 500U, 1569U, 65'536U, 4'294'967'295U}) {
                    const int64_t some = tokens(r, width, height, detail);
                    EXPECT_GT(some, 0);
                    EXPECT_LE(some, most) << rule << ' ' << width << 'x' << height;
                }
            }
        }
    }
}

TEST(ImageTokens, ModelsHaveTheirRule) {
    const auto rule = [](const char* model) { return model_tokens(model).image; };
    EXPECT_EQ(rule("gpt-4o"), ImageRule::tiles_85_170);
    EXPECT_EQ(rule("gpt-4o-mini"), ImageRule::tiles_2833_5667);
    EXPECT_EQ(rule("gpt-4.1-mini"), ImageRule::patches_162);
    EXPECT_EQ(rule("gpt-5"), ImageRule::tiles_70_140);
    EXPECT_EQ(rule("gpt-5-nano"), ImageRule::patches_246);
    EXPECT_EQ(rule("gpt-5.2"), ImageRule::patches_120);
    EXPECT_EQ(rule("gpt-5.4-mini"), ImageRule::patches_162);
    EXPECT_EQ(rule("openai/gpt-5.4-2026-03-05"), ImageRule::large_patches);
    EXPECT_EQ(rule("gpt-5.5"), ImageRule::original_patches);
    EXPECT_EQ(rule("gpt-5.6-sol"), ImageRule::unresized_patches);
    EXPECT_EQ(rule("gpt-6"), ImageRule::unresized_patches);
    EXPECT_EQ(rule("claude-sonnet-4-5"), ImageRule::claude);
    EXPECT_EQ(rule("claude-opus-4-6"), ImageRule::claude);
    EXPECT_EQ(rule("us.anthropic.claude-opus-4-7"), ImageRule::new_claude);
    EXPECT_EQ(rule("claude-sonnet-5"), ImageRule::new_claude);
    EXPECT_EQ(rule("gemini-2.5-pro"), ImageRule::tiles_258);
    EXPECT_EQ(rule("gemini-3-pro"), ImageRule::gemini);
}

}  // namespace
}  // namespace llm::tokenizer
