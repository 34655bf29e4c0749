#include "module/prompt.hpp"

#include <algorithm>

#include "module/worker.hpp"

namespace module {

namespace {

// As much work as so many bytes of plain text: 0.1 to 0.3 ms.
constexpr uint64_t kSlice = 25'000;

}  // namespace

bool PromptCounting::advance() {
    if (!count_) {
        const llm::tokenizer::ModelTokens& rules = order_[next_]->tokens;
        count_.emplace(Worker::current().encoding(rules.text.encoding), rules, body_, prompt_);
    }
    const bool counted = count_->advance(kSlice);
    if (!counted && !count_->exceeds(limit_)) {
        return false;
    }
    note_count(counted);
    if (!counted) {
        return true;
    }
    count_.reset();
    do {
        ++next_;
    } while (next_ < order_.size() && has_counted_like(next_));
    return next_ == order_.size();
}

bool PromptCounting::has_counted_like(size_t i) const noexcept {
    return std::any_of(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(i),
                       [&](const llm::Deployment* earlier) {
                           return earlier->tokens == order_[i]->tokens;
                       });
}

void PromptCounting::note_count(bool is_whole) noexcept {
    const int64_t most = is_whole ? count_->most() : llm::prompt_token_bound(prompt_);
    size_.most = std::max(size_.most, most);
    if (count_->tokens() > size_.tokens) {
        size_.tokens = count_->tokens();
        size_.estimated = count_->is_estimate();
    }
}

}  // namespace module
