#include "llm/tokenizer/normal_form.hpp"

#include <algorithm>
#include <bit>

#include "llm/tokenizer/ascii_window.hpp"

namespace llm::tokenizer {
namespace {

const uint8_t* skip_ascii(const uint8_t* p, const uint8_t* end) noexcept {
    uint32_t high = 0;
    while (p < end && (high = AsciiWindow(p).high()) == 0) {
        p += AsciiWindow::kBytes;
    }
    return std::min(p + (high == 0 ? 0 : std::countr_zero(high)), end);
}

}  // namespace

inline void NormalFormCheck::State::take(uint8_t normal_class) noexcept {
    const uint8_t order = normal_class & kOrderMask;
    const bool misplaced = order != 0 && order < last_order;
    // A starter composes with the one right before it, a mark also over other marks.
    const bool reaches_starter = order != 0 || last_order == 0;
    const bool may_compose =
        normal_class & kComposesBack && starter & kComposesNext && reaches_starter;
    doubts = order == kNeverNormal || misplaced || may_compose;
    starter = order == 0 ? normal_class : starter;
    last_order = order;
}

void NormalFormCheck::feed(const uint8_t* p, const uint8_t* end) noexcept {
    State state = state_;
    // With a branch for each length the processor reads on before it has decoded a character.
    const auto take = [&](size_t bytes) {
        state.take(vocabulary_->normal_class(p));
        p += bytes;
    };
    while (p < end && !state.doubts) {
        if (*p < 0x80) {
            // All are starters that compose with nothing before: only the last one matters.
            p = skip_ascii(p, end);
            state.take(vocabulary_->normal_class(p - 1));
        } else if (*p < 0xE0) {
            take(2);
        } else if (*p < 0xF0) {
            take(3);
        } else {
            take(4);
        }
    }
    state_ = state;
}

}  // namespace llm::tokenizer
