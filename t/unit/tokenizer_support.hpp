#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <string_view>

#include "llm/tokenizer/counter.hpp"

namespace tokenizer_support {

using namespace llm::tokenizer;

inline std::string image_path(std::string_view encoding) {
    const char* dir = std::getenv("LLM_TOKENIZER_DIR");
    return std::string(dir == nullptr ? "build/tokenizer" : dir) + "/" + std::string(encoding) +
           ".image";
}

// Mapped once for all tests.
inline const Vocabulary& vocabulary(const std::string& encoding) {
    static std::map<std::string, llm::Result<Vocabulary>> opened;
    auto it = opened.find(encoding);
    if (it == opened.end()) {
        it = opened.emplace(encoding, Vocabulary::open(image_path(encoding), encoding)).first;
    }
    if (!it->second) {
        throw std::runtime_error(it->second.error());
    }
    return *it->second;
}

// The tokens of a text that comes in parts of 1 … most_bytes bytes; 0: in one.
inline int64_t count(Encoding& encoding, std::string_view text, TextForm form = TextForm::plain,
                     size_t most_bytes = 0) {
    static std::minstd_rand random(1);
    Counter counter(encoding);
    while (!text.empty()) {
        const size_t bytes = most_bytes == 0 ? text.size() : 1 + random() % most_bytes;
        counter.feed(text.substr(0, bytes), form);
        text.remove_prefix(std::min(bytes, text.size()));
    }
    const int64_t at_most = counter.tokens_at_most();
    counter.finish();
    EXPECT_GE(at_most, counter.tokens());
    return counter.tokens();
}

inline bool is_exact(const std::string& name, std::string_view text,
                     TextForm form = TextForm::plain) {
    Encoding encoding(vocabulary(name), pattern_of(name), 1);
    Counter counter(encoding);
    counter.feed(text, form);
    counter.finish();
    return counter.is_exact();
}

inline void append_utf8(uint32_t code_point, std::string& text) {
    const auto add = [&text](uint32_t byte) { text += static_cast<char>(byte); };
    if (code_point < 0x80) {
        add(code_point);
    } else if (code_point < 0x800) {
        add(0xC0 | code_point >> 6);
        add(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        add(0xE0 | code_point >> 12);
        add(0x80 | (code_point >> 6 & 0x3F));
        add(0x80 | (code_point & 0x3F));
    } else {
        add(0xF0 | code_point >> 18);
        add(0x80 | (code_point >> 12 & 0x3F));
        add(0x80 | (code_point >> 6 & 0x3F));
        add(0x80 | (code_point & 0x3F));
    }
}

// Text that dwells on what the patterns tell apart.
class RandomText {
  public:
    explicit RandomText(uint32_t seed) : random_(seed) {}

    std::string next(size_t most_characters) {
        const uint32_t kinds[3] = {below(kKinds), below(kKinds), below(kKinds)};
        std::string text;
        for (size_t left = 1 + below(static_cast<uint32_t>(most_characters)); left > 0; --left) {
            const uint32_t code_point = character(kinds[below(3)]);
            for (uint32_t times = below(12) == 0 ? below(20) : 1; times > 0; --times) {
                append_utf8(code_point, text);
            }
        }
        return text;
    }

    uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  private:
    static constexpr uint32_t kKinds = 13;

    uint32_t one_of(std::u32string_view set) {
        return set[below(static_cast<uint32_t>(set.size()))];
    }

    uint32_t character(uint32_t kind) {
        switch (kind) {
            case 0:
                return one_of(U" \t\n\r\v\f\u0085\u00A0\u2003\u2028\u3000\u200B\uFEFF");
            case 1:
                return one_of(U"'\u2019sStTdDmMlLvVrReE\u017F");
            case 2:
                return one_of(U"0123456789\u00BD\u0663\u2167");
            case 3:
                return one_of(U"/\\-=*#_!?.,;:()[]{}\"");
            case 4:
                return 0x4E00 + below(0x5000);
            case 5:
                return 0x0300 + below(0x300);
            case 6:
                return 0x0900 + below(0x580);
            case 7:
                return 0x1F300 + below(0x800);
            case 8:
                return 0xAC00 + below(0x2BA4);
            case 9:
                return 0xC0 + below(0x190);
            case 10:
                return below(2) != 0 ? 'a' + below(26) : 'A' + below(26);
            case 11:
                return below(0x80);
            default: {
                const uint32_t any = below(0x110000);
                return any >= 0xD800 && any < 0xE000 ? 0xFFFD : any;
            }
        }
    }

    std::mt19937 random_;
};

inline constexpr const char* kEncodings[] = {"o200k_base", "cl100k_base", "qwen2"};

}  // namespace tokenizer_support
