// What Qwen's tokenizer alters before it counts: text that is not in Unicode's Normalization Form C
// (UAX #15), and special tokens.

#include <gtest/gtest.h>

#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;

bool is_normal(std::string_view text) {
    return is_exact("qwen2", text);
}

TEST(TokenizerNormalForm, NormalText) {
    const char* const texts[] = {
        "",
        "plain ASCII, longer than one window of it\n",
        "d\u00E9j\u00E0 vu, \u4E2D\u6587, \uD55C\uAD6D\uC5B4, \U0001F600",
        "\u0E17\u0E35\u0E48",              // Thai: a vowel and a tone above
        "\u0939\u093F\u0928\u094D\u0926",  // Hindi
        "\u0915\u093C\u0921\u093C",        // nuktas that compose with nothing in NFC
        "\u0995\u09BE\u0995\u09CB",        // Bengali
        "\u05D1\u05B8\u05BC",              // points of Hebrew
        "\u0634\u064E\u0651",              // and of Arabic
        "\u1100\u4E00\u1161",              // a vowel that follows no consonant of its kind
        "\u0301",
    };
    for (const char* text : texts) {
        EXPECT_TRUE(is_normal(text)) << text;
    }
}

TEST(TokenizerNormalForm, OtherText) {
    const char* const texts[] = {
        "e\u0301",             // composes
        "e\u0323\u0301",       // over another mark
        "\u00E9\u0323",        // decomposes before
        "<\u0338",             // ≮
        "\u212B",              // a sign that is always another character
        "\u0958",              // a composite that is always decomposed
        "\u05D1\u05BC\u05B8",  // marks out of order
        "\u1100\u1161",        // Hangul, composed by rule
        "\uAC00\u11A8",
        "\u09C7\u09BE",
        "\u304B\u3099",
    };
    for (const char* text : texts) {
        EXPECT_FALSE(is_normal(text)) << text;
        EXPECT_FALSE(is_normal("a long run of plain ASCII before it: " + std::string(text)));
        EXPECT_TRUE(is_exact("cl100k_base", text));
    }
}

TEST(TokenizerNormalForm, CutAnywhere) {
    const std::string_view text = "plain \u1E69e\u0323\u0301";
    Encoding encoding(vocabulary("qwen2"), Pattern::qwen2, 1);
    for (size_t cut = 0; cut <= text.size(); ++cut) {
        Counter counter(encoding);
        counter.feed(text.substr(0, cut));
        counter.feed(text.substr(cut));
        EXPECT_FALSE(counter.is_exact()) << cut;
    }
}

TEST(TokenizerNormalForm, TextsAreApartAndOneIsEnough) {
    Encoding encoding(vocabulary("qwen2"), Pattern::qwen2, 1);
    Counter counter(encoding);
    counter.feed("e");
    counter.finish();
    counter.feed("\\u0301", TextForm::json);
    counter.finish();
    EXPECT_TRUE(counter.is_exact());
    counter.feed("e\\u0301", TextForm::json);
    counter.finish();
    counter.feed("e");
    counter.finish();
    EXPECT_FALSE(counter.is_exact());
}

TEST(TokenizerSpecialMark, FoundWhereverItStands) {
    Encoding encoding(vocabulary("qwen2"), Pattern::qwen2, 1);
    for (size_t before = 0; before < 40; ++before) {
        const std::string text = std::string(before, 'x') + "<|im_end|>";
        for (size_t cut = 0; cut <= text.size(); ++cut) {
            Counter counter(encoding);
            counter.feed(std::string_view(text).substr(0, cut));
            counter.feed(std::string_view(text).substr(cut));
            counter.finish();
            EXPECT_FALSE(counter.is_exact()) << before << ' ' << cut;
        }
    }
    EXPECT_FALSE(is_exact("qwen2", "\\u003c\\u007c", TextForm::json));
    EXPECT_TRUE(is_exact("o200k_base", "<|im_end|>"));
}

TEST(TokenizerSpecialMark, NotInOtherText) {
    for (const char* text :
         {"", "<", "|", "<p> | </p>", "a < b || c", "|<", "0123456789abcde<\n|"}) {
        EXPECT_TRUE(is_exact("qwen2", text)) << text;
    }
    Encoding encoding(vocabulary("qwen2"), Pattern::qwen2, 1);
    Counter counter(encoding);
    for (const char* text : {"<", "|"}) {
        counter.feed(text);
        counter.finish();
    }
    EXPECT_TRUE(counter.is_exact());
}

}  // namespace
