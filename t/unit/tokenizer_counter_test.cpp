#include <gtest/gtest.h>

#include "llm/tokenizer/counter.hpp"
#include "llm/tokenizer/merge.hpp"
#include "llm/tokenizer/prefix_counter.hpp"
#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;

const uint8_t* octets(const std::string& text) {
    return reinterpret_cast<const uint8_t*>(text.data());
}

// Every test with each encoding, and with the kernels of any processor and the best of this one.
class TokenizerCounter
    : public testing::TestWithParam<std::tuple<const char*, const Kernels& (*)() noexcept>> {
  protected:
    Encoding encoding_{vocabulary(std::get<0>(GetParam())), pattern_of(std::get<0>(GetParam())), 7,
                       std::get<1>(GetParam())()};

    int64_t tokens(std::string_view text, TextForm form = TextForm::plain) {
        return count(encoding_, text, form);
    }
};

INSTANTIATE_TEST_SUITE_P(Encodings, TokenizerCounter,
                         testing::Combine(testing::ValuesIn(kEncodings),
                                          testing::Values(&plain_kernels, &best_kernels)));

TEST_P(TokenizerCounter, CutAnywhere) {
    const std::string texts[] = {
        "it's's DON'T don\u2019t I'll 've 'RE x'lL \u4E9A\u6D32AV",
        "x \n  y\r\n\r\n\t z!!\n\n//a   ",
        "1234567 a1b22c333 \u00BD\u0663\u2167 \u0301A \u0301\u0301Ab",
        "\U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F600\U0001F600 \u00E9\u00E8 HTTPServer",
    };
    for (const std::string& text : texts) {
        const int64_t whole = tokens(text);
        for (size_t first = 0; first <= text.size(); ++first) {
            for (size_t second = first; second <= text.size(); ++second) {
                Counter counter(encoding_);
                counter.feed(std::string_view(text).substr(0, first));
                counter.feed(std::string_view(text).substr(first, second - first));
                counter.feed(std::string_view(text).substr(second));
                counter.finish();
                EXPECT_EQ(counter.tokens(), whole) << text << ' ' << first << ' ' << second;
            }
        }
    }
}

TEST_P(TokenizerCounter, TextsAreCountedApart) {
    Counter counter(encoding_);
    for (int i = 0; i < 3; ++i) {
        counter.feed("hello world");
        counter.finish();
    }
    counter.finish();
    EXPECT_EQ(counter.tokens(), 6);
}

TEST_P(TokenizerCounter, SpecialTokensAreText) {
    EXPECT_GT(tokens("<|endoftext|>"), 3);
    EXPECT_GT(tokens("<|im_start|>"), 3);
}

TEST_P(TokenizerCounter, JsonEscapes) {
    const std::pair<std::string, std::string> pairs[] = {
        {R"(a\n\t\"b\"\\c\/\b\f\r)", "a\n\t\"b\"\\c/\b\f\r"},
        {R"(\u0041\u00e9\u4E2D\ud83d\ude00)", "A\u00E9\u4E2D\U0001F600"},
        {R"(\ud83dx\ude00\ud83d)", "\uFFFDx\uFFFD\uFFFD"},
        {R"(\ud83d\ud83d\ude00 \ud83d\n)", "\uFFFD\U0001F600 \uFFFD\n"},
        {R"(a\u0000b)", std::string("a\0b", 3)},
    };
    for (const auto& [json, plain] : pairs) {
        for (const size_t most_bytes : {0, 1, 2, 5}) {
            EXPECT_EQ(count(encoding_, json, TextForm::json, most_bytes), tokens(plain)) << json;
        }
    }
    EXPECT_EQ(tokens(R"(a\n)"), tokens(R"(a\\n)", TextForm::json));
}

// Each maximal part of a sequence that could have gone on is one U+FFFD (Unicode 16, table 3-8).
TEST_P(TokenizerCounter, BrokenUtf8) {
    const std::pair<std::string, std::string> pairs[] = {
        {"\x80", "\uFFFD"},
        {"a\xC0\xAF"
         "b",
         "a\uFFFD\uFFFD"
         "b"},
        {"\xE0\x9F\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
        {"\xE4\xB8"
         "a",
         "\uFFFD"
         "a"},
        {"\xE4\xB8", "\uFFFD"},
        {"\xF0\x9F\x98\xF0\x9F\x98\x80", "\uFFFD\U0001F600"},
        {"\xF4\x90\x80\x80\xF5\xFF", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"},
        {"plain ASCII and then, further on, \xE4\xB8 and \xFF.",
         "plain ASCII and then, further on, \uFFFD and \uFFFD."},
    };
    for (const auto& [broken, mended] : pairs) {
        for (const size_t most_bytes : {0, 1, 2}) {
            EXPECT_EQ(count(encoding_, broken, TextForm::plain, most_bytes), tokens(mended));
        }
    }
}

TEST_P(TokenizerCounter, AnyBytesAnyCut) {
    RandomText random(3);
    for (int i = 0; i < 3000; ++i) {
        std::string text = random.next(200);
        for (uint32_t broken = random.below(5); broken > 0; --broken) {
            text[random.below(static_cast<uint32_t>(text.size()))] =
                static_cast<char>(random.below(256));
        }
        for (const TextForm form : {TextForm::plain, TextForm::json}) {
            EXPECT_EQ(count(encoding_, text, form, 1 + random.below(40)), tokens(text, form))
                << text;
        }
    }
}

// By the pieces that the scanner finds, one after another.
const uint8_t* piece_end(Encoding& encoding, const uint8_t* p, const uint8_t* end) {
    switch (encoding.pattern()) {
        case Pattern::cl100k:
            return Scanner<Pattern::cl100k>(encoding.vocabulary()).piece(p, end);
        case Pattern::o200k:
            return Scanner<Pattern::o200k>(encoding.vocabulary()).piece(p, end);
        case Pattern::qwen2:
            return Scanner<Pattern::qwen2>(encoding.vocabulary()).piece(p, end);
    }
    return nullptr;
}

int64_t count_pieces(Encoding& encoding, const std::string& text) {
    const std::string padded = text + std::string(kReadableAfterEnd, '\0');
    const uint8_t* p = octets(padded);
    const uint8_t* end = p + text.size();
    int64_t tokens = 0;
    while (p < end) {
        const uint8_t* after = piece_end(encoding, p, end);
        tokens += encoding.count(p, static_cast<size_t>(after - p));
        p = after;
    }
    return tokens;
}

// Blocks find the pieces that the scanner finds, wherever in a block they lie.
TEST_P(TokenizerCounter, BlocksAsTheScanner) {
    RandomText random(11);
    for (int i = 0; i < 3000; ++i) {
        std::string text;
        for (uint32_t parts = 1 + random.below(8); parts > 0; --parts) {
            text += random.next(1 + random.below(80));
        }
        EXPECT_EQ(tokens(text), count_pieces(encoding_, text)) << text;
    }
}

// A text of many buffers, whose cuts fall anywhere.
TEST_P(TokenizerCounter, LongTextsAsTheScanner) {
    RandomText random(13);
    for (int i = 0; i < 20; ++i) {
        std::string text;
        while (text.size() < 20'000) {
            text += random.next(100);
        }
        const int64_t expected = count_pieces(encoding_, text);
        EXPECT_EQ(tokens(text), expected);
        EXPECT_EQ(count(encoding_, text, TextForm::plain, 3000), expected);
    }
}

// What is longer than the buffer is counted by other means than what is not.
TEST_P(TokenizerCounter, LongPiecesAsShortOnes) {
    const std::string ends[] = {"",  "'s", "'", " x", "\n",     "\n x",
                                "!", "1",  "A", "Aa", "\u4E2D", "/"};
    const std::string units[] = {"a",  "A",    "aA",     "\u4E2D",  "\u4E2DA", "\u0301", " ",
                                 "\n", " \n ", "\n    ", "\u3000 ", "!",       "!\n",    "\u0301A"};
    const std::string before[] = {"", " ", "!", "\n", "\u0301"};
    for (const std::string& unit : units) {
        for (const std::string& end : ends) {
            for (const std::string& first : before) {
                std::string text = first;
                while (text.size() < 6000) {
                    text += unit;
                }
                text += end;
                const int64_t expected = count_pieces(encoding_, text);
                EXPECT_EQ(tokens(text), expected) << first << '|' << unit << '|' << end;
                EXPECT_EQ(count(encoding_, text, TextForm::plain, 5), expected)
                    << first << '|' << unit << '|' << end;
            }
        }
    }
}

// Ways to count a piece: merging alone, merging with others, by prefixes.
TEST_P(TokenizerCounter, WaysToCountAgree) {
    RandomText random(5);
    PrefixCounter prefixes(encoding_.vocabulary());
    for (int i = 0; i < 20000; ++i) {
        std::string text = random.next(20);
        text.resize(std::min(text.size(), kMaxMergeBytes));
        while (!text.empty() && (text.back() & 0x80) != 0) {
            text.pop_back();
        }
        if (text.empty()) {
            continue;
        }
        const size_t bytes = text.size();
        text.resize(bytes + kReadableAfterEnd);
        const uint32_t merged = count_by_merging(encoding_.vocabulary(), octets(text), bytes);
        prefixes.restart();
        prefixes.feed(octets(text), bytes);
        EXPECT_EQ(prefixes.count(), merged) << text;
        EXPECT_EQ(encoding_.count(octets(text), bytes), merged) << text;
    }
}

}  // namespace
