#include "llm/tokenizer/prefix_counter.hpp"

#include <algorithm>

namespace llm::tokenizer {
namespace {

// Children lie in the order of their bytes. 0: none (the root is nobody's child).
uint32_t child(const Vocabulary& vocabulary, SuffixNode node, uint8_t byte) noexcept {
    uint32_t begin = node.first_child();
    uint32_t count = node.children();
    while (count > 1) {
        const uint32_t half = count / 2;
        begin += vocabulary.suffix_node(begin + half).byte() <= byte ? half : 0;
        count -= half;
    }
    return count == 1 && vocabulary.suffix_node(begin).byte() == byte ? begin : 0;
}

}  // namespace

// Goes back in time, to the two tokens that stood at the boundary before each merge next to it, and
// asks whether they would have merged first.
bool PrefixCounter::are_neighbours(uint32_t left, uint32_t right) const noexcept {
    uint32_t until = kNoToken;  // merges below this rank happen while left and right stand there
    for (;;) {
        if (vocabulary_->merge(left, right) < until) {
            return false;
        }
        if (left < kByteTokens && right < kByteTokens) {
            return true;
        }
        // Of two merges of one rank the left one is first: right's own is undone before left's, and
        // one that crosses the boundary comes before right's but not before left's.
        if (left > right) {
            until = left;
            left = vocabulary_->parts(left).right;
        } else {
            until = right + 1;
            right = vocabulary_->parts(right).left;
        }
    }
}

bool PrefixCounter::try_last(uint32_t token, size_t token_bytes) noexcept {
    State& here = state(0);
    int64_t before = 0;
    if (token_bytes != size_) {
        const State& shorter = state(token_bytes);
        if (!are_neighbours(shorter.last_token, token)) {
            return false;
        }
        before = shorter.count;
    }
    here.count = before + 1;
    here.last_token = token;
    here.last_bytes = static_cast<uint8_t>(token_bytes);
    return true;
}

void PrefixCounter::feed(uint8_t byte) noexcept {
    ++size_;
    state(0).byte = byte;
    if (repeated_ >= kMaxTokenBytes && byte == state(kPeriod).byte) {
        const State& before = state(kPeriod);
        state(0) = {state(1).count + before.count - state(kPeriod + 1).count, before.last_token,
                    before.last_bytes, byte};
        return;
    }
    find_last(byte);
    note_repetition();
}

// Of the tokens that end here, the previous byte's last token with this byte added is the likeliest
// to be the one; then the longest.
void PrefixCounter::find_last(uint8_t byte) noexcept {
    if (size_ == 1) {
        try_last(vocabulary_->byte_token(byte), 1);
        return;
    }
    struct Candidate {
        uint32_t token;
        uint32_t bytes;
    };
    std::array<Candidate, kMaxTokenBytes> candidates;
    size_t found = 0;
    candidates[found++] = {vocabulary_->byte_token(byte), 1};
    const uint32_t likely_bytes = state(1).last_bytes + 1u;
    const auto most_bytes = static_cast<uint32_t>(std::min<uint64_t>(size_, kMaxTokenBytes));
    uint32_t node = vocabulary_->suffix_pair(byte, state(1).byte);
    for (uint32_t bytes = 2; node != 0; ++bytes) {
        const SuffixNode suffix = vocabulary_->suffix_node(node);
        if (suffix.token() != kNoToken) {
            if (bytes == likely_bytes && try_last(suffix.token(), bytes)) {
                return;
            }
            candidates[found++] = {suffix.token(), bytes};
        }
        node = bytes == most_bytes ? 0 : child(*vocabulary_, suffix, state(bytes).byte);
    }
    while (found > 0 && !try_last(candidates[found - 1].token, candidates[found - 1].bytes)) {
        --found;
    }
}

void PrefixCounter::note_repetition() noexcept {
    const bool repeats = size_ > kPeriod + 1 && state(0).byte == state(kPeriod).byte &&
                         state(0).last_token == state(kPeriod).last_token;
    repeated_ = repeats ? repeated_ + 1 : 0;
}

}  // namespace llm::tokenizer
