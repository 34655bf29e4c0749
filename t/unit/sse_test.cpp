#include "llm/sse.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

namespace llm {
namespace {

using Strings = std::vector<std::string>;

struct Seen {
    Strings raws;  // a tail joined to its event
    Strings data;
    std::string pending;
    bool overflowed = false;
};

void drain(SseSplitter& splitter, Seen& seen) {
    SseSplitter::Event event;
    while (splitter.next(event)) {
        if (event.tail) {
            EXPECT_EQ(event.raw, "\n");
            EXPECT_EQ(event.data, "");
            ASSERT_FALSE(seen.raws.empty());
            EXPECT_EQ(seen.raws.back().back(), '\r');
            seen.raws.back() += event.raw;
            continue;
        }
        seen.raws.emplace_back(event.raw);
        seen.data.emplace_back(event.data);
    }
}

Seen split(const Strings& feeds) {
    SseSplitter splitter;
    Seen seen;
    for (const std::string& bytes : feeds) {
        // Its own exact allocation, gone before the next feed: a view kept too long is found by
        // ASan.
        const std::vector<char> copy(bytes.begin(), bytes.end());
        splitter.feed({copy.data(), copy.size()});
        drain(splitter, seen);
    }
    seen.pending = splitter.pending();
    seen.overflowed = splitter.overflowed();
    return seen;
}

Strings bytewise(const std::string& text) {
    Strings feeds;
    for (const char c : text) {
        feeds.emplace_back(1, c);
    }
    return feeds;
}

std::string joined(const Seen& seen) {
    std::string all;
    for (const std::string& raw : seen.raws) {
        all += raw;
    }
    return all + seen.pending;
}

void expect_same(const Seen& seen, const Seen& whole, const std::string& text) {
    EXPECT_EQ(seen.raws, whole.raws);
    EXPECT_EQ(seen.data, whole.data);
    EXPECT_EQ(seen.pending, whole.pending);
    EXPECT_EQ(joined(seen), text);
}

// All cuts into two and three feeds, and byte by byte.
void expect_any_split_alike(const std::string& text) {
    const Seen whole = split({text});
    EXPECT_EQ(joined(whole), text);
    for (size_t a = 0; a <= text.size(); ++a) {
        SCOPED_TRACE("cut at " + std::to_string(a));
        expect_same(split({text.substr(0, a), text.substr(a)}), whole, text);
        for (size_t b = a; b <= text.size(); b += 1 + text.size() / 40) {
            expect_same(split({text.substr(0, a), text.substr(a, b - a), text.substr(b)}), whole,
                        text);
        }
    }
    expect_same(split(bytewise(text)), whole, text);
}

TEST(Sse, YieldsEvents) {
    const Seen seen = split({"data: one\n\ndata:two\n\ndata: thr"});
    EXPECT_EQ(seen.raws, (Strings{"data: one\n\n", "data:two\n\n"}));
    EXPECT_EQ(seen.data, (Strings{"one", "two"}));
    EXPECT_EQ(seen.pending, "data: thr");
}

TEST(Sse, KnowsAllLineEnds) {
    EXPECT_EQ(split({"data: a\r\n\r\ndata: b\r\rdata: c\n\n"}).data, (Strings{"a", "b", "c"}));
    EXPECT_EQ(split({"data: a\r\n\r\ndata: b\r\n\r\n"}).raws,
              (Strings{"data: a\r\n\r\n", "data: b\r\n\r\n"}));
    EXPECT_EQ(split({"data: a\n\r\ndata: b\r\n\ndata: c\n\r"}).data, (Strings{"a", "b", "c"}));
    EXPECT_EQ(split({"data: a\r\ndata: b\rdata: c\ndata: d\n\n"}).data, (Strings{"a\nb\nc\nd"}));
}

TEST(Sse, JoinsDataLinesAndIgnoresOtherFields) {
    EXPECT_EQ(
        split({"event: x\nid: 7\ndata: a\nretry: 3\ndata\ndata:\ndata:  b\n: data: c\n\n"}).data,
        (Strings{"a\n\n\n b"}));
    EXPECT_EQ(split({"datax: a\ndat: b\n data: c\nData: d\ndata : e\n\n"}).data, (Strings{""}));
    EXPECT_EQ(split({"data: a:b: c\n\n"}).data, (Strings{"a:b: c"}));
    EXPECT_EQ(split({"data: joined\ndata: twice\n\ndata: single\n\ndata: x\ndata: y\n\n"}).data,
              (Strings{"joined\ntwice", "single", "x\ny"}));
}

TEST(Sse, CommentsAndEmptyLinesAreEventsWithoutData) {
    const Seen seen = split({": ping\n\n\n\r\ndata: a\n\n"});
    EXPECT_EQ(seen.raws, (Strings{": ping\n\n", "\n", "\r\n", "data: a\n\n"}));
    EXPECT_EQ(seen.data, (Strings{"", "", "", "a"}));
}

TEST(Sse, SkipsAByteOrderMarkAtTheStartOnly) {
    EXPECT_EQ(split({"\xEF\xBB\xBF"
                     "data: a\n\n\xEF\xBB\xBF"
                     "data: b\n\n"})
                  .data,
              (Strings{"a", ""}));
    EXPECT_EQ(split({"\xEF", "\xBB",
                     "\xBF"
                     "data: a\n\n"})
                  .raws,
              (Strings{"\xEF\xBB\xBF"
                       "data: a\n\n"}));
}

TEST(Sse, DoesNotWaitForTheLfOfACrLf) {
    SseSplitter splitter;
    SseSplitter::Event event;
    splitter.feed("data: a\r\n\r");
    ASSERT_TRUE(splitter.next(event));
    EXPECT_EQ(event.data, "a");
    EXPECT_FALSE(event.tail);
    EXPECT_FALSE(splitter.next(event));
    splitter.feed("");
    EXPECT_FALSE(splitter.next(event));
    splitter.feed("\ndata: b\n\n");
    ASSERT_TRUE(splitter.next(event));
    EXPECT_TRUE(event.tail);
    EXPECT_EQ(event.raw, "\n");
    ASSERT_TRUE(splitter.next(event));
    EXPECT_EQ(event.raw, "data: b\n\n");
    EXPECT_FALSE(event.tail);
}

TEST(Sse, YieldsWhatIsUnfinishedAtTheEnd) {
    SseSplitter splitter;
    SseSplitter::Event event;
    EXPECT_FALSE(splitter.unfinished(event));
    splitter.feed("data: a\n\ndata: b\nda");
    while (splitter.next(event)) {
    }
    ASSERT_TRUE(splitter.unfinished(event));
    EXPECT_EQ(event.raw, "data: b\nda");
    EXPECT_EQ(event.data, "b");
}

TEST(Sse, AnySplitGivesTheSameEvents) {
    expect_any_split_alike(
        "\xEF\xBB\xBF: hello\n\ndata: {\"a\":1}\n\nevent: x\r\ndata: one\r\ndata: two\r\n\r\n"
        "\r\n\n\rdata: cr\r\rdata\n\ndata: mixed\r\n\ndata: end\n\r\n: ping\r\n\r\ndata: "
        "[DONE]\r\n\r\n"
        "data: unfinis");
    expect_any_split_alike("data: a\r\r\n\n\r\n\r\r\rdata: b\r\n\r");
    expect_any_split_alike("\r\n\r\n");
}

TEST(Sse, RandomStreamsSplitAlike) {
    std::mt19937 random(11);
    const Strings parts = {"\r", "\n", "\r\n", "data: x", "data:y", ": c", "id: 1", "data", "z"};
    for (int i = 0; i < 300; ++i) {
        std::string text;
        for (int n = 0; n < 20; ++n) {
            text += parts[random() % parts.size()];
        }
        SCOPED_TRACE(testing::PrintToString(text));
        const Seen whole = split({text});
        expect_same(split(bytewise(text)), whole, text);
        Strings feeds;
        for (size_t at = 0; at < text.size();) {
            feeds.push_back(text.substr(at, random() % 7));
            at += feeds.back().size();
        }
        expect_same(split(feeds), whole, text);
    }
}

TEST(Sse, HoldsTheLargestEvent) {
    const std::string largest = "data: " + std::string(SseSplitter::kMaxEvent - 8, 'x') + "\n\n";
    ASSERT_EQ(largest.size(), SseSplitter::kMaxEvent);
    const Seen seen =
        split({largest.substr(0, 1000), largest.substr(1000) + largest, "data: a\n\n"});
    EXPECT_FALSE(seen.overflowed);
    EXPECT_EQ(seen.raws, (Strings{largest, largest, "data: a\n\n"}));
}

TEST(Sse, GivesUpOnALargerEvent) {
    const std::string first = "data: a\n\n";
    const std::string larger = "data: " + std::string(SseSplitter::kMaxEvent - 7, 'x') + "\n\n";
    const std::string unended = "data: " + std::string(SseSplitter::kMaxEvent, 'x');
    for (const Strings& feeds : {Strings{first + larger + first}, Strings{first + unended}}) {
        const Seen seen = split(feeds);
        EXPECT_TRUE(seen.overflowed);
        EXPECT_EQ(seen.raws, Strings{first});
        EXPECT_EQ(joined(seen), feeds.front());
    }
    SseSplitter splitter;
    SseSplitter::Event event;
    splitter.feed(std::string_view(larger).substr(0, 5000));
    EXPECT_FALSE(splitter.next(event));
    splitter.feed(std::string_view(larger).substr(5000));
    EXPECT_FALSE(splitter.next(event));
    EXPECT_TRUE(splitter.overflowed());
    EXPECT_EQ(splitter.pending(), larger);
    EXPECT_FALSE(splitter.unfinished(event));
    splitter.feed(first);
    EXPECT_FALSE(splitter.next(event));
    EXPECT_EQ(splitter.pending(), "");
}

double seconds_bytewise(size_t size) {
    const std::string text = "data: " + std::string(size, 'x') + "\n\n";
    const auto start = std::chrono::steady_clock::now();
    SseSplitter splitter;
    SseSplitter::Event event;
    size_t events = 0;
    for (const char& c : text) {
        splitter.feed({&c, 1});
        events += splitter.next(event) ? 1 : 0;
    }
    EXPECT_EQ(events, 1u);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Sse, ByteByByteIsLinear) {
    seconds_bytewise(1000);
    // Quadratic work on 250 KB would be 3e10 steps: many seconds, even without a sanitizer.
    EXPECT_LT(seconds_bytewise(250'000), 2.0);
}

}  // namespace
}  // namespace llm
