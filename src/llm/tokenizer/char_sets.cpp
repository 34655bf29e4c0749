#include "llm/tokenizer/char_sets.hpp"

#include <algorithm>
#include <bit>

namespace llm::tokenizer {

void CharMap::fill(const Kernels& kernels, const Vocabulary& vocabulary, Pattern pattern,
                   const uint8_t* text, size_t bytes) noexcept {
    const size_t stretches = (bytes + kStretch - 1) / kStretch;
    kernels.classify(text, stretches, sets_.data());
    sets_[stretches] = {};
    if (bytes % kStretch != 0) {
        sets_[stretches - 1].high &= (uint64_t{1} << bytes % kStretch) - 1;
    }
    uint64_t high = 0;
    for (size_t i = 0; i < stretches; ++i) {
        high |= sets_[i].high;
    }
    if (high != 0) {
        kernels.classify_high(vocabulary, pattern, text, stretches, sets_.data());
    }
}

size_t CharMap::next_cut(size_t offset, size_t end) const noexcept {
    for (size_t at = offset + 1; at < end; at = (at / kStretch + 1) * kStretch) {
        const uint64_t cuts = sets_[at / kStretch].cut >> at % kStretch;
        if (cuts != 0) {
            return std::min(end, at + static_cast<size_t>(std::countr_zero(cuts)));
        }
    }
    return end;
}

}  // namespace llm::tokenizer
