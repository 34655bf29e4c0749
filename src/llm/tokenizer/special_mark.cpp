#include "llm/tokenizer/special_mark.hpp"

#include <algorithm>
#include <cstddef>

#include "llm/tokenizer/ascii_window.hpp"

namespace llm::tokenizer {

void SpecialMarkCheck::feed(const uint8_t* p, const uint8_t* end) noexcept {
    for (; p < end && !found_; p += AsciiWindow::kBytes) {
        const AsciiWindow window(p);
        const auto bytes = std::min<ptrdiff_t>(end - p, AsciiWindow::kBytes);
        const uint32_t after_open = window.equals('<') << 1 | static_cast<uint32_t>(last_ == '<');
        found_ = (after_open & window.equals('|') & ((1u << bytes) - 1)) != 0;
        last_ = p[bytes - 1];
    }
}

}  // namespace llm::tokenizer
