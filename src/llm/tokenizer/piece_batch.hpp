#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "llm/tokenizer/encoding.hpp"

namespace llm::tokenizer {

// The pieces of one text after another on their way to be counted, side by side from its first byte
// on. What a table lookup waits for is memory: so they are looked up many at a time, and those that
// have to be merged are merged together.
class PieceBatch {
  public:
    explicit PieceBatch(Encoding& encoding) noexcept : encoding_(encoding) {}

    // Pieces of this text follow, of no more than 64 KB; 32 bytes can be read after its end.
    void begin(const uint8_t* text) noexcept {
        text_ = text;
        ends_[0] = 0;
    }

    // Where the last piece ends that was added.
    size_t end() const noexcept { return ends_[size_]; }

    void add(size_t end) noexcept {
        make_room(1);
        ends_[++size_] = static_cast<uint16_t>(end);
    }

    // A bit for each end, of those from end() on.
    void add_all(uint64_t ends) noexcept {
        make_room(64);
        const size_t begin = end();
        for (; ends != 0; ends &= ends - 1) {
            ends_[++size_] = static_cast<uint16_t>(begin + std::countr_zero(ends));
        }
    }

    // Looks up all that was added: the text is no longer needed.
    void look_up() noexcept;

    // The tokens of all that was added, once its texts have ended.
    int64_t finish() noexcept;

  private:
    static constexpr size_t kPieces = 512;

    void make_room(size_t pieces) noexcept {
        if (size_ + pieces > kPieces) {
            look_up();
        }
    }

    // Pieces of one size of key that are not remembered.
    template <class Key>
    struct Queue {
        size_t size = 0;
        std::array<Key, kMaxMergesAtOnce> keys;
        std::array<uint32_t, kMaxMergesAtOnce> sets;  // of the memo
    };

    size_t piece_bytes(size_t piece) const noexcept {
        return static_cast<size_t>(ends_[piece + 1] - ends_[piece]);
    }
    void add_unknown(const uint8_t* p, size_t bytes) noexcept;
    template <class Key>
    void add_unknown(Queue<Key>& queue, const Key& key) noexcept;
    template <class Key>
    void count(Queue<Key>& queue) noexcept;

    Encoding& encoding_;
    const uint8_t* text_ = nullptr;
    int64_t tokens_ = 0;
    size_t size_ = 0;
    std::array<uint16_t, kPieces + 1> ends_;  // ends_[0]: where the first one begins
    Queue<NarrowKey> narrow_;
    Queue<WideKey> wide_;
};

}  // namespace llm::tokenizer
