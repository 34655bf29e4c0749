#include "llm/json_scan.hpp"

#include <gtest/gtest.h>
#include <yajl/yajl_parse.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "llm/json_writer.hpp"

namespace llm::json {
namespace {

// What a parser says of a text, one line for each token: scalars as they are meant.
struct Reading {
    bool accepted = false;
    Fault fault = Fault::none;
    size_t position = 0;
    bool half_pairs = false;  // as escapes
    std::vector<std::string> tokens;
};

std::string scalar(std::string_view body, const Scan& scan, Reading& reading) {
    std::string_view raw = body.substr(scan.raw().begin, scan.raw().size());
    if (scan.kind() != Kind::string) {
        return std::string(raw);
    }
    std::string text = "\"";
    if (!unescape(raw.substr(1, raw.size() - 2), text)) {
        reading.half_pairs = true;
    }
    return text;
}

// `slice` gives the size of the next one.
template <class Slice>
Reading read(std::string_view body, Slice slice) {
    Reading reading;
    Scan scan(body);
    scan.allow(slice());
    for (;;) {
        switch (scan.next()) {
            case Event::pause:
                scan.allow(slice());
                break;
            case Event::key:
                reading.tokens.push_back("key " + scalar(body, scan, reading));
                break;
            case Event::value:
                reading.tokens.push_back(scalar(body, scan, reading));
                break;
            case Event::close:
                reading.tokens.emplace_back("close");
                break;
            case Event::end:
                reading.accepted = true;
                reading.position = scan.position();
                return reading;
            case Event::error:
                reading.fault = scan.fault();
                reading.position = scan.position();
                return reading;
        }
    }
}

Reading read(std::string_view body) {
    return read(body, [&body] { return body.size(); });
}

Reading read_by_yajl(std::string_view body) {
    using Tokens = std::vector<std::string>;
    const auto add = [](void* to, std::string token) {
        static_cast<Tokens*>(to)->push_back(std::move(token));
        return 1;
    };
    static const auto put = add;
    static const auto text = [](const void* data, size_t size) {
        return std::string(static_cast<const char*>(data), size);
    };
    yajl_callbacks callbacks{};
    callbacks.yajl_null = [](void* to) { return put(to, "null"); };
    callbacks.yajl_boolean = [](void* to, int value) { return put(to, value ? "true" : "false"); };
    callbacks.yajl_number = [](void* to, const char* data, size_t size) {
        return put(to, text(data, size));
    };
    callbacks.yajl_string = [](void* to, const unsigned char* data, size_t size) {
        return put(to, "\"" + text(data, size));
    };
    callbacks.yajl_map_key = [](void* to, const unsigned char* data, size_t size) {
        return put(to, "key \"" + text(data, size));
    };
    callbacks.yajl_start_map = [](void* to) { return put(to, "{"); };
    callbacks.yajl_start_array = [](void* to) { return put(to, "["); };
    callbacks.yajl_end_map = [](void* to) { return put(to, "close"); };
    callbacks.yajl_end_array = [](void* to) { return put(to, "close"); };

    Reading reading;
    const std::unique_ptr<std::remove_pointer_t<yajl_handle>, decltype(&yajl_free)> handle(
        yajl_alloc(&callbacks, nullptr, &reading.tokens), &yajl_free);
    const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
    reading.accepted = yajl_parse(handle.get(), bytes, body.size()) == yajl_status_ok &&
                       yajl_complete_parse(handle.get()) == yajl_status_ok;
    return reading;
}

std::string repeated(std::string_view unit, size_t size) {
    std::string text;
    while (text.size() < size) {
        text += unit;
    }
    return text;
}

using Tokens = std::vector<std::string>;

TEST(JsonScan, YieldsTokensWithTheirSpans) {
    const std::string body = " { \"a\\u0062\" : [ 1 , -2.5e+3,true ,null], \"\":\"\\n\" }\n";
    Scan scan(body);
    scan.allow(body.size());
    std::vector<std::string> raw;
    std::vector<int> depths;
    std::vector<Kind> kinds;
    for (Event event = scan.next(); event != Event::end; event = scan.next()) {
        ASSERT_NE(event, Event::error);
        raw.push_back(body.substr(scan.raw().begin, scan.raw().size()));
        depths.push_back(scan.depth());
        if (event == Event::value) {
            kinds.push_back(scan.kind());
        }
    }
    EXPECT_EQ(raw, (Tokens{"{", "\"a\\u0062\"", "[", "1", "-2.5e+3", "true", "null", "]", "\"\"",
                           "\"\\n\"", "}"}));
    EXPECT_EQ(depths, (std::vector<int>{1, 1, 2, 2, 2, 2, 2, 1, 1, 1, 0}));
    EXPECT_EQ(kinds, (std::vector<Kind>{Kind::object, Kind::array, Kind::integer, Kind::decimal,
                                        Kind::boolean, Kind::null, Kind::string}));
}

TEST(JsonScan, TakesAnyValueAtTheTop) {
    for (const char* body : {"1", " 0 ", "-0.0", "1e5", "\"x\"", "true", "null", "[]", "{}"}) {
        EXPECT_TRUE(read(body).accepted) << body;
    }
}

TEST(JsonScan, SaysWhatIsWrongAndWhere) {
    const auto wrong = [](std::string_view body, Fault fault, size_t position) {
        const Reading reading = read(body);
        EXPECT_FALSE(reading.accepted) << body;
        EXPECT_EQ(describe(reading.fault), describe(fault)) << body;
        EXPECT_EQ(reading.position, position) << body;
    };
    wrong("", Fault::ends_early, 0);
    wrong(" ", Fault::ends_early, 1);
    wrong("{", Fault::ends_early, 1);
    wrong("[1", Fault::ends_early, 2);
    wrong("\"a", Fault::ends_early, 2);
    wrong("[\"a\\", Fault::escape, 3);
    wrong("-", Fault::ends_early, 1);
    wrong("{]", Fault::no_key, 1);
    wrong("{1:2}", Fault::no_key, 1);
    wrong("{\"a\":1,}", Fault::no_key, 7);
    wrong("{\"a\" 1}", Fault::no_colon, 5);
    wrong("{\"a\":}", Fault::no_value, 5);
    wrong("{\"a\":1 \"b\":2}", Fault::no_comma_in_object, 7);
    wrong("{\"a\":1]", Fault::no_comma_in_object, 6);
    wrong("[1,]", Fault::no_value, 3);
    wrong("[1 2]", Fault::no_comma_in_array, 3);
    wrong("[1}", Fault::no_comma_in_array, 2);
    wrong("[truE]", Fault::no_value, 1);
    wrong("[nul", Fault::no_value, 1);
    wrong("[/**/1]", Fault::no_value, 1);
    wrong("\xef\xbb\xbf{}", Fault::no_value, 0);
    wrong("[01]", Fault::number, 2);
    wrong("[-01]", Fault::number, 3);
    wrong("[1.]", Fault::number, 3);
    wrong("[.5]", Fault::no_value, 1);
    wrong("[+1]", Fault::no_value, 1);
    wrong("[1e+]", Fault::number, 4);
    wrong("[1.5.5]", Fault::no_comma_in_array, 4);
    wrong("[1e5e5]", Fault::no_comma_in_array, 4);
    wrong("[1e5.5]", Fault::no_comma_in_array, 4);
    wrong("{} {}", Fault::trailing, 3);
    wrong(std::string_view("{}\0", 3), Fault::trailing, 2);
    wrong("1\v", Fault::trailing, 1);
    wrong("[\f1]", Fault::no_value, 1);
    wrong("[\"a\nb\"]", Fault::control_character, 3);
    wrong(std::string_view("[\"\0\"]", 5), Fault::control_character, 2);
    wrong("[\"\\x\"]", Fault::escape, 2);
    wrong("[\"\\u12g4\"]", Fault::escape, 2);
    wrong("[\"\\u123\"]", Fault::escape, 2);
    wrong(std::string(Scan::kMaxDepth + 1, '['), Fault::too_deep, Scan::kMaxDepth);
    EXPECT_TRUE(
        read(std::string(Scan::kMaxDepth, '[') + std::string(Scan::kMaxDepth, ']')).accepted);
}

// Unicode, table 3-7: all sequences of up to four bytes at the edges of its ranges.
TEST(JsonScan, TakesWellFormedUtf8Only) {
    const std::string edges =
        "\x41\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee"
        "\xef\xf0\xf1\xf3\xf4\xf5\xff";
    int well_formed = 0;
    std::string text(4, '\0');
    for (text[0] = '\0'; const char a : edges) {
        for (const char b : edges) {
            for (const char c : edges) {
                for (const char d : edges) {
                    text[0] = a;
                    text[1] = b;
                    text[2] = c;
                    text[3] = d;
                    const bool valid = utf8_prefix_size(text) == text.size();
                    well_formed += valid ? 1 : 0;
                    const Reading reading = read("\"" + text + "\"");
                    ASSERT_EQ(reading.accepted, valid);
                    ASSERT_EQ(reading.fault, valid ? Fault::none : Fault::utf8);
                }
            }
        }
    }
    EXPECT_GT(well_formed, 1000);
}

// Everything that is not plain, at every place of a block.
TEST(JsonScan, FindsWhatIsNotPlainAnywhere) {
    for (size_t before = 0; before < 40; ++before) {
        for (size_t behind = 0; behind < 20; ++behind) {
            const auto text = [&](std::string_view middle) {
                return "\"" + std::string(before, '~') + std::string(middle) +
                       std::string(behind, ' ') + "\"";
            };
            EXPECT_EQ(read(text("\x1f")).position, before + 1);
            EXPECT_EQ(read(text("\x80")).position, before + 1);
            EXPECT_EQ(read(text("\"\"")).position, before + 2);
            EXPECT_TRUE(read(text("\x7f[]^!#")).accepted);
            EXPECT_TRUE(read(text("\\\"\xc3\xa9")).accepted);
        }
    }
}

TEST(JsonScan, Unescapes) {
    const auto plain = [](std::string_view inside) {
        std::string out = "before ";
        EXPECT_TRUE(unescape(inside, out)) << inside;
        return out.substr(7);
    };
    EXPECT_EQ(plain(""), "");
    EXPECT_EQ(plain("héllo"), "héllo");
    EXPECT_EQ(plain(R"(\"\\\/\b\f\n\r\t)"), "\"\\/\b\f\n\r\t");
    EXPECT_EQ(plain(R"(a\u0041\u00e9\u4E2D\ud83d\ude00z)"), "aAé中😀z");
    EXPECT_EQ(plain(R"(\u0000)"), std::string(1, '\0'));
    EXPECT_EQ(plain(R"(\udbff\udfff\ud800\udc00)"), "\U0010FFFF\U00010000");
    const auto half = [](std::string_view inside) {
        std::string out;
        EXPECT_FALSE(unescape(inside, out)) << inside;
        return out;
    };
    EXPECT_EQ(half(R"(\ud800)"), "\uFFFD");
    EXPECT_EQ(half(R"(\ud800x)"), "\uFFFDx");
    EXPECT_EQ(half(R"(\udc00\ud800)"), "\uFFFD\uFFFD");
    EXPECT_EQ(half(R"(\ud800\ud83d\ude00)"), "\uFFFD😀");
    EXPECT_EQ(half(R"(\ud800\n)"), "\uFFFD\n");
}

// A slice is passed by no more than one character or escape, whatever the text is made of.
TEST(JsonScan, GoesOnByASliceAtMost) {
    constexpr size_t kSize = 1 << 20;
    constexpr size_t kSlice = 4096;
    constexpr size_t kLongestToken = 6;
    for (const std::string& body :
         {"\"" + std::string(kSize, 'x') + "\"", "\"" + repeated("\\n", kSize) + "\"",
          "\"" + repeated("\\ud83d\\ude00", kSize) + "\"", "\"" + repeated("中é😀", kSize) + "\"",
          std::string(kSize, ' ') + "1", std::string(kSize, '1'), "0." + std::string(kSize, '0'),
          "1e+" + std::string(kSize, '9'), "[" + repeated("1,", kSize) + "1]",
          "[" + repeated("\"\",[{}],", kSize) + "1]",
          "{" + repeated("\"k\":[],", kSize) + "\"\":1}"}) {
        Scan scan(body);
        size_t pauses = 0;
        for (size_t limit = 0; limit < body.size(); limit = scan.position() + kSlice) {
            scan.allow(kSlice);
            Event event = scan.next();
            while (event != Event::pause && event != Event::end) {
                ASSERT_NE(event, Event::error) << describe(scan.fault());
                event = scan.next();
            }
            pauses += event == Event::pause ? 1 : 0;
            ASSERT_LE(scan.position(), limit + kSlice + kLongestToken);
        }
        EXPECT_GE(pauses, body.size() / (kSlice + kLongestToken) - 1);
    }
}

const std::vector<std::string>& seeds() {
    static const std::vector<std::string> kSeeds{
        R"({"model":"gpt-4o","messages":[{"role":"user","content":"héllo 😀 \"q\" \\ \n"}],"n":12})",
        R"([0,-1.5e+3,1E9,"",[],{},[[{"a":[null,true,false]}]]," padding of a block or two … "])",
        "{\"\\u00e9\\ud83d\\ude00\":\"\\/\\b\\f\\r\\t中文\",\t\"x\" : \r\n[ 1 , 2 ] }",
        R"("a long string that has sixteen plain bytes and more, then é and \u4e2d and the end")",
        "-12.25e-10",
        " true "};
    return kSeeds;
}

class Mutator {
  public:
    explicit Mutator(uint32_t seed) : random_(seed) {}

    size_t below(size_t n) { return random_() % n; }

    std::string next() {
        std::string body = seeds()[below(seeds().size())];
        for (size_t edits = 1 + below(4); edits > 0; --edits) {
            edit(body);
        }
        return body;
    }

  private:
    void edit(std::string& body) {
        using namespace std::string_literals;
        static const std::string kAlphabet =
            "{}[]\",:\\/u0019dDcC8.eE+-tfn \t\n\v\f\x01\x7f\x80\xa0\xbf\xc0\xc3\xe2\xed\xf0\xf4\xff\0"s;
        const size_t at = below(body.size() + 1);
        const char c = kAlphabet[below(kAlphabet.size())];
        switch (below(5)) {
            case 0:
                body.insert(at, 1, c);
                break;
            case 1:
                body.erase(at, 1 + below(3));
                break;
            case 2:
                body.insert(at, body.substr(below(body.size() + 1), below(8)));
                break;
            case 3:
                body.resize(at);
                break;
            default:
                if (at < body.size()) {
                    body[at] = c;
                }
        }
    }

    std::mt19937 random_;
};

// The differences that are meant: yajl takes VT and FF for white space, lets broken UTF-8 pass, and
// a token that is cut off behind the end.
bool is_meant(const std::string& body, const Reading& ours) {
    switch (ours.fault) {
        case Fault::utf8:
            return utf8_prefix_size(body) != body.size();
        case Fault::trailing:
            return true;
        default:
            return body[ours.position] == '\v' || body[ours.position] == '\f';
    }
}

TEST(JsonScan, ReadsWhatYajlReads) {
    Mutator mutator(20261121);
    int accepted = 0;
    int meant = 0;
    for (int round = 0; round < 250'000 && !testing::Test::HasFailure(); ++round) {
        const std::string body = mutator.next();
        const std::vector<char> exact(body.begin(), body.end());  // a sanitizer sees its end
        const Reading ours = read({exact.data(), exact.size()});
        const Reading theirs = read_by_yajl(body);
        if (ours.accepted != theirs.accepted) {
            EXPECT_TRUE(theirs.accepted && is_meant(body, ours)) << body;
            ++meant;
        } else if (ours.accepted && !ours.half_pairs) {
            EXPECT_EQ(ours.tokens, theirs.tokens) << body;
            ++accepted;
        }
    }
    EXPECT_GT(accepted, 30'000);
    EXPECT_GT(meant, 100);
    RecordProperty("accepted", accepted);
    RecordProperty("meant_differences", meant);
}

TEST(JsonScan, SlicesChangeNothing) {
    const auto expect_same = [](const Reading& a, const Reading& b, const std::string& body) {
        EXPECT_EQ(a.tokens, b.tokens) << body;
        EXPECT_EQ(a.accepted, b.accepted) << body;
        EXPECT_EQ(a.fault, b.fault) << body;
        EXPECT_EQ(a.position, b.position) << body;
    };
    for (const std::string& seed : seeds()) {
        for (size_t slice = 1; slice <= seed.size(); ++slice) {
            expect_same(read(seed, [slice] { return slice; }), read(seed), seed);
        }
    }
    Mutator mutator(7);
    for (int round = 0; round < 20'000 && !testing::Test::HasFailure(); ++round) {
        const std::string body = mutator.next();
        expect_same(read(body, [&mutator] { return 1 + mutator.below(9); }), read(body), body);
    }
}

}  // namespace
}  // namespace llm::json
