#include "llm/tokenizer/counter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "llm/tokenizer/char_sets.hpp"
#include "llm/tokenizer/piece_block.hpp"

namespace llm::tokenizer {

void Counter::feed(std::string_view part, TextForm form) noexcept {
    const auto* in = reinterpret_cast<const uint8_t*>(part.data());
    const uint8_t* in_end = in + part.size();
    PieceBatch batch(*encoding_);
    while (in < in_end) {
        const auto [read, written] =
            decoder_.decode(encoding_->kernels(), in, in_end, buffer_.data() + size_,
                            buffer_.data() + kCapacity, form);
        in = read;
        if (characters_ != nullptr) {
            count_characters(buffer_.data() + size_, written);
        }
        if (encoding_->alters_text()) {
            normal_form_.feed(buffer_.data() + size_, written);
            special_mark_.feed(buffer_.data() + size_, written);
        }
        size_ = static_cast<size_t>(written - buffer_.data());
        if (in < in_end || size_ - waiting_ >= std::max(kMinMore, waiting_)) {
            consume_any(batch, false);
        }
    }
    tokens_ += batch.finish();
}

void Counter::finish() noexcept {
    PieceBatch batch(*encoding_);
    if (kCapacity - size_ < TextDecoder::kRoom) {
        consume_any(batch, false);
    }
    size_ = static_cast<size_t>(decoder_.finish(buffer_.data() + size_) - buffer_.data());
    consume_any(batch, true);
    tokens_ += batch.finish();
    normal_form_.finish();
    special_mark_.finish();
}

// By the first bytes of their sequences.
void Counter::count_characters(const uint8_t* p, const uint8_t* end) noexcept {
    for (; p < end; ++p) {
        characters_->two += *p >= 0xC0 && *p < 0xE0;
        characters_->three += *p >= 0xE0 && *p < 0xF0;
        characters_->four += *p >= 0xF0;
    }
}

int64_t Counter::tokens_at_most() const noexcept {
    constexpr int64_t kMaxUnfinished = 6;  // U+FFFD for a surrogate and for an escape
    return tokens_ + long_bytes_ + static_cast<int64_t>(size_) + kMaxUnfinished;
}

void Counter::consume_any(PieceBatch& batch, bool is_last) noexcept {
    switch (encoding_->pattern()) {
        case Pattern::cl100k:
            return consume<Pattern::cl100k>(batch, is_last);
        case Pattern::o200k:
            return consume<Pattern::o200k>(batch, is_last);
        case Pattern::qwen2:
            return consume<Pattern::qwen2>(batch, is_last);
    }
}

template <Pattern kPattern>
void Counter::consume(PieceBatch& batch, bool is_last) noexcept {
    const uint8_t* p = buffer_.data();
    const uint8_t* end = p + size_;
    if (long_piece_.active()) {
        p = count_long_piece<kPattern>(p, end, is_last);
    }
    if (!long_piece_.active()) {
        p = add_pieces<kPattern>(batch, p, end, is_last);
        if (static_cast<size_t>(end - p) >= kMaxWaiting) {
            const uint8_t* begun = long_piece_.begin<kPattern>(p);
            long_bytes_ = begun - p;
            p = count_long_piece<kPattern>(begun, end, is_last);
        }
    }
    size_ = static_cast<size_t>(end - p);
    waiting_ = size_;
    std::memmove(buffer_.data(), p, size_);
}

template <Pattern kPattern>
const uint8_t* Counter::add_pieces(PieceBatch& batch, const uint8_t* p, const uint8_t* end,
                                   bool is_last) noexcept {
    const uint8_t* text = p;
    const auto size = static_cast<size_t>(end - text);
    batch.begin(text);
    Scanner<kPattern> scanner(encoding_->vocabulary());
    CharMap map;
    map.fill(encoding_->kernels(), encoding_->vocabulary(), kPattern, text, size);
    while (batch.end() < size) {
        encoding_->kernels().add_blocks(kPattern, map, text, size, batch);
        const size_t begin = batch.end();
        if (begin == size) {
            break;
        }
        const auto piece_end = static_cast<size_t>(scanner.piece(text + begin, end) - text);
        if (scanner.met_end() && !is_last) {
            break;
        }
        for (size_t at = begin; at < piece_end;) {
            at = map.next_cut(at, piece_end);
            batch.add(at);
        }
    }
    batch.look_up();
    return text + batch.end();
}

template <Pattern kPattern>
const uint8_t* Counter::count_long_piece(const uint8_t* p, const uint8_t* end,
                                         bool is_last) noexcept {
    const uint8_t* read = long_piece_.feed<kPattern>(p, end, is_last);
    long_bytes_ += read - p;
    encoding_->add_prefix_work(static_cast<size_t>(read - p));
    if (!long_piece_.active()) {
        tokens_ += long_piece_.tokens();
        long_bytes_ = 0;
    }
    return read;
}

}  // namespace llm::tokenizer
