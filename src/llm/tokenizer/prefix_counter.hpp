#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {

// Counts the tokens of a piece of any length, byte by byte, in constant memory: after every byte
// the count of the piece so far is known.
//
// A sequence of tokens is the encoding of its bytes if and only if every two neighbours are (no
// merge would have crossed between them). So the encoding of a prefix is that of a shorter prefix
// and one more token: the only one that ends here and gets along with the last token of that
// shorter prefix.
//
// What comes next follows from the last kMaxTokenBytes bytes and last tokens alone. Once they
// repeat those of a period before, the rest of a periodic piece is copied from there.
class PrefixCounter {
  public:
    explicit PrefixCounter(const Vocabulary& vocabulary) noexcept : vocabulary_(&vocabulary) {}

    void restart() noexcept {
        size_ = 0;
        repeated_ = 0;
    }
    void feed(const uint8_t* p, size_t bytes) noexcept {
        for (size_t i = 0; i < bytes; ++i) {
            feed(p[i]);
        }
    }

    int64_t count() const noexcept { return size_ == 0 ? 0 : state(0).count; }
    bool empty() const noexcept { return size_ == 0; }

  private:
    // Of the prefix that a byte ends.
    struct State {
        int64_t count;
        uint32_t last_token;
        uint8_t last_bytes;  // of that token
        uint8_t byte;
    };

    static constexpr size_t kPeriod = 128;
    static constexpr size_t kRing = 256;
    static_assert(kRing > kMaxTokenBytes && kRing > kPeriod + 1);

    // `back` bytes ago; 0 is the present one.
    State& state(size_t back) noexcept { return ring_[(size_ - 1 - back) % kRing]; }
    const State& state(size_t back) const noexcept { return ring_[(size_ - 1 - back) % kRing]; }

    void feed(uint8_t byte) noexcept;
    void find_last(uint8_t byte) noexcept;
    bool try_last(uint32_t token, size_t token_bytes) noexcept;
    bool are_neighbours(uint32_t left, uint32_t right) const noexcept;
    void note_repetition() noexcept;

    const Vocabulary* vocabulary_;
    uint64_t size_ = 0;    // bytes of the piece so far
    size_t repeated_ = 0;  // states in a row that are those of a period before
    std::array<State, kRing> ring_;
};

}  // namespace llm::tokenizer
