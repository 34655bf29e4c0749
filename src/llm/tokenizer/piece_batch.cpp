#include "llm/tokenizer/piece_batch.hpp"

namespace llm::tokenizer {

void PieceBatch::look_up() noexcept {
    std::array<uint16_t, kPieces> unknown;
    const Known known = encoding_.kernels().count_known(encoding_.memo<NarrowKey>(), text_,
                                                        ends_.data(), size_, unknown.data());
    tokens_ += known.tokens;
    for (size_t i = 0; i < known.unknown; ++i) {
        if (const size_t bytes = piece_bytes(unknown[i]); bytes <= kNarrowBytes) {
            encoding_.vocabulary().prefetch(narrow_key(text_ + ends_[unknown[i]], bytes));
        }
    }
    for (size_t i = 0; i < known.unknown; ++i) {
        add_unknown(text_ + ends_[unknown[i]], piece_bytes(unknown[i]));
    }
    ends_[0] = ends_[size_];
    size_ = 0;
}

void PieceBatch::add_unknown(const uint8_t* p, size_t bytes) noexcept {
    if (bytes <= kNarrowBytes) {
        add_unknown(narrow_, narrow_key(p, bytes));
    } else if (bytes <= kWideBytes) {
        add_unknown(wide_, wide_key(p, bytes));
    } else {
        tokens_ += encoding_.count(p, bytes);
    }
}

template <class Key>
void PieceBatch::add_unknown(Queue<Key>& queue, const Key& key) noexcept {
    const size_t set = encoding_.memo<Key>().set_of(key);
    if (const uint32_t known = encoding_.memo<Key>().find(key, set); known != 0) {
        tokens_ += known;
        return;
    }
    if (encoding_.vocabulary().contains(key)) {
        encoding_.memo<Key>().add(key, set, 1);
        ++tokens_;
        return;
    }
    queue.keys[queue.size] = key;
    queue.sets[queue.size++] = static_cast<uint32_t>(set);
    if (queue.size == kMaxMergesAtOnce) {
        count(queue);
    }
}

template <class Key>
void PieceBatch::count(Queue<Key>& queue) noexcept {
    if (queue.size != 0) {
        tokens_ += encoding_.count_new(queue.keys.data(), queue.sets.data(), queue.size);
        queue.size = 0;
    }
}

int64_t PieceBatch::finish() noexcept {
    count(narrow_);
    count(wide_);
    return tokens_;
}

}  // namespace llm::tokenizer
