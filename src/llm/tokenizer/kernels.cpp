#include "llm/tokenizer/kernels.hpp"

#include <bit>
#include <cstring>

#include "llm/tokenizer/ascii_window.hpp"
#include "llm/tokenizer/avx512.hpp"
#include "llm/tokenizer/char_sets.hpp"
#include "llm/tokenizer/memo.hpp"
#include "llm/tokenizer/merge.hpp"
#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {
namespace {

void classify(const uint8_t* text, size_t stretches, CharSets* sets) noexcept {
    for (; stretches > 0; --stretches, ++sets, text += CharMap::kStretch) {
        *sets = {};
        for (size_t i = 0; i < CharMap::kStretch; i += AsciiWindow::kBytes) {
            const AsciiWindow window(text + i);
            sets->upper |= uint64_t{window.upper()} << i;
            sets->lower |= uint64_t{window.lower()} << i;
            sets->number |= uint64_t{window.digits()} << i;
            sets->space |= uint64_t{window.spaces()} << i;
            sets->line_break |= uint64_t{window.line_breaks()} << i;
            sets->blank |= uint64_t{window.equals(' ')} << i;
            sets->apostrophe |= uint64_t{window.equals('\'')} << i;
            sets->slash |= uint64_t{window.equals('/')} << i;
            sets->high |= uint64_t{window.high()} << i;
            sets->continuation |= uint64_t{window.continuations()} << i;
        }
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

size_t plain_bytes(const uint8_t* text, size_t bytes, TextForm form) noexcept {
    const uint8_t* p = text;
    const uint8_t* end = p + bytes;
    while (static_cast<size_t>(end - p) >= AsciiWindow::kBytes) {
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

uint64_t with_class(const uint8_t* classes, CharClass wanted) noexcept {
    const auto bit = static_cast<uint32_t>(std::countr_zero(uint32_t{wanted}));
    uint64_t set = 0;
    for (size_t i = 0; i < CharMap::kStretch; i += AsciiWindow::kBytes) {
        set |= uint64_t{AsciiWindow(classes + i).with_bit(bit)} << i;
    }
    return set;
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
        const auto with = [&](CharClass wanted) {
            return with_class(classes + i * CharMap::kStretch, wanted) & its.high;
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

Known count_known(const Memo<NarrowKey>& memo, const uint8_t* text, const uint16_t* ends,
                  size_t number, uint16_t* unknown) noexcept {
    Known known{0, 0};
    for (size_t i = 0; i < number; ++i) {
        const size_t bytes = static_cast<size_t>(ends[i + 1] - ends[i]);
        const NarrowKey key = narrow_key(text + ends[i], bytes <= kNarrowBytes ? bytes : 0);
        const uint32_t count = memo.find(key, memo.set_of(key));
        known.tokens += count;
        unknown[known.unknown] = static_cast<uint16_t>(i);
        known.unknown += count == 0;
    }
    return known;
}

constexpr Kernels kPlain = {plain_bytes,
                            classify,
                            classify_high,
                            count_known,
                            count_by_merging<NarrowKey>,
                            count_by_merging<WideKey>};

#if defined(__x86_64__)
constexpr Kernels kAvx512 = {avx512::plain_bytes,
                             avx512::classify,
                             avx512::classify_high,
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
