#include "llm/tokenizer/encoding.hpp"

#include "llm/tokenizer/prefix_counter.hpp"

namespace llm::tokenizer {

Encoding::Encoding(const Vocabulary& vocabulary, Pattern pattern, uint64_t seed,
                   const Kernels& kernels)
    : vocabulary_(vocabulary),
      pattern_(pattern),
      kernels_(kernels),
      narrow_memo_(pattern == Pattern::o200k ? 15 : 14, seed),
      wide_memo_(pattern == Pattern::o200k ? 12 : 11, ~seed),
      long_memo_(7, seed ^ 1) {}

int64_t Encoding::count(const uint8_t* p, size_t bytes) noexcept {
    if (bytes <= kNarrowBytes) {
        return count_key(narrow_key(p, bytes));
    }
    if (bytes <= kWideBytes) {
        return count_key(wide_key(p, bytes));
    }
    return bytes <= kLongBytes ? count_long(p, bytes) : count_whole(p, bytes);
}

template <class Key>
int64_t Encoding::count_key(const Key& key) noexcept {
    if (vocabulary_.contains(key)) {
        return 1;
    }
    const auto set = static_cast<uint32_t>(memo<Key>().set_of(key));
    const uint32_t known = memo<Key>().find(key, set);
    return known != 0 ? known : count_new(&key, &set, 1);
}

// Indentation and rulers, mostly, which come again and again.
int64_t Encoding::count_long(const uint8_t* p, size_t bytes) noexcept {
    const LongKey key = long_key(p, bytes);
    const size_t set = long_memo_.set_of(key);
    if (const uint32_t known = long_memo_.find(key, set); known != 0) {
        return known;
    }
    const int64_t count = count_whole(p, bytes);
    long_memo_.add(key, set, static_cast<uint32_t>(count));
    return count;
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
    if constexpr (std::is_same_v<Key, NarrowKey>) {
        kernels_.count_narrow(vocabulary_, keys, number, counts);
    } else {
        kernels_.count_wide(vocabulary_, keys, number, counts);
    }
    int64_t tokens = 0;
    for (size_t i = 0; i < number; ++i) {
        tokens += counts[i];
        memo<Key>().add(keys[i], sets[i], counts[i]);
    }
    work_ += kMergeWork * sizeof(Key) * number;
    return tokens;
}

template int64_t Encoding::count_new(const NarrowKey*, const uint32_t*, size_t) noexcept;
template int64_t Encoding::count_new(const WideKey*, const uint32_t*, size_t) noexcept;

}  // namespace llm::tokenizer
