#include "llm/tokenizer/encoding.hpp"

#include <cstring>

#include "llm/tokenizer/prefix_counter.hpp"

namespace llm::tokenizer {
Encoding::Encoding(const Vocabulary& vocabulary, Pattern pattern, uint64_t seed)
    : vocabulary_(vocabulary),
      pattern_(pattern),
      narrow_memo_(pattern == Pattern::o200k ? 15 : 14, seed),
      wide_memo_(12, ~seed) {}

int64_t Encoding::count(const uint8_t* p, size_t bytes) noexcept {
    if (bytes <= kNarrowBytes) {
        return count_key(narrow_key(p, bytes));
    }
    return bytes <= kWideBytes ? count_key(wide_key(p, bytes)) : count_whole(p, bytes);
}

template <class Key>
int64_t Encoding::count_key(const Key& key) noexcept {
    if (vocabulary_.contains(key)) {
        return 1;
    }
    const auto set = static_cast<uint32_t>(memo_set(key));
    const uint32_t known = remembered(key, set);
    return known != 0 ? known : count_new(&key, &set, 1);
}

int64_t Encoding::count_whole(const uint8_t* p, size_t bytes) noexcept {
    if (bytes <= kMaxMergeBytes) {
        work_ += kMergeWork * bytes;
        return count_by_merging(vocabulary_, p, bytes);
    }
    add_prefix_work(bytes);
    PrefixCounter counter(vocabulary_);
    counter.feed(p, bytes);
    return counter.count();
}

template <class Key>
int64_t Encoding::count_new(const Key* keys, const uint32_t* sets, size_t number) noexcept {
    uint32_t counts[kMaxMergesAtOnce];
    count_by_merging(vocabulary_, keys, number, counts);
    int64_t tokens = 0;
    for (size_t i = 0; i < number; ++i) {
        tokens += counts[i];
        remember(keys[i], sets[i], counts[i]);
    }
    work_ += kMergeWork * sizeof(Key) * number;
    return tokens;
}

const uint8_t* Encoding::part_end(const uint8_t* p, const uint8_t* end) const noexcept {
    uint32_t left = *p >= kJointLead ? decode_utf8(p) : 0;  // the character at p; 0: a short one
    while (p < end) {
        const uint8_t* next = p + utf8_length(*p);
        if (next >= end) {
            return end;
        }
        const uint32_t right = *next >= kJointLead ? decode_utf8(next) : 0;
        if (left != 0 && right != 0 && !vocabulary_.may_join(left, next[-1], right, *next)) {
            return next;
        }
        left = right;
        p = next;
    }
    return end;
}

void PieceBatch::add_parts(const uint8_t* p, size_t bytes) noexcept {
    for (const uint8_t* end = p + bytes; p < end;) {
        const uint8_t* part = p;
        p = encoding_.part_end(p, end);
        const auto part_bytes = static_cast<size_t>(p - part);
        if (part_bytes <= kNarrowBytes) {
            add_key(narrow_key(part, part_bytes));
        } else if (part_bytes <= kWideBytes) {
            add_wide(wide_key(part, part_bytes));
        } else {
            tokens_ += encoding_.count(part, part_bytes);
        }
    }
}

void PieceBatch::look_up() noexcept {
    size_t unknown = 0;
    for (size_t i = 0; i < size_; ++i) {
        const auto [key, home] = pieces_[i];
        if (!encoding_.vocabulary().contains(key, home)) {
            const size_t set = encoding_.memo_set(key);
            encoding_.prefetch_memo(set);
            pieces_[unknown++] = {key, static_cast<uint32_t>(set)};
        }
    }
    tokens_ += static_cast<int64_t>(size_ - unknown);
    size_ = 0;
    for (size_t i = 0; i < unknown; ++i) {
        const auto [key, set] = pieces_[i];
        const uint32_t known = encoding_.remembered(key, set);
        tokens_ += known;
        if (known == 0 && !add_apart(key, set)) {
            add_new(new_narrow_, key, set);
        }
    }
}

// A new piece of several parts, if it is one: most parts are tokens.
bool PieceBatch::add_apart(const NarrowKey& key, uint32_t set) noexcept {
    constexpr uint64_t kHighBits = 0x8080808080808080u;
    if (((key.word[0] | key.word[1]) & kHighBits) == 0) {
        return false;
    }
    uint8_t text[sizeof(key) + 32] = {};
    std::memcpy(text, &key, sizeof(key));
    const uint8_t* p = text;
    const uint8_t* end = p + text[kNarrowBytes];
    const uint8_t* part_end = encoding_.part_end(p, end);
    if (part_end == end) {
        return false;
    }
    int64_t count = 0;
    for (; p < end; p = part_end) {
        part_end = encoding_.part_end(p, end);
        count += encoding_.count(p, static_cast<size_t>(part_end - p));
    }
    encoding_.remember(key, set, static_cast<uint32_t>(count));
    tokens_ += count;
    return true;
}

void PieceBatch::add_wide(const WideKey& key) noexcept {
    if (encoding_.vocabulary().contains(key)) {
        ++tokens_;
        return;
    }
    const size_t set = encoding_.memo_set(key);
    const uint32_t known = encoding_.remembered(key, set);
    tokens_ += known;
    if (known == 0) {
        add_new(new_wide_, key, set);
    }
}

template <class Key>
void PieceBatch::add_new(New<Key>& pieces, const Key& key, size_t set) noexcept {
    pieces.keys[pieces.size] = key;
    pieces.sets[pieces.size] = static_cast<uint32_t>(set);
    if (++pieces.size == kMaxMergesAtOnce) {
        merge(pieces);
    }
}

template <class Key>
void PieceBatch::merge(New<Key>& pieces) noexcept {
    tokens_ += encoding_.count_new(pieces.keys.data(), pieces.sets.data(), pieces.size);
    pieces.size = 0;
}

int64_t PieceBatch::finish() noexcept {
    look_up();
    merge(new_narrow_);
    merge(new_wide_);
    return tokens_;
}

}  // namespace llm::tokenizer
