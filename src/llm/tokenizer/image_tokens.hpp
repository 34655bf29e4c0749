#pragma once

#include <cstdint>

#include "llm/request_scan.hpp"

namespace llm::tokenizer {

// What an image adds to a prompt, by family: OpenAI's "Images and vision" (tiles and patches),
// Anthropic's "Vision", Google's "Understand and count tokens" and "Media resolution".
enum class ImageRule : uint8_t {
    // A base, and so much for each tile of 512 px.
    tiles_85_170,     // gpt-4o, gpt-4.1, gpt-4.5, and who is not known
    tiles_70_140,     // gpt-5, gpt-5.1
    tiles_75_150,     // o1, o3
    tiles_65_129,     // computer-use-preview
    tiles_2833_5667,  // gpt-4o-mini
    // Patches of 32 px, 1536 at most, times so many hundredths.
    patches_120,  // gpt-5.2, gpt-5.3: as measured by users (OpenAI's forum); not documented
    patches_162,  // gpt-4.1-mini, gpt-5-mini, gpt-5.4-mini
    patches_172,  // o4-mini
    patches_246,  // gpt-4.1-nano, gpt-5-nano, gpt-5.4-nano
    // More patches, times 1.2.
    large_patches,      // gpt-5.4: 2500, or 10 000 if the detail is "original"
    original_patches,   // gpt-5.5: the same, but "auto" is "original"
    unresized_patches,  // gpt-5.6 and later: the same, but "original" is up to 30 000
    // Patches of 28 px.
    claude,      // to Claude 4.6: at most 1568, sides of 1568 px
    new_claude,  // from Claude 4.7: at most 4784, sides of 2576 px
    tiles_258,   // Gemini 1 and 2: 258 for each tile of 768 px
    gemini,      // since Gemini 3: 1120
};

// An image of unknown size is taken for the largest that the model does not shrink.
int64_t image_tokens(ImageRule rule, const PromptImage& image) noexcept;

}  // namespace llm::tokenizer
