#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

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
    Encoding(const Vocabulary& vocabulary, Pattern pattern, uint64_t seed);

    const Vocabulary& vocabulary() const noexcept { return vocabulary_; }
    Pattern pattern() const noexcept { return pattern_; }
    // Whether the model's tokenizer brings text into NFC first and finds special tokens in it, as a
    // Counter does not.
    bool alters_text() const noexcept { return pattern_ == Pattern::qwen2; }

    // The tokens of a whole piece; 32 bytes can be read after its end.
    int64_t count(const uint8_t* p, size_t bytes) noexcept;

    // What is remembered of a piece; 0: nothing. The set where it is looked for is a function of
    // the key, so that it can be asked for before.
    uint32_t remembered(const NarrowKey& key, size_t set) noexcept {
        return narrow_memo_.find(key, set);
    }
    uint32_t remembered(const WideKey& key, size_t set) noexcept {
        return wide_memo_.find(key, set);
    }
    size_t memo_set(const NarrowKey& key) const noexcept { return narrow_memo_.set_of(key); }
    size_t memo_set(const WideKey& key) const noexcept { return wide_memo_.set_of(key); }
    void prefetch_memo(size_t narrow_set) const noexcept { narrow_memo_.prefetch(narrow_set); }

    // Remembers it. 0 < count ≤ the piece's bytes.
    void remember(const NarrowKey& key, size_t set, uint32_t count) noexcept {
        narrow_memo_.add(key, set, count);
    }
    void remember(const WideKey& key, size_t set, uint32_t count) noexcept {
        wide_memo_.add(key, set, count);
    }

    // The tokens of pieces that are neither tokens nor remembered, all together; from now on they
    // are. `number` ≤ kMaxMergesAtOnce.
    template <class Key>
    int64_t count_new(const Key* keys, const uint32_t* sets, size_t number) noexcept;

    // The first end of a part that can be counted apart, since nothing joins it to what follows.
    const uint8_t* part_end(const uint8_t* p, const uint8_t* end) const noexcept;

    // What counting has cost since the process began beyond the reading of every byte, in units of
    // about the time that this takes (4 ns for a byte on a machine of 2023).
    uint64_t work() const noexcept { return work_; }
    // `bytes` went through a PrefixCounter.
    void add_prefix_work(size_t bytes) noexcept { work_ += kPrefixWork * bytes; }

    // Private to the process: 2.5 MB for o200k, 1.5 MB for the others, which fewer models have.
    size_t memo_bytes() const noexcept { return narrow_memo_.bytes() + wide_memo_.bytes(); }

  private:
    static constexpr uint64_t kMergeWork = 8;    // a byte that is merged
    static constexpr uint64_t kPrefixWork = 40;  // at worst

    template <class Key>
    int64_t count_key(const Key& key) noexcept;
    int64_t count_whole(const uint8_t* p, size_t bytes) noexcept;

    const Vocabulary& vocabulary_;
    const Pattern pattern_;
    uint64_t work_ = 0;
    Memo<NarrowKey> narrow_memo_;
    Memo<WideKey> wide_memo_;
};

// Pieces on their way to be counted. What a table lookup waits for is memory: so the place of each
// piece is asked for when the piece is found and looked at only when the batch is full, and pieces
// that have to be merged are merged together.
class PieceBatch {
  public:
    explicit PieceBatch(Encoding& encoding) noexcept : encoding_(encoding) {}

    // 32 bytes can be read after the piece's end.
    void add(const uint8_t* p, size_t bytes) noexcept {
        if (bytes <= kNarrowBytes) {
            add_key(narrow_key(p, bytes));
        } else {
            add_parts(p, bytes);
        }
    }

    // Pieces that lie side by side from p, which a bit for each gives the end of. Returns the last
    // end.
    const uint8_t* add_all(const uint8_t* p, uint64_t ends) noexcept {
        if (size_ + 64 > kPieces) {
            look_up();
        }
        const uint8_t* begin = p;
        for (; ends != 0; ends &= ends - 1) {
            const uint8_t* end = begin + std::countr_zero(ends);
            const auto bytes = static_cast<size_t>(end - p);
            if (bytes <= kNarrowBytes) {
                put(narrow_key(p, bytes));
            } else {
                add_parts(p, bytes);
            }
            p = end;
        }
        return p;
    }

    // All that was added, counted.
    int64_t finish() noexcept;

  private:
    static constexpr size_t kPieces = 192;

    struct Waiting {
        NarrowKey key;
        uint32_t place;
    };

    void put(const NarrowKey& key) noexcept {
        const size_t home = encoding_.vocabulary().home(key);
        encoding_.vocabulary().prefetch(home);
        pieces_[size_++] = {key, static_cast<uint32_t>(home)};
    }
    void add_key(const NarrowKey& key) noexcept {
        put(key);
        if (size_ == kPieces) {
            look_up();
        }
    }
    void add_parts(const uint8_t* p, size_t bytes) noexcept;
    void add_wide(const WideKey& key) noexcept;
    void look_up() noexcept;
    bool add_apart(const NarrowKey& key, uint32_t set) noexcept;

    // New pieces of one size of key.
    template <class Key>
    struct New {
        size_t size = 0;
        std::array<Key, kMaxMergesAtOnce> keys;
        std::array<uint32_t, kMaxMergesAtOnce> sets;
    };
    template <class Key>
    void add_new(New<Key>& pieces, const Key& key, size_t set) noexcept;
    template <class Key>
    void merge(New<Key>& pieces) noexcept;

    Encoding& encoding_;
    int64_t tokens_ = 0;
    size_t size_ = 0;
    std::array<Waiting, kPieces> pieces_;
    New<NarrowKey> new_narrow_;
    New<WideKey> new_wide_;
};

}  // namespace llm::tokenizer
