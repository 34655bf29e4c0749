// Counts that OpenAI's own tokenizer gave, t/fixtures/tok_cases.jsonl and tok_cases_long.jsonl; and
// of the same texts HuggingFace's with Qwen 3's tokenizer.json, tok_cases_qwen2.txt.

#include <gtest/gtest.h>
#include <yajl/yajl_tree.h>

#include <fstream>
#include <memory>
#include <string>

#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;

struct Case {
    std::string id;
    std::string text;  // as it stands in JSON, or plain
    std::map<std::string, int64_t> tokens;
};

// By the case's id. Not of text that is not in NFC ("-"): Qwen counts it in another form.
const std::map<std::string, int64_t>& qwen2_tokens() {
    static const std::map<std::string, int64_t> all = [] {
        std::map<std::string, int64_t> read;
        std::ifstream file("t/fixtures/tok_cases_qwen2.txt");
        std::string id;
        for (std::string tokens; file >> id >> tokens;) {
            if (tokens != "-") {
                read.emplace(id, std::stoll(tokens));
            }
        }
        return read;
    }();
    return all;
}

void add_qwen2(Case& c) {
    if (const auto it = qwen2_tokens().find(c.id); it != qwen2_tokens().end()) {
        c.tokens.emplace("qwen2", it->second);
    }
}

int64_t number_after(const std::string& line, const std::string& key) {
    return std::stoll(line.substr(line.rfind(key) + key.size()));
}

// The text is taken raw, with its escapes: lone surrogates among them, which no JSON parser passes
// on.
std::vector<Case> short_cases() {
    const std::string begins = "{\"id\":\"";
    const std::string before = "\",\"text\":\"";
    const std::string after = "\",\"cl100k\":";
    std::vector<Case> cases;
    std::ifstream file("t/fixtures/tok_cases.jsonl");
    for (std::string line; std::getline(file, line);) {
        const size_t begin = line.find(before) + before.size();
        cases.push_back({line.substr(begins.size(), begin - before.size() - begins.size()),
                         line.substr(begin, line.rfind(after) - begin),
                         {{"cl100k_base", number_after(line, "\"cl100k\":")},
                          {"o200k_base", number_after(line, "\"o200k\":")}}});
        add_qwen2(cases.back());
    }
    return cases;
}

struct Tree {
    explicit Tree(const std::string& json) : root(yajl_tree_parse(json.c_str(), nullptr, 0)) {}
    ~Tree() { yajl_tree_free(root); }

    std::string text(const char* key) const {
        const char* path[] = {key, nullptr};
        const yajl_val value = yajl_tree_get(root, path, yajl_t_string);
        return value == nullptr ? "" : YAJL_GET_STRING(value);
    }
    int64_t number(const char* key) const {
        const char* path[] = {key, nullptr};
        return YAJL_GET_INTEGER(yajl_tree_get(root, path, yajl_t_number));
    }

    yajl_val root;
};

std::vector<std::string> characters(const std::string& text) {
    std::vector<std::string> found;
    for (size_t at = 0; at < text.size();) {
        const size_t bytes = utf8_length(static_cast<uint8_t>(text[at]));
        found.push_back(text.substr(at, bytes));
        at += bytes;
    }
    return found;
}

// The file gives recipes: a unit repeated, its characters in a quadratic order, or code points of a
// linear congruential generator.
std::string long_text(const Tree& recipe) {
    const std::string kind = recipe.text("kind");
    const std::vector<std::string> unit = characters(recipe.text("unit"));
    const int64_t n = recipe.number("n");
    std::string text = recipe.text("prefix");
    uint32_t state = 1;
    for (int64_t i = 0; i < n; ++i) {
        if (kind == "repeat") {
            text += recipe.text("unit");
        } else if (kind == "quad") {
            text += unit[static_cast<size_t>(i * i + 7 * i) % unit.size()];
        } else {
            state = (state * 1103515245u + 12345u) & 0x7FFFFFFF;
            const auto span = static_cast<uint32_t>(recipe.number("span"));
            append_utf8(static_cast<uint32_t>(recipe.number("base")) + (state >> 16) % span, text);
        }
    }
    return text + recipe.text("suffix");
}

std::vector<Case> long_cases() {
    std::vector<Case> cases;
    std::ifstream file("t/fixtures/tok_cases_long.jsonl");
    for (std::string line; std::getline(file, line);) {
        const Tree recipe(line);
        cases.push_back(
            {recipe.text("id"),
             long_text(recipe),
             {{"cl100k_base", recipe.number("cl100k")}, {"o200k_base", recipe.number("o200k")}}});
        EXPECT_EQ(static_cast<int64_t>(cases.back().text.size()), recipe.number("bytes"));
        add_qwen2(cases.back());
    }
    return cases;
}

void expect_counts(const std::vector<Case>& cases, TextForm form, size_t most_bytes) {
    for (const std::string encoding : kEncodings) {
        Encoding counting(vocabulary(encoding), pattern_of(encoding), 1);
        for (const Case& c : cases) {
            if (const auto tokens = c.tokens.find(encoding); tokens != c.tokens.end()) {
                EXPECT_EQ(count(counting, c.text, form, most_bytes), tokens->second)
                    << encoding << ' ' << c.id;
            }
        }
    }
}

TEST(TokenizerCases, ShortTexts) {
    const std::vector<Case> cases = short_cases();
    ASSERT_EQ(cases.size(), 2175u);
    expect_counts(cases, TextForm::json, 0);
}

TEST(TokenizerCases, ShortTextsInParts) {
    expect_counts(short_cases(), TextForm::json, 3);
}

TEST(TokenizerCases, LongTexts) {
    const std::vector<Case> cases = long_cases();
    ASSERT_EQ(cases.size(), 104u);
    expect_counts(cases, TextForm::plain, 0);
}

// No count of Qwen's: then the text is not normal.
TEST(TokenizerCases, WhatQwenNormalizesIsNotExact) {
    int normalized = 0;
    for (const Case& c : short_cases()) {
        if (c.tokens.count("qwen2") == 0) {
            EXPECT_FALSE(is_exact("qwen2", c.text, TextForm::json)) << c.id;
            EXPECT_TRUE(is_exact("o200k_base", c.text, TextForm::json)) << c.id;
            ++normalized;
        }
    }
    EXPECT_EQ(normalized, 61);
}

TEST(TokenizerCases, LongTextsInParts) {
    std::vector<Case> cases = long_cases();
    std::erase_if(cases, [](const Case& c) { return c.text.size() > 100'000; });
    expect_counts(cases, TextForm::plain, 50);
}

}  // namespace
