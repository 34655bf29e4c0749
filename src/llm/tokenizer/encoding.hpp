#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "llm/tokenizer/kernels.hpp"
#include "llm/tokenizer/memo.hpp"
#include "llm/tokenizer/merge.hpp"
#include "llm/tokenizer/scanner.hpp"
#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {

// A vocabulary at work in one process: counts pieces, and remembers what it counted. For one
// thread.
class Encoding {
  public:
    // The vocabulary must outlive it. The seed is secret and differs between processes.
    Encoding(const Vocabulary& vocabulary, Pattern pattern, uint64_t seed,
             const Kernels& kernels = best_kernels());

    const Vocabulary& vocabulary() const noexcept { return vocabulary_; }
    Pattern pattern() const noexcept { return pattern_; }
    const Kernels& kernels() const noexcept { return kernels_; }
    // Whether the model's tokenizer brings text into NFC first and finds special tokens in it, as a
    // Counter does not.
    bool alters_text() const noexcept { return pattern_ == Pattern::qwen2; }

    // The tokens of a whole piece; 32 bytes can be read after its end.
    int64_t count(const uint8_t* p, size_t bytes) noexcept;

    // What is remembered of the pieces of one size of key.
    template <class Key>
    Memo<Key>& memo() noexcept {
        if constexpr (std::is_same_v<Key, NarrowKey>) {
            return narrow_memo_;
        } else {
            return wide_memo_;
        }
    }

    // The tokens of pieces that are neither tokens nor remembered, all together; from now on they
    // are. 0 < number ≤ kMaxMergesAtOnce.
    template <class Key>
    int64_t count_new(const Key* keys, const uint32_t* sets, size_t number) noexcept;

    // What counting has cost since the process began beyond the reading of every byte, in units of
    // about the time that this takes (4 ns for a byte on a machine of 2023).
    uint64_t work() const noexcept { return work_; }
    // `bytes` went through a PrefixCounter.
    void add_prefix_work(size_t bytes) noexcept { work_ += kPrefixWork * bytes; }

    // Private to the process: 2.6 MB for o200k, 1.3 MB for the others, which fewer models have.
    size_t memo_bytes() const noexcept {
        return narrow_memo_.bytes() + wide_memo_.bytes() + long_memo_.bytes();
    }

  private:
    static constexpr uint64_t kMergeWork = 8;    // a byte that is merged
    static constexpr uint64_t kPrefixWork = 40;  // at worst

    template <class Key>
    int64_t count_key(const Key& key) noexcept;
    int64_t count_long(const uint8_t* p, size_t bytes) noexcept;
    int64_t count_whole(const uint8_t* p, size_t bytes) noexcept;

    const Vocabulary& vocabulary_;
    const Pattern pattern_;
    const Kernels& kernels_;
    uint64_t work_ = 0;
    Memo<NarrowKey> narrow_memo_;
    Memo<WideKey> wide_memo_;
    Memo<LongKey> long_memo_;
};

}  // namespace llm::tokenizer
