#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/char_sets.hpp"
#include "llm/tokenizer/piece_batch.hpp"
#include "llm/tokenizer/scanner.hpp"

namespace llm::tokenizer {

// Finds where all the pieces in 64 bytes begin, at once: bit i of a set stands for byte i. The cost
// per byte is that of a few instructions, and hardly anything to mispredict.
template <Pattern kPattern>
class PieceBlock {
  public:
    static constexpr size_t kBytes = CharMap::kStretch;

    // A piece begins at p, whose sets these are; nothing is looked at from `end` on.
    PieceBlock(const CharSets& sets, const uint8_t* p, const uint8_t* end) noexcept
        : p_(p), size_(std::min(kBytes, static_cast<size_t>(end - p))), sets_(sets) {}

    // The ends of those pieces that nothing after the block can change, and the cuts inside of
    // them.
    uint64_t ends() noexcept;

  private:
    using Set = uint64_t;

    // Sets of the bytes before `size`.
    static Set below(size_t size) noexcept {
        return size >= kBytes ? ~Set{0} : (Set{1} << size) - 1;
    }
    static Set next(Set set) noexcept { return set << 1; }      // the bytes after those in the set
    static Set previous(Set set) noexcept { return set >> 1; }  // and before them
    static Set lowest(Set set) noexcept { return set & (~set + 1); }
    static Set first_of_runs(Set set) noexcept { return set & ~next(set); }
    // Those runs of `set` that begin in `firsts`, whole.
    static Set runs_from(Set firsts, Set set) noexcept { return set & ~(set + firsts); }
    // The bytes after characters that begin in `firsts`.
    Set after(Set firsts) const noexcept {
        return (next(firsts) + sets_.continuation) & ~sets_.continuation;
    }

    Set piece_begins() noexcept;
    Set case_begins(Set contractions) noexcept;
    Set space_begins(Set attached) noexcept;
    Set number_begins() noexcept;
    Set take_contractions() noexcept;
    Set split_contractions(Set before_words) const noexcept;
    void distrust_slashes(Set attached) noexcept;
    void distrust_marks() noexcept;
    void trust_below(size_t size) noexcept { trusted_ = std::min(trusted_, size); }
    // Where the last of `begins` up to a byte is.
    static size_t last_up_to(size_t at, Set begins) noexcept {
        return static_cast<size_t>(std::bit_width(begins & below(at + 1))) - 1;
    }
    size_t contraction_at(size_t at) const noexcept {
        return contraction_bytes(p_ + at, p_ + size_);
    }

    const uint8_t* const p_;
    const size_t size_;
    size_t trusted_ = 0;  // a begin up to here depends on nothing after the block
    CharSets sets_;
    Set words_ = 0;   // the bytes of words, without what stands before them
    Set others_ = 0;  // neither those nor numbers nor white space
};

template <Pattern kPattern>
uint64_t PieceBlock<kPattern>::ends() noexcept {
    const Set all = below(size_);
    sets_.upper &= all;
    sets_.lower &= all;
    sets_.number &= all;
    sets_.space &= all;
    sets_.line_break &= all;
    words_ = sets_.upper | sets_.lower;
    others_ = all & ~(words_ | sets_.number | sets_.space);
    trusted_ = size_ - std::min(size_, kMaxContractionBytes);

    const Set begins = piece_begins() & below(trusted_ + 1) & ~Set{1};
    return begins | (sets_.cut & below(static_cast<size_t>(std::bit_width(begins))) & ~Set{1});
}

template <Pattern kPattern>
auto PieceBlock<kPattern>::piece_begins() noexcept -> Set {
    Set begins = 0;
    if constexpr (kPattern == Pattern::o200k) {
        begins = take_contractions();
    }
    // Line breaks right after others belong to them.
    const Set attached = runs_from(sets_.line_break & next(others_), sets_.line_break);
    if constexpr (kPattern == Pattern::o200k) {
        distrust_slashes(attached);
        distrust_marks();
    }
    const Set word_begins = first_of_runs(words_);
    const Set other_begins = first_of_runs(others_);
    // One character before a word belongs to it, unless it is of a longer run or after a ' '.
    const Set after_one = after(other_begins & ~next(sets_.blank));
    const Set after_blanks = next(sets_.space & ~attached & ~sets_.line_break);

    begins |= word_begins & ~(after_one | after_blanks);
    begins |= other_begins & ~next(sets_.blank);
    begins |= number_begins();
    begins |= space_begins(attached);
    if constexpr (kPattern != Pattern::o200k) {
        begins |= split_contractions(previous(after_one & word_begins));
    }
    return begins & ~sets_.continuation;
}

// A run of white space begins a piece, and so does what follows its last line break, and its last
// character if something else than white space follows, unless that is a line break itself.
template <Pattern kPattern>
auto PieceBlock<kPattern>::space_begins(Set attached) noexcept -> Set {
    const Set spaces = sets_.space & ~attached;
    const Set breaks = sets_.line_break & ~attached;
    const Set blanks = spaces & ~breaks;
    Set begins = first_of_runs(spaces) | (blanks & ~previous(sets_.space));
    for (Set left = blanks & next(breaks); left != 0; left &= left - 1) {
        const Set first = lowest(left);
        const Set after_run = lowest((blanks + first) & ~blanks & ~(first - 1));
        begins |= (after_run & breaks) == 0 ? first : 0;
    }
    if (sets_.space >> (size_ - 1) & 1) {
        // What follows the block decides about the last run.
        const Set solid = below(size_) & ~sets_.space;
        trust_below(static_cast<size_t>(std::bit_width(solid)));
    }
    // A last character of several bytes is for others to find.
    if (const Set last = spaces & sets_.high & ~sets_.continuation & next(spaces); last != 0) {
        trust_below(last_up_to(static_cast<size_t>(std::countr_zero(last)), first_of_runs(spaces)));
    }
    return begins;
}

// Numbers are cut into kMaxDigits each, from the left: one or three. (Of three, those of more than a
// byte are for others to cut.)
template <Pattern kPattern>
auto PieceBlock<kPattern>::number_begins() noexcept -> Set {
    const Set digits = sets_.number;
    if constexpr (kMaxDigits<kPattern> == 1) {
        return digits;
    }
    Set group = first_of_runs(digits);
    if (const Set high = digits & sets_.high; high != 0) {
        trust_below(last_up_to(static_cast<size_t>(std::countr_zero(high)), group));
    }
    Set begins = group;
    const Set three = digits & next(digits) & next(next(digits));
    while ((group = group << 3 & three) != 0) {
        begins |= group;
    }
    return begins;
}

// Line breaks after others take the slashes after them too; rare enough to leave it to others.
template <Pattern kPattern>
void PieceBlock<kPattern>::distrust_slashes(Set attached) noexcept {
    if (const Set slashes = next(attached) & sets_.slash; slashes != 0) {
        const Set before = below(static_cast<size_t>(std::countr_zero(slashes)));
        trust_below(static_cast<size_t>(std::bit_width(others_ & before)) - 1);
    }
}

// A mark after an other one begins a word, or is one of the others.
template <Pattern kPattern>
void PieceBlock<kPattern>::distrust_marks() noexcept {
    if (const Set marks = sets_.mark & next(others_); marks != 0) {
        const auto at = static_cast<size_t>(std::countr_zero(marks));
        trust_below(last_up_to(at, first_of_runs(others_)));
    }
}

// o200k: contractions are a part of the word before them, so their apostrophes are no longer
// others. Not where that word's last letter is a contraction's: the next one stands alone. Returns
// where words begin that follow a contraction, or that begin with a capital.
template <Pattern kPattern>
auto PieceBlock<kPattern>::take_contractions() noexcept -> Set {
    Set contractions = 0;
    Set begins = 0;
    size_t last_end = 0;
    const Set letters = words_;
    for (Set left = sets_.apostrophe & others_ & next(letters) & previous(letters); left != 0;
         left &= left - 1) {
        const auto at = static_cast<size_t>(std::countr_zero(left));
        const size_t bytes = contraction_at(at);
        if (bytes != 0 && at != last_end) {
            contractions |= below(bytes) << at;
            begins |= letters & (Set{1} << at << bytes);
            last_end = at + bytes;
        }
    }
    begins |= case_begins(contractions);
    words_ |= contractions;
    others_ &= ~contractions;
    return begins;
}

// A word is capitals and then small letters. What is both is a capital until there is a small
// letter; capitals that nothing small follows end after the last one that is both.
template <Pattern kPattern>
auto PieceBlock<kPattern>::case_begins(Set contractions) noexcept -> Set {
    const Set both = sets_.upper & sets_.lower & ~contractions;
    const Set upper = sets_.upper & ~both & ~contractions;
    Set lower = sets_.lower & ~both & ~contractions;
    lower |= runs_from(both & next(lower), both);
    Set begins = upper & next(lower);
    for (Set left = upper & next(both) & ~begins; left != 0; left &= left - 1) {
        const Set first = lowest(left);
        const Set after_run = lowest(~upper & ~(first - 1));
        const bool ends_in_block = (after_run & below(size_)) != 0;
        if (!ends_in_block) {
            trust_below(static_cast<size_t>(std::countr_zero(first)) - 1);
        }
        begins |= (after_run & words_ & ~contractions) == 0 ? first : 0;
    }
    return begins;
}

// Not o200k: contractions are pieces of their own, where an apostrophe begins one.
template <Pattern kPattern>
auto PieceBlock<kPattern>::split_contractions(Set before_words) const noexcept -> Set {
    Set begins = 0;
    for (Set left = before_words & sets_.apostrophe; left != 0; left &= left - 1) {
        const auto at = static_cast<size_t>(std::countr_zero(left));
        const size_t bytes = contraction_at(at);
        if (bytes != 0) {
            begins |= words_ & (Set{1} << at << bytes);
        }
    }
    return begins;
}

// Adds the pieces that blocks find, one block after another, as long as they find any.
template <Pattern kPattern>
void add_blocks(const CharMap& map, const uint8_t* text, size_t size, PieceBatch& batch) noexcept {
    while (batch.end() < size) {
        PieceBlock<kPattern> block(map.at(batch.end()), text + batch.end(), text + size);
        const uint64_t ends = block.ends();
        if (ends == 0) {
            return;
        }
        batch.add_all(ends);
    }
}

}  // namespace llm::tokenizer
