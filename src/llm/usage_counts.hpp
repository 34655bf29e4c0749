#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "llm/response_node.hpp"
#include "llm/usage.hpp"

namespace llm {

// Gemini's modalities; a document is billed as text.
enum class Modality : uint8_t { text, audio, image, video };

Modality parse_modality(std::string_view name) noexcept;

// What a response says of its usage, number by number as it comes, and what that means. The pieces
// of a stream add to each other: a later number replaces an earlier one.
class UsageCounts {
  public:
    UsageCounts() noexcept { counts_.fill(kNone); }

    void set(ResponseNode count, int64_t value) noexcept { counts_[index(count)] = value; }
    // An item of one of Gemini's lists of modalities: lists of the same side add up.
    void add_modality(ResponseNode list, Modality modality, int64_t tokens) noexcept;
    // Before another usage object begins.
    void forget_modalities() noexcept;

    // Whether a prompt is told of, without which a usage means nothing.
    bool has_prompt() const noexcept;
    // In OpenAI's sense, whatever the dialect. Takes everything but tokens and searches over from
    // `other`.
    Usage usage(const Usage& other) const noexcept;

  private:
    static constexpr int64_t kNone = -1;
    static constexpr size_t kFirst = static_cast<size_t>(ResponseNode::prompt_tokens);
    static constexpr size_t kSize = static_cast<size_t>(ResponseNode::end) - kFirst;
    static constexpr size_t index(ResponseNode count) noexcept {
        return static_cast<size_t>(count) - kFirst;
    }

    bool has(ResponseNode count) const noexcept { return counts_[index(count)] != kNone; }
    int64_t get(ResponseNode count) const noexcept {
        return has(count) ? counts_[index(count)] : 0;
    }
    int64_t prompt_tokens() const noexcept;
    int64_t completion_tokens(int64_t prompt) const noexcept;
    void set_cache(Usage& usage) const noexcept;

    std::array<int64_t, kSize> counts_;
};

}  // namespace llm
