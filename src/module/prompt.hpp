#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "llm/catalog.hpp"
#include "llm/request_scan.hpp"
#include "llm/tokenizer/prompt_count.hpp"

namespace module {

// What a prompt comes to, in tokens.
struct PromptSize {
    int64_t tokens = 0;  // the best count that there is
    int64_t most = 0;    // no provider counts more: what money is held for. Above `tokens` only of
                         // an estimate
    bool estimated = false;
};

// Counts a prompt by the rules of every deployment that may serve it, in slices.
class PromptCounting {
  public:
    // All must outlive it. Counting stops above `limit` tokens, when more need not be known.
    PromptCounting(std::string_view body, const llm::PromptContent& prompt,
                   const std::vector<const llm::Deployment*>& order, int64_t limit) noexcept
        : body_(body), prompt_(prompt), order_(order), limit_(limit) {}

    // One slice, well below a millisecond. Whether all is counted.
    bool advance();

    // Of the deployment that counts most.
    const PromptSize& size() const noexcept { return size_; }

  private:
    bool has_counted_like(size_t i) const noexcept;
    void note_count(bool is_whole) noexcept;

    const std::string_view body_;
    const llm::PromptContent& prompt_;
    const std::vector<const llm::Deployment*>& order_;
    const int64_t limit_;
    size_t next_ = 0;  // of order_
    std::optional<llm::tokenizer::PromptCount> count_;
    PromptSize size_;
};

}  // namespace module
