#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "llm/result.hpp"
#include "llm/tokenizer/char_class.hpp"
#include "llm/tokenizer/image_layout.hpp"

namespace llm::tokenizer {

// The tables of characters and of merges, for those who look up many at once; see Vocabulary.
struct CharTables {
    const uint16_t* index;
    const uint8_t* blocks;  // of both, four bytes can be read from every entry on
    const uint8_t* joints;
};

struct MergeTables {
    const uint32_t* byte_tokens;
    const uint32_t* byte_pairs;
    const PairPilot* pilots;  // two bytes can be read after the last one
    const uint64_t* slots;
    uint32_t slot_bits;
};

// The tables of one encoding: a mapped image, read-only and shared by all processes that inherit
// it.
class Vocabulary {
  public:
    // Maps the image file of an encoding ("o200k_base"). Fails, saying why, if it cannot be read,
    // is torn, of another layout or for another encoding. Reads the header only; verify() reads
    // all.
    static Result<Vocabulary> open(const std::string& path, std::string_view encoding);

    Vocabulary(Vocabulary&& other) noexcept;
    Vocabulary& operator=(Vocabulary&& other) noexcept;
    ~Vocabulary();

    // Whether the content is what the builder wrote.
    bool verify() const noexcept;

    std::string_view name() const noexcept { return header_->encoding.data(); }
    uint32_t tokens() const noexcept { return header_->tokens; }
    size_t image_bytes() const noexcept { return header_->image_bytes; }
    std::string source_sha256() const;  // hexadecimal

    // The class and the bytes of the character at p.
    struct Character {
        uint8_t char_class;
        uint8_t bytes;
    };
    Character character(const uint8_t* p) const noexcept {
        if (p[0] < 0x80) {
            return {class_in(p[0] >> 6, p[0]), 1};
        }
        if (p[0] < 0xE0) {
            return {class_in(p[0] & 0x1Fu, p[1]), 2};
        }
        if (p[0] < 0xF0) {
            return {class_in((p[0] & 0x0Fu) << 6 | (p[1] & 0x3Fu), p[2]), 3};
        }
        return {class_in((p[0] & 0x07u) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu), p[3]), 4};
    }

    // NormalClass bits of the character at p.
    uint8_t normal_class(const uint8_t* p) const noexcept {
        const uint32_t character = decode_utf8(p);
        return normal_blocks_[normal_index_[character / kBlock] * kBlock + character % kBlock];
    }

    // Whether a piece is a token, of the tokens with that size of key.
    template <class Key>
    bool contains(const Key& key) const noexcept {
        return search(keys<Key>(), key, home_slot(key, keys<Key>().bits));
    }
    template <class Key>
    void prefetch(const Key& key) const noexcept {
        __builtin_prefetch(&keys<Key>().slots[home_slot(key, keys<Key>().bits)]);
    }

    uint32_t byte_token(uint8_t byte) const noexcept { return byte_tokens_[byte]; }

    // The token of two bytes or of two tokens; kNoToken if they do not merge.
    uint32_t merge_bytes(uint8_t left, uint8_t right) const noexcept {
        return byte_pairs_[left | right << 8];
    }
    uint32_t merge(uint32_t left, uint32_t right) const noexcept {
        return merged_at(place_of_pair(left, right), left, right);
    }
    // The same in two steps, without a branch: where to look, and what is there.
    uint32_t place_of_pair(uint32_t left, uint32_t right) const noexcept {
        const PairHash hash(left, right);
        const PairPilot pilot = pair_pilots_[hash.pilot_place(pairs_.bits)];
        const uint32_t may_merge = pilot.filter >> hash.filter_bit() & 1u;
        return hash.slot_place(pilot.pilot, pairs_.bits) & (0 - may_merge);
    }
    void prefetch_pair(uint32_t place) const noexcept { __builtin_prefetch(&pairs_.slots[place]); }
    uint32_t merged_at(uint32_t place, uint32_t left, uint32_t right) const noexcept {
        const uint64_t slot = pairs_.slots[place];
        const uint32_t differs = slot >> kTokenBits != pair_key(left, right);
        return (static_cast<uint32_t>(slot) | (0 - differs)) & kNoToken;
    }

    CharTables char_tables() const noexcept { return {char_index_, char_blocks_, joints_}; }
    MergeTables merge_tables() const noexcept {
        return {byte_tokens_, byte_pairs_, pair_pilots_, pairs_.slots, pairs_.bits};
    }

    // What the last merge of a token joined; for tokens of two bytes and more.
    TokenParts parts(uint32_t token) const noexcept { return parts_[token]; }

    SuffixNode suffix_node(uint32_t node) const noexcept { return suffix_nodes_[node]; }
    // 0: no token of three bytes or more, nor of these two, ends so.
    uint32_t suffix_pair(uint8_t last, uint8_t last_but_one) const noexcept {
        return suffix_pairs_[last << 8 | last_but_one];
    }

    // False: no merge ever crosses the boundary between these two characters, so that they may be
    // counted apart. Both have three bytes or more; `last` is left's last byte, `lead` right's
    // first.
    bool may_join(uint32_t left, uint8_t last, uint32_t right, uint8_t lead) const noexcept {
        return (has_joint(Joint::whole, left, right) | has_joint(Joint::cut_right, left, lead) |
                has_joint(Joint::cut_left, last, right)) != 0;
    }

  private:
    // A block is what the last byte of a UTF-8 sequence tells apart.
    static_assert(kBlock == 64);
    uint8_t class_in(uint32_t block, uint8_t last) const noexcept {
        return char_blocks_[char_index_[block] * kBlock + (last & 0x3Fu)];
    }

    template <class Slot>
    struct Table {
        const Slot* slots = nullptr;
        size_t mask = 0;
        uint32_t bits = 0;
    };

    Vocabulary(const uint8_t* image, size_t bytes) noexcept : image_(image), bytes_(bytes) {}

    // Empty: all is well and the tables are bound.
    std::string bind(std::string_view encoding) noexcept;
    template <class T>
    bool bind(const Section& section, const T*& table, size_t entries) noexcept;
    template <class Slot>
    bool bind(const Section& section, Table<Slot>& table) noexcept;

    template <class Key>
    const Table<Key>& keys() const noexcept {
        if constexpr (std::is_same_v<Key, NarrowKey>) {
            return narrow_;
        } else {
            return wide_;
        }
    }

    // Every table has empty slots, so that a search ends.
    template <class Key>
    static bool search(const Table<Key>& table, const Key& key, size_t at) noexcept {
        while (!(table.slots[at] == key)) {
            if (table.slots[at] == Key{}) {
                return false;
            }
            at = (at + 1) & table.mask;
        }
        return true;
    }

    uint32_t has_joint(Joint kind, uint32_t left, uint32_t right) const noexcept {
        const uint32_t bit = joint_bit(kind, left, right);
        return joints_[bit / 8] >> bit % 8 & 1u;
    }

    const uint8_t* image_;  // mapped here, unmapped by the destructor; nullptr after a move
    size_t bytes_;
    const ImageHeader* header_ = nullptr;
    const uint16_t* char_index_ = nullptr;
    const uint8_t* char_blocks_ = nullptr;
    const uint16_t* normal_index_ = nullptr;
    const uint8_t* normal_blocks_ = nullptr;
    Table<NarrowKey> narrow_;
    Table<WideKey> wide_;
    Table<uint64_t> pairs_;
    const uint32_t* byte_tokens_ = nullptr;
    const uint32_t* byte_pairs_ = nullptr;
    const PairPilot* pair_pilots_ = nullptr;
    const TokenParts* parts_ = nullptr;
    const SuffixNode* suffix_nodes_ = nullptr;
    const uint32_t* suffix_pairs_ = nullptr;
    const uint8_t* joints_ = nullptr;
};

}  // namespace llm::tokenizer
