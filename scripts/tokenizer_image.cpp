// tokenizer-image NAME RANKS CHAR_CLASSES NORMAL_CLASSES IMAGE: builds the image of an encoding
// (see llm/tokenizer/image_layout.hpp) from its rank file ("base64 rank" lines) and the classes of
// characters that scripts/build-unicode-tables wrote.

#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "llm/tokenizer/char_class.hpp"
#include "llm/tokenizer/image_layout.hpp"

using namespace llm::tokenizer;

namespace {

constexpr std::string_view kUnicodeVersion = "16.0.0";

using Bytes = std::string;

const uint8_t* octets(const Bytes& bytes) {
    return reinterpret_cast<const uint8_t*>(bytes.data());
}

uint8_t byte_at(const Bytes& bytes, size_t i) {
    return static_cast<uint8_t>(bytes[i]);
}

std::string read_file(const char* path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw std::runtime_error(std::string("cannot read ") + path);
    }
    return {std::istreambuf_iterator<char>(in), {}};
}

Bytes decode_base64(const std::string& text) {
    Bytes out(text.size(), '\0');
    const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
    const auto padding = std::count(text.begin(), text.end(), '=');
    if (size < padding) {
        throw std::runtime_error("not base64: " + text);
    }
    out.resize(static_cast<size_t>(size - padding));
    return out;
}

// The tokens of an encoding; a token's id is its rank and its place here.
struct Ranks {
    std::vector<Bytes> tokens;
    std::unordered_map<Bytes, uint32_t> ids;

    uint32_t find(const Bytes& bytes) const {
        const auto it = ids.find(bytes);
        return it == ids.end() ? kNoToken : it->second;
    }
};

Ranks parse_ranks(const std::string& file) {
    Ranks ranks;
    std::istringstream in(file);
    std::string text;
    size_t rank = 0;
    while (in >> text >> rank) {
        if (rank != ranks.tokens.size()) {
            throw std::runtime_error("ranks have a gap before " + std::to_string(rank));
        }
        ranks.tokens.push_back(decode_base64(text));
        ranks.ids.emplace(ranks.tokens.back(), static_cast<uint32_t>(rank));
        const size_t size = ranks.tokens.back().size();
        if (size == 0 || size > kMaxTokenBytes || (size == 1) != (rank < kByteTokens)) {
            throw std::runtime_error("unexpected token " + std::to_string(rank));
        }
    }
    if (ranks.tokens.size() <= kByteTokens || ranks.tokens.size() >= kNoToken ||
        ranks.ids.size() != ranks.tokens.size()) {
        throw std::runtime_error("not a complete list of ranks");
    }
    return ranks;
}

// What the last merge of a token joins: its bytes are encoded by all the merges before its own.
TokenParts last_merge(const Ranks& ranks, uint32_t token) {
    const Bytes& bytes = ranks.tokens[token];
    std::vector<Bytes> parts;
    for (const char byte : bytes) {
        parts.emplace_back(1, byte);
    }
    while (parts.size() > 2) {
        size_t best = 0;
        uint32_t best_rank = kNoToken;
        for (size_t i = 0; i + 1 < parts.size(); ++i) {
            const uint32_t rank = ranks.find(parts[i] + parts[i + 1]);
            if (rank < best_rank) {
                best_rank = rank;
                best = i;
            }
        }
        if (best_rank >= token) {
            throw std::runtime_error("token " + std::to_string(token) + " is never made");
        }
        parts[best] += parts[best + 1];
        parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    return {ranks.find(parts[0]), ranks.find(parts[1])};
}

template <class T>
Bytes raw(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// The number of bits of a table that is at most `load` full.
uint32_t table_bits(size_t entries, double load) {
    uint32_t bits = 4;
    while (static_cast<double>(entries) > load * static_cast<double>(size_t{1} << bits)) {
        ++bits;
    }
    return bits;
}

template <class Slot, class Key>
void insert(std::vector<Slot>& table, uint32_t bits, const Key& key, const Slot& slot,
            const Slot& empty) {
    size_t at = home_slot(key, bits);
    while (!(table[at] == empty)) {
        at = (at + 1) & (table.size() - 1);
    }
    table[at] = slot;
}

template <class Key>
Bytes key_table(const Ranks& ranks, size_t min_bytes, size_t max_bytes,
                Key (*make)(const uint8_t*, size_t)) {
    const auto fits = [&](const Bytes& t) {
        return t.size() >= min_bytes && t.size() <= max_bytes;
    };
    const auto entries =
        static_cast<size_t>(std::count_if(ranks.tokens.begin(), ranks.tokens.end(), fits));
    const uint32_t bits = table_bits(entries, 0.5);
    std::vector<Key> table(size_t{1} << bits, Key{});
    for (const Bytes& token : ranks.tokens) {
        if (fits(token)) {
            Bytes padded = token;
            padded.resize(32);
            const Key key = make(octets(padded), token.size());
            insert(table, bits, key, key, Key{});
        }
    }
    return raw(table);
}

Bytes byte_tokens(const Ranks& ranks) {
    std::vector<uint32_t> tokens(256);
    for (uint32_t byte = 0; byte < 256; ++byte) {
        tokens[byte] = ranks.find(Bytes(1, static_cast<char>(byte)));
    }
    return raw(tokens);
}

Bytes byte_pairs(const Ranks& ranks) {
    std::vector<uint32_t> tokens(65536, kNoToken);
    for (uint32_t token = kByteTokens; token < ranks.tokens.size(); ++token) {
        const Bytes& bytes = ranks.tokens[token];
        if (bytes.size() == 2) {
            tokens[byte_at(bytes, 0) | byte_at(bytes, 1) << 8] = token;
        }
    }
    return raw(tokens);
}

struct PairTable {
    Bytes slots;
    Bytes pilots;
};

// The pairs of one pilot have to find slots together, so those with many are placed first.
class PairPlaces {
  public:
    explicit PairPlaces(const std::vector<TokenParts>& parts)
        : bits_(table_bits(parts.size(), 0.8)),
          slots_(size_t{1} << bits_, kNoPair),
          pilots_(slots_.size() / 2) {
        std::vector<std::vector<uint64_t>> groups(pilots_.size());
        for (uint32_t token = kByteTokens; token < parts.size(); ++token) {
            const auto [left, right] = parts[token];
            groups[PairHash(left, right).pilot_place(bits_)].push_back(
                pair_slot(left, right, token));
        }
        std::vector<size_t> order(groups.size());
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return groups[a].size() > groups[b].size(); });
        for (const size_t group : order) {
            place(groups[group], pilots_[group]);
        }
    }

    PairTable table() const { return {raw(slots_), raw(pilots_)}; }

  private:
    static PairHash hash(uint64_t slot) {
        return {static_cast<uint32_t>(slot >> 2 * kTokenBits),
                static_cast<uint32_t>(slot >> kTokenBits & kNoToken)};
    }

    void place(const std::vector<uint64_t>& pairs, PairPilot& chosen) {
        for (uint32_t pilot = 0; pilot < 256; ++pilot) {
            if (try_pilot(pairs, static_cast<uint8_t>(pilot))) {
                chosen.pilot = static_cast<uint8_t>(pilot);
                for (const uint64_t pair : pairs) {
                    chosen.filter =
                        static_cast<uint8_t>(chosen.filter | 1u << hash(pair).filter_bit());
                }
                return;
            }
        }
        throw std::runtime_error("no place for a pair");
    }

    bool try_pilot(const std::vector<uint64_t>& pairs, uint8_t pilot) {
        for (size_t i = 0; i < pairs.size(); ++i) {
            uint64_t& slot = slots_[hash(pairs[i]).slot_place(pilot, bits_)];
            if (slot != kNoPair) {
                for (size_t placed = 0; placed < i; ++placed) {
                    slots_[hash(pairs[placed]).slot_place(pilot, bits_)] = kNoPair;
                }
                return false;
            }
            slot = pairs[i];
        }
        return true;
    }

    uint32_t bits_;
    std::vector<uint64_t> slots_;
    std::vector<PairPilot> pilots_;
};

struct SuffixTrie {
    Bytes nodes;
    Bytes pairs;
};

// Breadth first over the reversed tokens in their order, so that siblings lie side by side.
SuffixTrie suffix_trie(const Ranks& ranks) {
    std::vector<std::pair<Bytes, uint32_t>> reversed;
    for (uint32_t token = 0; token < ranks.tokens.size(); ++token) {
        reversed.emplace_back(Bytes(ranks.tokens[token].rbegin(), ranks.tokens[token].rend()),
                              token);
    }
    std::sort(reversed.begin(), reversed.end());

    struct Range {
        size_t begin;
        size_t end;
        size_t depth;
        uint8_t byte;
    };
    std::vector<Range> queue = {{0, reversed.size(), 0, 0}};
    std::vector<SuffixNode> nodes;
    std::vector<uint32_t> pairs(65536, 0);
    for (size_t node = 0; node < queue.size(); ++node) {
        const Range range = queue[node];
        size_t at = range.begin;
        uint32_t token = kNoToken;
        if (reversed[at].first.size() == range.depth) {
            token = reversed[at++].second;
        }
        if (range.depth == 2) {
            const Bytes& bytes = reversed[range.begin].first;
            pairs[byte_at(bytes, 0) << 8 | byte_at(bytes, 1)] = static_cast<uint32_t>(node);
        }
        const auto first_child = static_cast<uint32_t>(queue.size());
        while (at < range.end) {
            const uint8_t byte = byte_at(reversed[at].first, range.depth);
            size_t end = at;
            while (end < range.end && byte_at(reversed[end].first, range.depth) == byte) {
                ++end;
            }
            queue.push_back({at, end, range.depth + 1, byte});
            at = end;
        }
        const auto children = static_cast<uint32_t>(queue.size()) - first_child;
        nodes.push_back(SuffixNode::make(first_child, children, token, range.byte));
    }
    if (nodes.size() >= SuffixNode::kMaxNodes) {
        throw std::runtime_error("too many suffixes");
    }
    return {raw(nodes), raw(pairs)};
}

bool is_continuation(uint8_t byte) {
    return (byte & 0xC0) == 0x80;
}

// Which characters some token joins: every place inside a token where a character may begin.
class Joints {
  public:
    explicit Joints(const Ranks& ranks) : bits_((size_t{1} << kJointBits) / 8) {
        for (const Bytes& token : ranks.tokens) {
            for (size_t at = 1; at < token.size(); ++at) {
                if (byte_at(token, at) >= kJointLead) {
                    add(token, at);
                }
            }
        }
    }

    Bytes bytes() const { return raw(bits_); }

  private:
    // Ends a token in the middle of a character, the character is known by its first byte only; so
    // is one by its last byte that begins before the token.
    void add(const Bytes& token, size_t at) {
        size_t left = at - 1;
        while (left > 0 && is_continuation(byte_at(token, left))) {
            --left;
        }
        const bool left_whole = !is_continuation(byte_at(token, left));
        const bool right_whole = at + utf8_length(byte_at(token, at)) <= token.size();
        if (left_whole && byte_at(token, left) < kJointLead) {
            return;
        }
        if (left_whole && right_whole) {
            set(Joint::whole, decode_utf8(octets(token) + left), decode_utf8(octets(token) + at));
        } else if (left_whole) {
            set(Joint::cut_right, decode_utf8(octets(token) + left), byte_at(token, at));
        } else if (right_whole) {
            set(Joint::cut_left, byte_at(token, at - 1), decode_utf8(octets(token) + at));
        } else {
            add_cut_both(byte_at(token, at - 1), byte_at(token, at));
        }
    }

    // Rare: as if the token went on with every character of that first byte.
    void add_cut_both(uint8_t last, uint8_t lead) {
        const uint32_t first = lead < 0xF0 ? (lead & 0x0Fu) << 12 : (lead & 0x07u) << 18;
        const uint32_t number = lead < 0xF0 ? 1u << 12 : 1u << 18;
        for (uint32_t i = 0; i < number; ++i) {
            set(Joint::cut_left, last, first + i);
        }
    }

    void set(Joint kind, uint32_t left, uint32_t right) {
        const uint32_t bit = joint_bit(kind, left, right);
        bits_[bit / 8] = static_cast<uint8_t>(bits_[bit / 8] | 1u << bit % 8);
    }

    std::vector<uint8_t> bits_;
};

struct CharTable {
    Bytes index;
    Bytes blocks;
};

CharTable char_table(const std::string& file) {
    std::vector<uint8_t> classes(0x110000);
    std::istringstream in(file);
    for (std::string line; std::getline(in, line);) {
        unsigned first = 0;
        unsigned last = 0;
        unsigned bits = 0;
        if (!line.empty() && line[0] != '#') {
            if (std::sscanf(line.c_str(), "%x %x %u", &first, &last, &bits) != 3 || last < first ||
                last >= classes.size() || bits > 255) {
                throw std::runtime_error("unexpected character class: " + line);
            }
            std::fill(classes.begin() + first, classes.begin() + last + 1,
                      static_cast<uint8_t>(bits));
        }
    }
    std::map<Bytes, uint16_t> numbers;
    std::vector<uint16_t> index;
    Bytes blocks;
    for (size_t at = 0; at < classes.size(); at += kBlock) {
        const Bytes block(classes.begin() + static_cast<ptrdiff_t>(at),
                          classes.begin() + static_cast<ptrdiff_t>(at + kBlock));
        const auto [it, added] = numbers.emplace(block, static_cast<uint16_t>(numbers.size()));
        blocks += added ? block : Bytes();
        index.push_back(it->second);
    }
    return {raw(index), blocks};
}

class Image {
  public:
    Image() : bytes_(sizeof(ImageHeader), '\0') {}

    void add(Section ImageHeader::*section, const Bytes& content) {
        bytes_.resize((bytes_.size() + kAlignment - 1) / kAlignment * kAlignment);
        header.*section = {bytes_.size(), content.size()};
        bytes_ += content;
    }

    const Bytes& finish() {
        header.magic = kImageMagic;
        header.version = kImageVersion;
        header.image_bytes = bytes_.size();
        header.content_checksum =
            checksum(octets(bytes_) + sizeof(header), bytes_.size() - sizeof(header));
        header.header_checksum = checksum(reinterpret_cast<const uint8_t*>(&header),
                                          offsetof(ImageHeader, header_checksum));
        std::memcpy(bytes_.data(), &header, sizeof(header));
        return bytes_;
    }

    ImageHeader header{};

  private:
    Bytes bytes_;
};

template <size_t N>
void copy_name(std::array<char, N>& to, std::string_view from) {
    if (from.size() >= N) {
        throw std::runtime_error("name too long");
    }
    std::copy(from.begin(), from.end(), to.begin());
}

void build(std::string_view name, const char* ranks_path, const char* classes_path,
           const char* normal_path, const char* image_path) {
    const std::string source = read_file(ranks_path);
    const Ranks ranks = parse_ranks(source);
    std::vector<TokenParts> parts(ranks.tokens.size());
    for (uint32_t token = kByteTokens; token < parts.size(); ++token) {
        parts[token] = last_merge(ranks, token);
    }
    const PairTable pairs = PairPlaces(parts).table();
    const SuffixTrie suffixes = suffix_trie(ranks);
    const CharTable classes = char_table(read_file(classes_path));
    const CharTable normal = char_table(read_file(normal_path));

    Image image;
    copy_name(image.header.encoding, name);
    copy_name(image.header.unicode_version, kUnicodeVersion);
    image.header.tokens = static_cast<uint32_t>(ranks.tokens.size());
    EVP_Digest(source.data(), source.size(), image.header.source_sha256.data(), nullptr,
               EVP_sha256(), nullptr);
    image.add(&ImageHeader::char_index, classes.index);
    image.add(&ImageHeader::char_blocks, classes.blocks);
    image.add(&ImageHeader::normal_index, normal.index);
    image.add(&ImageHeader::normal_blocks, normal.blocks);
    image.add(&ImageHeader::narrow, key_table<NarrowKey>(ranks, 1, kNarrowBytes, narrow_key));
    image.add(&ImageHeader::wide,
              key_table<WideKey>(ranks, kNarrowBytes + 1, kWideBytes, wide_key));
    image.add(&ImageHeader::byte_tokens, byte_tokens(ranks));
    image.add(&ImageHeader::byte_pairs, byte_pairs(ranks));
    image.add(&ImageHeader::pairs, pairs.slots);
    image.add(&ImageHeader::pair_pilots, pairs.pilots);
    image.add(&ImageHeader::parts, raw(parts));
    image.add(&ImageHeader::suffix_nodes, suffixes.nodes);
    image.add(&ImageHeader::suffix_pairs, suffixes.pairs);
    image.add(&ImageHeader::joints, Joints(ranks).bytes());

    const Bytes& bytes = image.finish();
    std::ofstream out(image_path, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) {
        throw std::runtime_error(std::string("cannot write ") + image_path);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        std::cerr << "usage: tokenizer-image NAME RANKS CHAR_CLASSES NORMAL_CLASSES IMAGE\n";
        return EXIT_FAILURE;
    }
    try {
        build(argv[1], argv[2], argv[3], argv[4], argv[5]);
    } catch (const std::exception& error) {
        std::cerr << "tokenizer-image: " << error.what() << '\n';
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
