#include "llm/tokenizer/kernels.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "llm/tokenizer/ascii_window.hpp"
#include "llm/tokenizer/avx512.hpp"
#include "llm/tokenizer/char_sets.hpp"
#include "llm/tokenizer/memo.hpp"
#include "llm/tokenizer/merge.hpp"
#include "llm/tokenizer/piece_block.hpp"
#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {
namespace {

// A stretch, whose sets are four times those of a window.
class Windows {
  public:
    explicit Windows(const uint8_t* p) noexcept
        : windows_{AsciiWindow(p), AsciiWindow(p + 16), AsciiWindow(p + 32), AsciiWindow(p + 48)} {}

    template <class SetOf>
    uint64_t set(SetOf set_of) const noexcept {
        return uint64_t{set_of(windows_[0])} | uint64_t{set_of(windows_[1])} << 16 |
               uint64_t{set_of(windows_[2])} << 32 | uint64_t{set_of(windows_[3])} << 48;
    }
    uint64_t equals(char c) const noexcept {
        return set([c](const AsciiWindow& window) { return window.equals(c); });
    }

  private:
    static_assert(AsciiWindow::kBytes == 16 && CharMap::kStretch == 64);

    AsciiWindow windows_[4];
};

void classify(const uint8_t* text, size_t stretches, CharSets* sets) noexcept {
    for (; stretches > 0; --stretches, ++sets, text += CharMap::kStretch) {
        const Windows windows(text);
        sets->upper = windows.set([](const AsciiWindow& window) { return window.upper(); });
        sets->lower = windows.set([](const AsciiWindow& window) { return window.lower(); });
        sets->number = windows.set([](const AsciiWindow& window) { return window.digits(); });
        sets->space = windows.set([](const AsciiWindow& window) { return window.spaces(); });
        sets->line_break =
            windows.set([](const AsciiWindow& window) { return window.line_breaks(); });
        sets->blank = windows.equals(' ');
        sets->apostrophe = windows.equals('\'');
        sets->slash = windows.equals('/');
        sets->high = windows.set([](const AsciiWindow& window) { return window.high(); });
        sets->continuation =
            windows.set([](const AsciiWindow& window) { return window.continuations(); });
        sets->mark = 0;
        sets->cut = 0;
    }
}

// The bytes of the well-formed sequence of two or more at p, 0 if there is none; 4 can be read.
size_t sequence_bytes(const uint8_t* p) noexcept {
    uint32_t word;  // little endian: the first byte is the lowest
    std::memcpy(&word, p, sizeof(word));
    if ((word & 0x00C0C0F0) == 0x008080E0) {
        const bool overlong = (word & 0x0000200F) == 0;
        const bool surrogate = (word & 0x0000200F) == 0x0000200D;
        return overlong || surrogate ? 0 : 3;
    }
    if ((word & 0x0000C0E0) == 0x000080C0) {
        return (word & 0x0000001E) == 0 ? 0 : 2;
    }
    if ((word & 0xC0C0C0F8) == 0x808080F0) {
        const uint32_t plane = (p[0] & 0x07u) << 2 | (p[1] >> 4 & 0x03u);
        return plane == 0 || plane > 16 ? 0 : 4;
    }
    return 0;
}

bool is_plain(const Windows& windows, TextForm form) noexcept {
    const uint64_t high = windows.set([](const AsciiWindow& window) { return window.high(); });
    return (high | (form == TextForm::json ? windows.equals('\\') : 0)) == 0;
}

size_t plain_bytes(const uint8_t* text, size_t bytes, TextForm form) noexcept {
    const uint8_t* p = text;
    const uint8_t* end = p + bytes;
    while (static_cast<size_t>(end - p) >= AsciiWindow::kBytes) {
        while (static_cast<size_t>(end - p) >= CharMap::kStretch && is_plain(Windows(p), form)) {
            p += CharMap::kStretch;
        }
        if (static_cast<size_t>(end - p) < AsciiWindow::kBytes) {
            break;
        }
        const AsciiWindow window(p);
        const uint32_t special = window.high() | (form == TextForm::json ? window.equals('\\') : 0);
        const auto plain =
            static_cast<uint32_t>(std::countr_zero(special | 1u << AsciiWindow::kBytes));
        p += plain;
        if (plain == AsciiWindow::kBytes) {
            continue;
        }
        const uint8_t* begin = p;
        for (size_t next = 1; next != 0 && end - p >= 4; p += next) {
            next = sequence_bytes(p);
        }
        if (p == begin) {
            break;
        }
    }
    return static_cast<size_t>(p - text);
}

// Writes the class of a text's characters over all of their bytes, as far as they are not ASCII,
// and adds the cuts to their sets.
void write_classes(const Vocabulary& vocabulary, const uint8_t* text, size_t stretches,
                   CharSets* sets, uint8_t* classes) noexcept {
    const uint8_t* joint_end = nullptr;  // where a character ended that may be joined
    uint32_t joint = 0;                  // that character
    for (size_t at = 0; at < stretches * CharMap::kStretch; at += CharMap::kStretch, ++sets) {
        for (uint64_t left = sets->high & ~sets->continuation; left != 0; left &= left - 1) {
            const size_t begin = at + static_cast<size_t>(std::countr_zero(left));
            const uint8_t* p = text + begin;
            const auto [char_class, bytes] = vocabulary.character(p);
            std::memset(classes + begin, char_class,
                        4);  // the next one overwrites what is too many
            if (*p < kJointLead) {
                continue;
            }
            const uint32_t character = decode_utf8(p);
            if (joint_end == p && !vocabulary.may_join(joint, p[-1], character, *p)) {
                sets->cut |= left & (~left + 1);
            }
            joint = character;
            joint_end = p + bytes;
        }
    }
}

void classify_high(const Vocabulary& vocabulary, Pattern pattern, const uint8_t* text,
                   size_t stretches, CharSets* sets) noexcept {
    uint8_t classes[CharMap::kMaxBytes + CharMap::kStretch];
    write_classes(vocabulary, text, stretches, sets, classes);
    for (size_t i = 0; i < stretches; ++i) {
        CharSets& its = sets[i];
        if (its.high == 0) {
            continue;
        }
        const Windows windows(classes + i * CharMap::kStretch);
        const auto with = [&](CharClass wanted) {
            const auto bit = static_cast<uint32_t>(std::countr_zero(uint32_t{wanted}));
            return its.high &
                   windows.set([bit](const AsciiWindow& window) { return window.with_bit(bit); });
        };
        if (pattern == Pattern::o200k) {
            its.upper |= with(kUpper);
            its.lower |= with(kLower);
            its.mark = with(kMark);
        } else {
            its.lower |= with(kLetter);
        }
        its.number |= with(kNumber);
        its.space |= with(kSpace);
    }
}

void add_blocks(Pattern pattern, const CharMap& map, const uint8_t* text, size_t size,
                PieceBatch& batch) noexcept {
    switch (pattern) {
        case Pattern::cl100k:
            return add_blocks<Pattern::cl100k>(map, text, size, batch);
        case Pattern::o200k:
            return add_blocks<Pattern::o200k>(map, text, size, batch);
        case Pattern::qwen2:
            return add_blocks<Pattern::qwen2>(map, text, size, batch);
    }
}

Known count_known(const Memo<NarrowKey>& memo, const uint8_t* text, const uint16_t* ends,
                  size_t number, uint16_t* unknown) noexcept {
    constexpr size_t kAtOnce = 64;
    Known known{0, 0};
    for (size_t first = 0; first < number; first += kAtOnce) {
        const size_t most = std::min(kAtOnce, number - first);
        NarrowKey keys[kAtOnce];
        uint32_t sets[kAtOnce];
        for (size_t i = 0; i < most; ++i) {
            const size_t begin = ends[first + i];
            const size_t bytes = ends[first + i + 1] - begin;
            keys[i] = narrow_key(text + begin, bytes <= kNarrowBytes ? bytes : 0);
            sets[i] = static_cast<uint32_t>(memo.set_of(keys[i]));
            memo.prefetch(sets[i]);
        }
        for (size_t i = 0; i < most; ++i) {
            const uint32_t count = memo.find(keys[i], sets[i]);
            known.tokens += count;
            unknown[known.unknown] = static_cast<uint16_t>(first + i);
            known.unknown += count == 0;
        }
    }
    return known;
}

constexpr Kernels kPlain = {plain_bytes,
                            classify,
                            classify_high,
                            add_blocks,
                            count_known,
                            count_by_merging<NarrowKey>,
                            count_by_merging<WideKey>};

#if defined(__x86_64__)
constexpr Kernels kAvx512 = {avx512::plain_bytes,
                             avx512::classify,
                             avx512::classify_high,
                             avx512::add_blocks,
                             avx512::count_known,
                             avx512::count_by_merging<NarrowKey>,
                             avx512::count_by_merging<WideKey>};
#endif

}  // namespace

const Kernels& plain_kernels() noexcept {
    return kPlain;
}

const Kernels& best_kernels() noexcept {
#if defined(__x86_64__)
    static const bool has_avx512 = avx512::is_supported();
    return has_avx512 ? kAvx512 : kPlain;
#else
    return kPlain;
#endif
}

}  // namespace llm::tokenizer
