#include "llm/tokenizer/output_count.hpp"

namespace llm::tokenizer {

void OutputCount::add(std::string_view text, size_t unread_bytes) noexcept {
    counter_.feed(text);
    read_bytes_ += static_cast<int64_t>(text.size());
    unread_bytes_ += static_cast<int64_t>(unread_bytes);
    if (!is_one_text_ || unread_bytes > 0) {
        counter_.finish();
    }
}

int64_t OutputCount::tokens() const noexcept {
    const int64_t read = text_tokens(rule_, counter_.tokens(), characters_);
    if (unread_bytes_ == 0) {
        return read;
    }
    const double per_byte = static_cast<double>(read) / static_cast<double>(read_bytes_);
    return read + static_cast<int64_t>(per_byte * static_cast<double>(unread_bytes_) + 0.5);
}

}  // namespace llm::tokenizer
