#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/ascii_window.hpp"
#include "llm/tokenizer/scanner.hpp"

namespace llm::tokenizer {

// Finds where all the pieces in 64 bytes of ASCII begin, at once: bit i of a set stands for byte i.
// The cost per byte is that of a few instructions, and nothing to mispredict.
template <Pattern kPattern>
class AsciiBlock {
  public:
    static constexpr size_t kBytes = 64;

    // A piece begins at p. Reads kBytes from there; uses those before `end` and before the first
    // one that is not ASCII.
    AsciiBlock(const uint8_t* p, const uint8_t* end) noexcept : p_(p) {
        Set high = 0;
        for (size_t i = 0; i < kBytes / AsciiWindow::kBytes; ++i) {
            high |= Set{AsciiWindow(p + i * AsciiWindow::kBytes).high()}
                    << (i * AsciiWindow::kBytes);
        }
        size_ = std::min(
            {kBytes, static_cast<size_t>(end - p), static_cast<size_t>(std::countr_zero(high))});
    }

    // Below it a block is more work than its few pieces one by one.
    bool worthwhile() const noexcept { return size_ >= kBytes / 4; }

    // The ends of those pieces that nothing after the block can change.
    uint64_t piece_ends() noexcept;

  private:
    using Set = uint64_t;

    // Sets of the bytes before `size`.
    static Set below(size_t size) noexcept {
        return size >= kBytes ? ~Set{0} : (Set{1} << size) - 1;
    }
    static Set next(Set set) noexcept { return set << 1; }      // the bytes after those in the set
    static Set previous(Set set) noexcept { return set >> 1; }  // and before them
    static Set first_of_runs(Set set) noexcept { return set & ~next(set); }
    // Those runs of `set` that begin in `firsts`, whole.
    static Set runs_from(Set firsts, Set set) noexcept { return set & ~(set + firsts); }

    void classify() noexcept;
    Set space_begins(Set attached) noexcept;
    Set number_begins() const noexcept;
    Set take_contractions() noexcept;
    Set split_contractions(Set before_words) const noexcept;
    void trust_below(size_t size) noexcept { trusted_ = std::min(trusted_, size); }

    const uint8_t* const p_;
    size_t size_;
    size_t trusted_ = 0;  // a begin up to here depends on nothing after the block
    Set letters_ = 0;
    Set upper_ = 0;
    Set lower_ = 0;
    Set digits_ = 0;
    Set spaces_ = 0;
    Set line_breaks_ = 0;
    Set blank_ = 0;  // the character ' '
    Set others_ = 0;
    Set apostrophes_ = 0;
    Set slashes_ = 0;
};

template <Pattern kPattern>
void AsciiBlock<kPattern>::classify() noexcept {
    for (size_t i = 0; i < kBytes; i += AsciiWindow::kBytes) {
        const AsciiWindow window(p_ + i);
        if constexpr (kPattern == Pattern::o200k) {
            upper_ |= Set{window.upper()} << i;
            lower_ |= Set{window.lower()} << i;
            slashes_ |= Set{window.equals('/')} << i;
        } else {
            letters_ |= Set{window.letters()} << i;
        }
        digits_ |= Set{window.digits()} << i;
        spaces_ |= Set{window.spaces()} << i;
        line_breaks_ |= Set{window.line_breaks()} << i;
        blank_ |= Set{window.equals(' ')} << i;
        apostrophes_ |= Set{window.equals('\'')} << i;
    }
    const Set all = below(size_);
    upper_ &= all;
    lower_ &= all;
    letters_ = (letters_ & all) | upper_ | lower_;
    digits_ &= all;
    spaces_ &= all;
    line_breaks_ &= all;
    others_ = all & ~(letters_ | digits_ | spaces_);
}

template <Pattern kPattern>
uint64_t AsciiBlock<kPattern>::piece_ends() noexcept {
    classify();
    trusted_ = size_ - std::min(size_, kMaxContractionBytes);

    Set begins = 0;
    Set word_letters = letters_;
    if constexpr (kPattern == Pattern::o200k) {
        const Set contractions = take_contractions();  // with their word, so no longer others
        word_letters |= contractions;
        begins |= upper_ & next(lower_);
        // Inside of a contraction nothing begins; what letter follows it begins a word.
        for (Set left = contractions; left != 0; left &= left - 1) {
            const auto at = static_cast<size_t>(std::countr_zero(left));
            const size_t bytes = contraction_bytes(p_ + at, p_ + size_);
            begins &= ~((below(bytes)) << at);
            begins |= letters_ & (Set{1} << at << bytes);
        }
    }

    // Line breaks right after others belong to them.
    const Set attached = runs_from(line_breaks_ & next(others_), line_breaks_);
    if constexpr (kPattern == Pattern::o200k) {
        // So do slashes after those; rare enough to leave it to others.
        if (const Set slashes = next(attached) & slashes_; slashes != 0) {
            const Set before = below(static_cast<size_t>(std::countr_zero(slashes)));
            const Set last_others = others_ & before;
            trust_below(static_cast<size_t>(std::bit_width(last_others)) - 1);
        }
    }

    const Set spaces = spaces_ & ~attached;
    const Set word_begins = first_of_runs(word_letters);
    const Set other_begins = first_of_runs(others_);
    // One character before a word belongs to it, unless it is of a longer run or after a ' '.
    const Set before_words =
        (other_begins & ~previous(others_) & ~next(blank_)) & previous(word_begins);
    const Set blanks_before_words = spaces & ~line_breaks_ & previous(word_begins);

    begins |= word_begins & ~next(before_words | blanks_before_words);
    begins |= other_begins & ~next(blank_);
    begins |= number_begins();
    begins |= space_begins(attached);
    if constexpr (kPattern != Pattern::o200k) {
        begins |= split_contractions(before_words);
    }
    return begins & below(trusted_ + 1) & ~Set{1};
}

// A run of white space begins a piece, and so does what follows its last line break, and its last
// character if something else than white space follows, unless that is a line break itself.
template <Pattern kPattern>
auto AsciiBlock<kPattern>::space_begins(Set attached) noexcept -> Set {
    const Set spaces = spaces_ & ~attached;
    const Set breaks = line_breaks_ & ~attached;
    const Set blanks = spaces & ~breaks;
    Set begins = first_of_runs(spaces) | (blanks & ~previous(spaces_));
    for (Set left = blanks & next(breaks); left != 0; left &= left - 1) {
        const Set first = left & (~left + 1);
        const Set after =
            (blanks + first) & ~blanks & ~(first - 1);  // its lowest bit: the run's end
        const Set lowest = after & (~after + 1);
        begins |= (lowest & breaks) == 0 ? first : 0;
    }
    if (spaces_ >> (size_ - 1) & 1) {
        // What follows the block decides about the last run.
        const Set solid = below(size_) & ~spaces_;
        trust_below(static_cast<size_t>(std::bit_width(solid)));
    }
    return begins;
}

// Numbers are cut into kMaxDigits each, from the left: one or three.
template <Pattern kPattern>
auto AsciiBlock<kPattern>::number_begins() const noexcept -> Set {
    if constexpr (kMaxDigits<kPattern> == 1) {
        return digits_;
    }
    Set group = first_of_runs(digits_);
    Set begins = group;
    const Set three = digits_ & next(digits_) & next(next(digits_));
    while ((group = group << 3 & three) != 0) {
        begins |= group;
    }
    return begins;
}

// o200k: the apostrophes of contractions, which are a part of the word before them. Not where that
// word's last letter is a contraction's: the next one stands alone.
template <Pattern kPattern>
auto AsciiBlock<kPattern>::take_contractions() noexcept -> Set {
    Set taken = 0;
    size_t last_end = 0;
    for (Set left = apostrophes_ & others_ & next(letters_) & previous(letters_); left != 0;
         left &= left - 1) {
        const auto at = static_cast<size_t>(std::countr_zero(left));
        const size_t bytes = contraction_bytes(p_ + at, p_ + size_);
        if (bytes != 0 && at != last_end) {
            taken |= Set{1} << at;
            last_end = at + bytes;
        }
    }
    others_ &= ~taken;
    return taken;
}

// Not o200k: contractions are pieces of their own, where an apostrophe begins one.
template <Pattern kPattern>
auto AsciiBlock<kPattern>::split_contractions(Set before_words) const noexcept -> Set {
    Set begins = 0;
    for (Set left = before_words & apostrophes_; left != 0; left &= left - 1) {
        const auto at = static_cast<size_t>(std::countr_zero(left));
        const size_t bytes = contraction_bytes(p_ + at, p_ + size_);
        if (bytes != 0) {
            begins |= letters_ & (Set{1} << at << bytes);
        }
    }
    return begins;
}

}  // namespace llm::tokenizer
