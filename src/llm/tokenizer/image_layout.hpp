#pragma once

// The binary image of an encoding: what scripts/tokenizer-image writes and a Vocabulary maps.
// Little endian; every section begins at a multiple of kAlignment; offsets count from the image's
// first byte.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace llm::tokenizer {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

inline constexpr std::array<char, 8> kImageMagic = {'L', 'L', 'M', 'T', 'O', 'K', 'E', 'N'};
inline constexpr uint32_t kImageVersion = 4;
inline constexpr size_t kAlignment = 64;

inline constexpr uint32_t kTokenBits = 18;
inline constexpr uint32_t kNoToken = (1u << kTokenBits) - 1;
inline constexpr size_t kMaxTokenBytes = 128;
inline constexpr uint32_t kByteTokens = 256;  // the ids below are the single bytes

struct Section {
    uint64_t offset = 0;
    uint64_t bytes = 0;
};

struct ImageHeader {
    std::array<char, 8> magic;
    uint32_t version;
    uint32_t tokens;                        // ids are 0 … tokens-1, and ranks too
    std::array<char, 32> encoding;          // "o200k_base", zero-padded
    std::array<uint8_t, 32> source_sha256;  // of the rank file
    std::array<char, 16> unicode_version;   // "16.0.0"
    uint64_t image_bytes;
    uint64_t content_checksum;  // checksum() of all that follows the header

    Section char_index;    // u16 by code point / kBlock: the block's number
    Section char_blocks;   // u8[kBlock] by block number: CharClass bits
    Section normal_index;  // the same two tables for NormalClass bits
    Section normal_blocks;
    Section narrow;        // NarrowKey, 2^n slots: every token of at most kNarrowBytes
    Section wide;          // WideKey, 2^n slots: every token of kNarrowBytes+1 … kWideBytes
    Section byte_tokens;   // u32[256]: the token of a byte
    Section byte_pairs;    // u32[65536] by first|second<<8: the token of two bytes, or kNoToken
    Section pairs;         // u64, 2^n slots: pair_slot(left, right, merged) or kNoPair
    Section pair_pilots;   // PairPilot, 2^(n-1), by PairHash: which slot is a pair's
    Section parts;         // TokenParts by token: what its last merge joined
    Section suffix_nodes;  // u64 by node: a trie over the reversed tokens, see SuffixNode
    Section suffix_pairs;  // u32[65536] by last<<8|last-but-one: the node of two bytes, 0: none
    Section joints;        // bits by joint_bit(): two characters that some token may join

    uint64_t header_checksum;  // checksum() of the header before this field
};

// Bytes and their number in one comparable value: zero-padded text, the number in the last byte.
inline constexpr size_t kNarrowBytes = 15;
struct NarrowKey {
    uint64_t word[2];
    bool operator==(const NarrowKey&) const = default;
};

// The last two bytes are free for a count and the number.
inline constexpr size_t kWideBytes = 30;
struct WideKey {
    uint64_t word[4];
    bool operator==(const WideKey&) const = default;
};

// For memos only: the tables have no such key.
inline constexpr size_t kLongBytes = 126;
struct LongKey {
    uint64_t word[16];
    bool operator==(const LongKey&) const = default;
};

struct TokenParts {
    uint32_t left;
    uint32_t right;
};

inline uint64_t load_word(const uint8_t* p) noexcept {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    return word;
}

// The lowest `bytes` bytes of a word; 0 … 8.
inline uint64_t low_bytes(uint64_t word, size_t bytes) noexcept {
    return bytes >= 8 ? word : word & ((uint64_t{1} << (bytes * 8)) - 1);
}

// bytes ≤ kNarrowBytes; 16 bytes can be read at p.
inline NarrowKey narrow_key(const uint8_t* p, size_t bytes) noexcept {
    alignas(16) static constexpr uint64_t kMasks[kNarrowBytes + 1][2] = {
        {0, 0},
        {0xFF, 0},
        {0xFFFF, 0},
        {0xFFFFFF, 0},
        {0xFFFFFFFF, 0},
        {0xFFFFFFFFFF, 0},
        {0xFFFFFFFFFFFF, 0},
        {0xFFFFFFFFFFFFFF, 0},
        {~uint64_t{0}, 0},
        {~uint64_t{0}, 0xFF},
        {~uint64_t{0}, 0xFFFF},
        {~uint64_t{0}, 0xFFFFFF},
        {~uint64_t{0}, 0xFFFFFFFF},
        {~uint64_t{0}, 0xFFFFFFFFFF},
        {~uint64_t{0}, 0xFFFFFFFFFFFF},
        {~uint64_t{0}, 0xFFFFFFFFFFFFFF},
    };
    return {{load_word(p) & kMasks[bytes][0],
             (load_word(p + 8) & kMasks[bytes][1]) | uint64_t{bytes} << 56}};
}

// kNarrowBytes < bytes ≤ kWideBytes; 32 bytes can be read at p.
inline WideKey wide_key(const uint8_t* p, size_t bytes) noexcept {
    const size_t third = bytes > 24 ? 8 : bytes - 16;
    const size_t fourth = bytes > 24 ? bytes - 24 : 0;
    return {{load_word(p), load_word(p + 8), low_bytes(load_word(p + 16), third),
             low_bytes(load_word(p + 24), fourth) | uint64_t{bytes} << 56}};
}

// kWideBytes < bytes ≤ kLongBytes.
inline LongKey long_key(const uint8_t* p, size_t bytes) noexcept {
    LongKey key{};
    std::memcpy(key.word, p, bytes);
    key.word[15] |= uint64_t{bytes} << 56;
    return key;
}

// Where a key's search begins in a table of 2^bits slots: a fixed hash, for the tables of an image
// only. (Nobody but the builder puts a key into them, so nobody can choose collisions.)
inline size_t home_slot(const NarrowKey& key, uint32_t bits) noexcept {
    const uint64_t hash = key.word[0] * 0x9E3779B97F4A7C15u + key.word[1] * 0xC2B2AE3D27D4EB4Fu;
    return hash >> (64 - bits);
}

inline size_t home_slot(const WideKey& key, uint32_t bits) noexcept {
    const uint64_t hash = key.word[0] * 0x9E3779B97F4A7C15u + key.word[1] * 0xC2B2AE3D27D4EB4Fu +
                          key.word[2] * 0x165667B19E3779F9u + key.word[3] * 0x27D4EB2F165667C5u;
    return hash >> (64 - bits);
}

inline constexpr uint64_t kNoPair = ~uint64_t{0};

inline uint64_t pair_key(uint32_t left, uint32_t right) noexcept {
    return uint64_t{left} << kTokenBits | right;
}

inline uint64_t pair_slot(uint32_t left, uint32_t right, uint32_t merged) noexcept {
    return pair_key(left, right) << kTokenBits | merged;
}

// Every pair that merges has a slot of its own: one hash tells a pilot, another and the pilot the
// slot. The builder chose the pilots so. (After Pibiri and Trani, PTHash, SIGIR 2021.) 32 bits at a
// time, so that many pairs can be hashed at once.
inline constexpr uint32_t kPilotHash[2] = {0x9E3779B1, 0x85EBCA77};
inline constexpr uint32_t kSlotHash[2] = {0xC2B2AE3D, 0x27D4EB2F};
inline constexpr uint32_t kPilotSpread = 0x2545F;
inline constexpr uint32_t kFilterShift = 12;

// Most pairs do not merge, which most often shows here, where much of it stays in the cache.
struct PairPilot {
    uint8_t pilot = 0;
    uint8_t filter = 0;  // bits by filter_bit() of the pairs of this pilot
};

struct PairHash {
    PairHash(uint32_t left, uint32_t right) noexcept
        : pilot(left * kPilotHash[0] + right * kPilotHash[1]),
          slot(left * kSlotHash[0] + right * kSlotHash[1]) {}

    size_t pilot_place(uint32_t slot_bits) const noexcept { return pilot >> (33 - slot_bits); }
    uint32_t filter_bit() const noexcept { return pilot >> kFilterShift & 7; }
    uint32_t slot_place(uint8_t pilot, uint32_t slot_bits) const noexcept {
        return (slot >> (32 - slot_bits) ^ pilot * kPilotSpread) & ((1u << slot_bits) - 1);
    }

    uint32_t pilot;
    uint32_t slot;
};

// A node stands for a byte string that ends tokens; its children are one byte longer at the front
// and lie side by side, in the order of that byte.
struct SuffixNode {
    uint64_t packed;

    static constexpr uint32_t kMaxNodes = 1u << 24;

    static SuffixNode make(uint32_t first_child, uint32_t children, uint32_t token, uint8_t byte) {
        return {uint64_t{first_child} | uint64_t{children} << 24 | uint64_t{token} << 33 |
                uint64_t{byte} << 51};
    }
    uint32_t first_child() const noexcept { return packed & 0xFFFFFF; }
    uint32_t children() const noexcept { return packed >> 24 & 0x1FF; }
    uint32_t token() const noexcept { return packed >> 33 & kNoToken; }
    uint8_t byte() const noexcept { return static_cast<uint8_t>(packed >> 51); }
};

// A bitmap over hashes: a bit that is not set proves that no token joins the two. Three kinds of
// facts share it: (character, character), (character, first byte of the next), (last byte,
// character).
inline constexpr uint32_t kJointBits = 20;
enum class Joint : uint32_t { whole = 0, cut_right = 1, cut_left = 2 };

inline constexpr uint32_t kJointHash[3] = {0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D};

inline uint32_t joint_bit(Joint kind, uint32_t left, uint32_t right) noexcept {
    const uint32_t hash =
        left * kJointHash[0] + right * kJointHash[1] + static_cast<uint32_t>(kind) * kJointHash[2];
    return hash >> (32 - kJointBits);
}

// Only boundaries between characters of at least this many bytes are tested for joints.
inline constexpr uint8_t kJointLead = 0xE0;

inline constexpr size_t kBlock = 64;  // code points

// Against a torn or mistaken file, not against an enemy (who could as well replace the module).
inline uint64_t checksum(const uint8_t* p, size_t bytes) noexcept {
    uint64_t lane[4] = {1, 2, 3, 4};
    while (bytes >= 32) {
        for (size_t i = 0; i < 4; ++i) {
            lane[i] = (lane[i] ^ load_word(p + i * 8)) * 0x9E3779B97F4A7C15u;
            lane[i] ^= lane[i] >> 29;
        }
        p += 32;
        bytes -= 32;
    }
    for (; bytes > 0; --bytes) {
        lane[0] = (lane[0] ^ *p++) * 0x9E3779B97F4A7C15u;
    }
    return lane[0] ^ lane[1] * 3 ^ lane[2] * 5 ^ lane[3] * 7;
}

}  // namespace llm::tokenizer
