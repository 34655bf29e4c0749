#include "llm/tokenizer/output_count.hpp"

#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;

int64_t text_count(std::string_view text) {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    return count(encoding, text);
}

int64_t output_count(const std::vector<std::string>& deltas, bool is_one_text,
                     const char* model = "gpt-4o") {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    OutputCount output(encoding, model_tokens(model).text, is_one_text);
    for (const std::string& delta : deltas) {
        output.add(delta, 0);
    }
    output.finish();
    return output.tokens();
}

TEST(OutputCount, JoinsTheDeltasOfOneText) {
    EXPECT_EQ(output_count({"Hel", "lo", " wor", "ld"}, true), text_count("Hello world"));
    EXPECT_EQ(output_count({"\xE4\xB8", "\xAD\xE6\x96\x87"}, true), text_count("中文"));
}

TEST(OutputCount, CountsDeltasOfSeveralTextsApart) {
    EXPECT_EQ(output_count({"Hel", "Hel", "lo", "lo"}, false),
              2 * (text_count("Hel") + text_count("lo")));
}

TEST(OutputCount, TakesWhatWasNotKeptForMoreOfTheSame) {
    Encoding encoding(vocabulary("o200k_base"), Pattern::o200k, 1);
    OutputCount output(encoding, model_tokens("gpt-4o").text, true);
    const std::string text = "one two three four ";
    output.add(text, 3 * text.size());
    output.finish();
    EXPECT_EQ(output.tokens(), 4 * text_count(text));
}

TEST(OutputCount, OfNothingIsNothing) {
    EXPECT_EQ(output_count({}, true), 0);
    EXPECT_EQ(output_count({"", ""}, true), 0);
}

TEST(OutputCount, EstimatesOtherVocabularies) {
    const std::string text = "The same text in another family's tokens.";
    EXPECT_GT(output_count({text}, true, "gemini-2.5-pro"), text_count(text));
}

}  // namespace
