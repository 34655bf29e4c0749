#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <set>

#include "llm/tokenizer/merge.hpp"
#include "llm/tokenizer/vocabulary.hpp"
#include "tokenizer_support.hpp"

namespace {

using namespace tokenizer_support;

class ImageFile {
  public:
    explicit ImageFile(const std::string& content) {
        char name[] = "/tmp/tokenizer-image-XXXXXX";
        close(mkstemp(name));
        path = name;
        std::ofstream(path, std::ios::binary) << content;
    }
    ~ImageFile() { unlink(path.c_str()); }

    std::string path;
};

std::string image() {
    std::ifstream in(image_path("cl100k_base"), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string why_not(const std::string& content, const char* encoding = "cl100k_base") {
    const ImageFile file(content);
    const auto opened = Vocabulary::open(file.path, encoding);
    return opened ? "" : opened.error();
}

TEST(TokenizerVocabulary, KnowsItsSource) {
    EXPECT_EQ(vocabulary("o200k_base").source_sha256(),
              "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d");
    EXPECT_EQ(vocabulary("cl100k_base").source_sha256(),
              "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7");
    EXPECT_EQ(vocabulary("qwen2").source_sha256(),
              "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186");
    EXPECT_EQ(vocabulary("o200k_base").tokens(), 199'998u);
    EXPECT_EQ(vocabulary("cl100k_base").tokens(), 100'256u);
    EXPECT_EQ(vocabulary("qwen2").tokens(), 151'643u);
    size_t bytes = 0;
    size_t private_bytes = 0;
    for (const char* encoding : {"o200k_base", "cl100k_base"}) {
        bytes += vocabulary(encoding).image_bytes();
        private_bytes += Encoding(vocabulary(encoding), pattern_of(encoding), 1).memo_bytes();
    }
    EXPECT_LE(bytes, 32u << 20);
    EXPECT_LE(private_bytes, 4u << 20);
    EXPECT_LE(vocabulary("qwen2").image_bytes(), 16u << 20);
    for (const char* encoding : kEncodings) {
        EXPECT_TRUE(vocabulary(encoding).verify());
    }
}

TEST(TokenizerVocabulary, RefusesWhatIsNoImageOfIt) {
    const std::string whole = image();
    EXPECT_EQ(why_not(whole), "");
    EXPECT_NE(why_not(whole, "o200k_base").find("another encoding"), std::string::npos);
    EXPECT_NE(why_not("").find("No data"), std::string::npos);
    EXPECT_NE(why_not("LLMTOKEN").find("not a tokenizer image"), std::string::npos);
    EXPECT_NE(why_not("X" + whole.substr(1)).find("not a tokenizer image"), std::string::npos);
    EXPECT_NE(why_not(whole.substr(0, whole.size() - 1)).find("torn"), std::string::npos);
    std::string changed = whole;
    changed[100] = static_cast<char>(changed[100] ^ 1);
    EXPECT_NE(why_not(changed).find("torn"), std::string::npos);
    EXPECT_NE(Vocabulary::open("/nonexistent", "cl100k_base").error().find("No such file"),
              std::string::npos);
}

TEST(TokenizerVocabulary, VerifySeesChangedContent) {
    std::string changed = image();
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
    const ImageFile file(changed);
    const auto opened = Vocabulary::open(file.path, "cl100k_base");
    ASSERT_TRUE(opened);
    EXPECT_FALSE(opened->verify());
}

// The bytes of every token, from the parts of its last merge.
std::string token_bytes(const Vocabulary& vocabulary, uint32_t token) {
    if (token >= kByteTokens) {
        const auto [left, right] = vocabulary.parts(token);
        return token_bytes(vocabulary, left) + token_bytes(vocabulary, right);
    }
    uint8_t byte = 0;
    while (vocabulary.byte_token(byte) != token) {
        ++byte;
    }
    return std::string(1, static_cast<char>(byte));
}

TEST(TokenizerVocabulary, EveryTokenIsOneToken) {
    for (const char* name : kEncodings) {
        const Vocabulary& tested = vocabulary(name);
        Encoding encoding(tested, pattern_of(name), 1);
        std::set<std::string> all;
        for (uint32_t token = 0; token < tested.tokens(); ++token) {
            std::string bytes = token_bytes(tested, token);
            all.insert(bytes);
            const size_t size = bytes.size();
            bytes.resize(size + kReadableAfterEnd);
            const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
            if (size <= kMaxMergeBytes) {
                EXPECT_EQ(count_by_merging(tested, p, size), 1u) << token;
            }
            if (size > kWideBytes || size <= kNarrowBytes) {
                EXPECT_EQ(encoding.count(p, size), 1) << token;
            }
        }
        EXPECT_EQ(all.size(), tested.tokens());
    }
}

}  // namespace
