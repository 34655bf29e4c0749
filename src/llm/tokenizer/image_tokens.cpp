#include "llm/tokenizer/image_tokens.hpp"

#include <algorithm>
#include <cmath>

namespace llm::tokenizer {
namespace {

using Detail = PromptImage::Detail;

class Size {
  public:
    Size(double width, double height) : width_(width), height_(height) {}

    bool is_known() const noexcept { return width_ > 0 && height_ > 0; }
    double longest() const noexcept { return std::max(width_, height_); }

    void fit(double longest_side) noexcept { shrink(longest_side / longest()); }
    void fit_short_side(double side) noexcept { shrink(side / std::min(width_, height_)); }

    // Until so many squares cover it: by OpenAI's formula, which leaves no square half used.
    void fit_squares(double side, double most) noexcept {
        if (squares(side) <= most) {
            return;
        }
        const double factor = std::sqrt(side * side * most / (width_ * height_));
        const double wide = width_ * factor / side;
        const double high = height_ * factor / side;
        shrink(factor * std::min(std::floor(wide) / wide, std::floor(high) / high));
        width_ = std::max(1.0, std::floor(width_));
        height_ = std::max(1.0, std::floor(height_));
    }

    double squares(double side) const noexcept {
        return std::ceil(width_ / side) * std::ceil(height_ / side);
    }

  private:
    void shrink(double factor) noexcept {
        if (factor < 1) {
            width_ *= factor;
            height_ *= factor;
        }
    }

    double width_;
    double height_;
};

int64_t whole(double tokens) noexcept {
    return static_cast<int64_t>(std::ceil(tokens));
}

// Fit into 2048 × 2048, then the short side into 768.
int64_t tiles(double base, double per_tile, Detail detail, Size size) noexcept {
    constexpr double kMostTiles = 2 * 4;
    if (detail == Detail::low) {
        return whole(base);
    }
    if (!size.is_known()) {
        return whole(base + per_tile * kMostTiles);
    }
    size.fit(2048);
    size.fit_short_side(768);
    return whole(base + per_tile * size.squares(512));
}

struct PatchBudget {
    double patches;
    double longest_side;
};

int64_t patches(PatchBudget budget, double multiplier, Size size) noexcept {
    constexpr double kSide = 32;
    if (!size.is_known()) {
        return whole(budget.patches * multiplier);
    }
    size.fit(budget.longest_side);
    size.fit_squares(kSide, budget.patches);
    return whole(std::min(size.squares(kSide), budget.patches) * multiplier);
}

// How an image is shrunk into the budget is not published.
int64_t claude_patches(PatchBudget budget, Size size) noexcept {
    if (!size.is_known()) {
        return whole(budget.patches);
    }
    size.fit(budget.longest_side);
    return whole(std::min(size.squares(28), budget.patches));
}

constexpr PatchBudget kLow = {256, 512};
constexpr PatchBudget kSmall = {1536, 2048};
constexpr PatchBudget kHigh = {2500, 2048};
constexpr PatchBudget kOriginal = {10'000, 6000};
constexpr PatchBudget kUnresized = {30'000, 65'535};

int64_t small_patches(double multiplier, Size size) noexcept {
    return patches(kSmall, multiplier, size);
}

int64_t many_patches(PatchBudget automatic, PatchBudget original, Detail detail,
                     Size size) noexcept {
    constexpr double kMultiplier = 1.2;
    switch (detail) {
        case Detail::low:
            return patches(kLow, kMultiplier, size);
        case Detail::high:
            return patches(kHigh, kMultiplier, size);
        case Detail::original:
            return patches(original, kMultiplier, size);
        case Detail::automatic:
            return patches(automatic, kMultiplier, size);
    }
    return 0;
}

// Fit into 3072 × 3072, unless it is small.
int64_t gemini_tiles(Size size) noexcept {
    constexpr double kPerTile = 258;
    constexpr double kMostTiles = 4 * 4;
    if (!size.is_known()) {
        return whole(kPerTile * kMostTiles);
    }
    if (size.longest() <= 384) {
        return whole(kPerTile);
    }
    size.fit(3072);
    return whole(kPerTile * size.squares(768));
}

}  // namespace

int64_t image_tokens(ImageRule rule, const PromptImage& image) noexcept {
    const Size size(image.size.width, image.size.height);
    switch (rule) {
        case ImageRule::tiles_85_170:
            return tiles(85, 170, image.detail, size);
        case ImageRule::tiles_70_140:
            return tiles(70, 140, image.detail, size);
        case ImageRule::tiles_75_150:
            return tiles(75, 150, image.detail, size);
        case ImageRule::tiles_65_129:
            return tiles(65, 129, image.detail, size);
        case ImageRule::tiles_2833_5667:
            return tiles(2833, 5667, image.detail, size);
        case ImageRule::patches_120:
            return small_patches(1.2, size);
        case ImageRule::patches_162:
            return small_patches(1.62, size);
        case ImageRule::patches_172:
            return small_patches(1.72, size);
        case ImageRule::patches_246:
            return small_patches(2.46, size);
        case ImageRule::large_patches:
            return many_patches(kHigh, kOriginal, image.detail, size);
        case ImageRule::original_patches:
            return many_patches(kOriginal, kOriginal, image.detail, size);
        case ImageRule::unresized_patches:
            return many_patches(kUnresized, kUnresized, image.detail, size);
        case ImageRule::claude:
            return claude_patches({1568, 1568}, size);
        case ImageRule::new_claude:
            return claude_patches({4784, 2576}, size);
        case ImageRule::tiles_258:
            return gemini_tiles(size);
        case ImageRule::gemini:
            return 1120;
    }
    return 0;
}

}  // namespace llm::tokenizer
