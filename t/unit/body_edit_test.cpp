#include "llm/body_edit.hpp"

#include <gtest/gtest.h>
#include <yajl/yajl_tree.h>

#include <map>
#include <memory>
#include <random>
#include <string>

#include "llm/json_writer.hpp"

namespace llm {
namespace {

constexpr auto kChat = Endpoint::chat_completions;

ScannedRequest scanned(const std::string& body, Endpoint endpoint = kChat) {
    ScanResult result = scan_request(body, endpoint);
    if (auto* error = std::get_if<ApiError>(&result)) {
        ADD_FAILURE() << error->message << "\n" << body;
        return {};
    }
    return std::get<ScannedRequest>(std::move(result));
}

std::string spliced(const std::string& body, const std::vector<Splice>& splices) {
    std::string out(spliced_size(body, splices), '\0');
    splice_into(body, splices, out.data());
    return out;
}

std::string edited(const std::string& body, const EditPlan& plan) {
    return spliced(body, plan_splices(body, scanned(body, Endpoint::completions), plan));
}

EditPlan set_model(std::string_view model) {
    return {model, false, std::nullopt};
}
EditPlan ask_for_usage() {
    return {std::nullopt, true, std::nullopt};
}
EditPlan bind_output(int64_t tokens) {
    return {std::nullopt, false, tokens};
}

TEST(BodyEdit, LeavesABodyAloneThatNeedsNothing) {
    const std::string body =
        R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":5})";
    const ScannedRequest request = scanned(body, Endpoint::completions);
    EXPECT_TRUE(plan_splices(body, request, {}).empty());
    EXPECT_TRUE(plan_splices(body, request, {"m", true, 5}).empty());
    EXPECT_EQ(spliced(body, {}), body);
}

TEST(BodyEdit, ReplacesTheModel) {
    EXPECT_EQ(edited(R"({ "x":{"model":"m"}, "model" : "m" })", set_model("n")),
              R"({ "x":{"model":"m"}, "model" : "n" })");
    EXPECT_EQ(edited(R"({"model":"\u006d"})", set_model("m")), R"({"model":"\u006d"})");
    EXPECT_EQ(edited(R"({"model":"\u006d"})", set_model("a\"b\\")), R"({"model":"a\"b\\"})");
    EXPECT_EQ(edited(R"({"mod\u0065l":"m"})", set_model("longer-name")),
              R"({"mod\u0065l":"longer-name"})");
}

TEST(BodyEdit, AsksForUsageInAStreamOnly) {
    EXPECT_EQ(edited(R"({"model":"m"})", ask_for_usage()), R"({"model":"m"})");
    EXPECT_EQ(edited(R"({"model":"m","stream":false})", ask_for_usage()),
              R"({"model":"m","stream":false})");
    EXPECT_EQ(edited(R"({"model":"m","stream":true})", ask_for_usage()),
              R"({"stream_options":{"include_usage":true},"model":"m","stream":true})");
    EXPECT_EQ(edited(" \n{ \"model\":\"m\",\"stream\":true}", ask_for_usage()),
              " \n{\"stream_options\":{\"include_usage\":true}, \"model\":\"m\",\"stream\":true}");
}

TEST(BodyEdit, AddsUsageToStreamOptions) {
    const auto options = [](const std::string& value) {
        const std::string begin = R"({"stream":true,"stream_options": )";
        const std::string end = R"( ,"model":"m"})";
        const std::string out = edited(begin + value + end, ask_for_usage());
        EXPECT_EQ(out.substr(0, begin.size()), begin);
        EXPECT_EQ(out.substr(out.size() - end.size()), end);
        return out.substr(begin.size(), out.size() - begin.size() - end.size());
    };
    EXPECT_EQ(options("null"), R"({"include_usage":true})");
    EXPECT_EQ(options("{}"), R"({"include_usage":true})");
    EXPECT_EQ(options("{ \n\t}"), "{\"include_usage\":true \n\t}");
    EXPECT_EQ(options(R"({ "x":{"include_usage":true}})"),
              R"({"include_usage":true, "x":{"include_usage":true}})");
    EXPECT_EQ(options(R"({"include_usage": false})"), R"({"include_usage": true})");
    EXPECT_EQ(options(R"({"x":1,"include_usage":null ,"y":2})"),
              R"({"x":1,"include_usage":true ,"y":2})");
    EXPECT_EQ(options(R"({"include_usage":true})"), R"({"include_usage":true})");
}

TEST(BodyEdit, BindsTheOutput) {
    const auto bound = [](const std::string& body) { return edited(body, bind_output(7)); };
    EXPECT_EQ(bound(R"({"model":"m"})"), R"({"max_tokens":7,"model":"m"})");
    EXPECT_EQ(bound(R"({"model":"m","max_tokens":1000})"), R"({"model":"m","max_tokens":7})");
    EXPECT_EQ(bound(R"({"model":"m","max_tokens":3})"), R"({"model":"m","max_tokens":3})");
    EXPECT_EQ(bound(R"({"max_tokens": null ,"model":"m"})"), R"({"max_tokens": 7 ,"model":"m"})");
    EXPECT_EQ(bound(R"({"model":"m","max_completion_tokens":9})"),
              R"({"model":"m","max_completion_tokens":7})");
    EXPECT_EQ(bound(R"({"model":"m","max_completion_tokens":null})"),
              R"({"model":"m","max_completion_tokens":7})");
    EXPECT_EQ(bound(R"({"max_completion_tokens":9,"model":"m","max_tokens":8})"),
              R"({"max_completion_tokens":7,"model":"m","max_tokens":7})");
    EXPECT_EQ(bound(R"({"max_completion_tokens":7,"model":"m","max_tokens":8})"),
              R"({"max_completion_tokens":7,"model":"m","max_tokens":7})");
}

// OpenAI refuses a request with both bounds, but not one with a bound and a null.
TEST(BodyEdit, MakesNoSecondBoundOfANull) {
    const auto bound = [](const std::string& body) { return edited(body, bind_output(7)); };
    EXPECT_EQ(bound(R"({"max_tokens":null,"max_completion_tokens":9,"model":"m"})"),
              R"({"max_tokens":null,"max_completion_tokens":7,"model":"m"})");
    EXPECT_EQ(bound(R"({"max_tokens":9,"max_completion_tokens":null,"model":"m"})"),
              R"({"max_tokens":7,"max_completion_tokens":null,"model":"m"})");
    EXPECT_EQ(bound(R"({"max_tokens":null,"max_completion_tokens":null,"model":"m"})"),
              R"({"max_tokens":null,"max_completion_tokens":7,"model":"m"})");
}

TEST(BodyEdit, InsertsTheFieldThatTheModelTakes) {
    EditPlan plan = bind_output(7);
    plan.bound_field = "max_completion_tokens";
    EXPECT_EQ(edited(R"({"model":"m"})", plan), R"({"max_completion_tokens":7,"model":"m"})");
    EXPECT_EQ(edited(R"({"model":"m","max_tokens":null})", plan),
              R"({"max_completion_tokens":7,"model":"m","max_tokens":null})");
    EXPECT_EQ(edited(R"({"model":"m","max_completion_tokens":null})", plan),
              R"({"model":"m","max_completion_tokens":7})");
    EXPECT_EQ(edited(R"({"model":"m","max_tokens":9})", plan), R"({"model":"m","max_tokens":7})");
}

TEST(BodyEdit, MovesABoundToTheFieldThatTheModelTakes) {
    EditPlan plan;
    plan.moves_bound = true;
    const auto moved = [&](const std::string& body) { return edited(body, plan); };
    EXPECT_EQ(moved(R"({"max_completion_tokens":9,"model":"m"})"),
              R"({"max_tokens":9,"model":"m"})");
    EXPECT_EQ(moved(R"({"model":"m","max_\u0063ompletion_tokens" : 9})"),
              R"({"model":"m","max_tokens" : 9})");
    EXPECT_EQ(moved(R"({"max_tokens":9,"model":"m"})"), R"({"max_tokens":9,"model":"m"})");
    EXPECT_EQ(moved(R"({"max_completion_tokens":null,"model":"m"})"),
              R"({"max_completion_tokens":null,"model":"m"})");

    plan.bound_field = kMaxCompletionTokens;
    EXPECT_EQ(moved(R"({"max_tokens":9,"model":"m"})"),
              R"({"max_completion_tokens":9,"model":"m"})");
    EXPECT_EQ(moved(R"({"max_completion_tokens":null,"max_tokens":9,"model":"m"})"),
              R"({"max_completion_tokens":9,"max_tokens":null,"model":"m"})");
    EXPECT_EQ(moved(R"({"max_completion_tokens":5,"max_tokens":9,"model":"m"})"),
              R"({"max_completion_tokens":5,"max_tokens":null,"model":"m"})");

    plan.max_tokens = 7;
    EXPECT_EQ(moved(R"({"max_tokens":9,"model":"m"})"),
              R"({"max_completion_tokens":7,"model":"m"})");
    EXPECT_EQ(moved(R"({"model":"m"})"), R"({"max_completion_tokens":7,"model":"m"})");
    EXPECT_EQ(moved(R"({"max_completion_tokens":null,"max_tokens":9,"model":"m"})"),
              R"({"max_completion_tokens":7,"max_tokens":null,"model":"m"})");
    plan.bound_field = kMaxTokens;
    EXPECT_EQ(moved(R"({"max_completion_tokens":null,"model":"m"})"),
              R"({"max_tokens":7,"model":"m"})");
}

TEST(BodyEdit, InsertsBeforeAFieldThatItRenames) {
    EditPlan plan = ask_for_usage();
    plan.moves_bound = true;
    EXPECT_EQ(
        edited(R"({"max_completion_tokens":9,"model":"m","stream":true})", plan),
        R"({"stream_options":{"include_usage":true},"max_tokens":9,"model":"m","stream":true})");
}

TEST(BodyEdit, DoesAllAtOnce) {
    EXPECT_EQ(edited(R"({"stream":true,"model":"a"})", {"b", true, 7}),
              R"({"max_tokens":7,"stream_options":{"include_usage":true},)"
              R"("stream":true,"model":"b"})");
}

// What an independent parser makes of a body: the top-level members as canonical JSON, and the text
// of those that hold some.
struct Reading {
    std::map<std::string, std::string> members;
    std::vector<std::string> text;
    std::vector<std::string> tools;  // each as canonical JSON
    size_t messages = 0;
};

using Tree = std::unique_ptr<yajl_val_s, decltype(&yajl_tree_free)>;

void write_canonical(yajl_val value, std::string& out) {
    if (YAJL_IS_STRING(value)) {
        append_json_string(out, YAJL_GET_STRING(value));
    } else if (YAJL_IS_NUMBER(value)) {
        out += YAJL_GET_NUMBER(value);
    } else if (YAJL_IS_ARRAY(value)) {
        out += '[';
        for (size_t i = 0; i < value->u.array.len; ++i) {
            write_canonical(value->u.array.values[i], out);
            out += ',';
        }
        out += ']';
    } else if (YAJL_IS_OBJECT(value)) {
        std::map<std::string, std::string> members;
        for (size_t i = 0; i < value->u.object.len; ++i) {
            write_canonical(value->u.object.values[i], members[value->u.object.keys[i]]);
        }
        out += '{';
        for (const auto& [key, member] : members) {
            append_json_string(out, key);
            out += ':' + member + ',';
        }
        out += '}';
    } else {
        out += YAJL_IS_NULL(value) ? "null" : YAJL_IS_TRUE(value) ? "true" : "false";
    }
}

// Strings, those in arrays, and those that a message or part holds as role or content.
void collect_text(yajl_val value, std::vector<std::string>& out) {
    if (YAJL_IS_STRING(value) && *YAJL_GET_STRING(value)) {
        out.emplace_back(YAJL_GET_STRING(value));
    }
    for (size_t i = 0; YAJL_IS_ARRAY(value) && i < value->u.array.len; ++i) {
        collect_text(value->u.array.values[i], out);
    }
    for (size_t i = 0; YAJL_IS_OBJECT(value) && i < value->u.object.len; ++i) {
        const std::string_view key = value->u.object.keys[i];
        if (key == "role" || key == "content" || key == "text") {
            collect_text(value->u.object.values[i], out);
        }
    }
}

// What a list holds besides objects is no tool, but text.
void collect_tools(yajl_val value, Reading& reading) {
    if (!YAJL_IS_ARRAY(value)) {
        if (!YAJL_IS_NULL(value)) {
            write_canonical(value, reading.tools.emplace_back());
        }
        return;
    }
    for (size_t i = 0; i < value->u.array.len; ++i) {
        const yajl_val tool = value->u.array.values[i];
        if (YAJL_IS_OBJECT(tool)) {
            write_canonical(tool, reading.tools.emplace_back());
        } else {
            collect_text(tool, reading.text);
        }
    }
}

Reading read(const std::string& body) {
    const Tree tree(yajl_tree_parse(body.c_str(), nullptr, 0), &yajl_tree_free);
    Reading reading;
    if (!tree || !YAJL_IS_OBJECT(tree.get())) {
        ADD_FAILURE() << "not a JSON object: " << body;
        return reading;
    }
    for (size_t i = 0; i < tree->u.object.len; ++i) {
        const std::string key = tree->u.object.keys[i];
        const yajl_val value = tree->u.object.values[i];
        EXPECT_EQ(reading.members.count(key), 0U) << key << " stands twice: " << body;
        write_canonical(value, reading.members[key]);
        if (key == "messages" || key == "prompt" || key == "suffix") {
            collect_text(value, reading.text);
        }
        if (key == "tools") {
            collect_tools(value, reading);
        }
        if (key == "messages") {
            reading.messages = value->u.array.len;
        }
    }
    return reading;
}

// Random chat requests: random order, white space, escapes and nesting.
class Generator {
  public:
    explicit Generator(uint32_t seed) : random_(seed) {}

    unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }

    std::string request() {
        std::vector<std::string> members{member("model", string(below(3) ? "gpt-4o" : "é\"\\m")),
                                         member("messages", messages())};
        add(members, "stream", {"true", "true", "false", "null"});
        add(members, "stream_options",
            {"null", object({}), object({member("include_usage", "true")}),
             object({member("include_usage", "false"), member("x", value(2))}),
             object({member("y", value(2)), member("include_usage", "null")}),
             object({member("z", object({member("include_usage", "false")}))})});
        add(members, "max_tokens", {"null", "1", "77", "500"});
        add(members, "max_completion_tokens", {"null", "2", "77", "900"});
        add(members, "prompt", {string(word()), "null"});
        add(members, "suffix", {value(3)});
        add(members, "tools", {value(4)});
        for (unsigned i = below(4); i > 0; --i) {
            members.push_back(member("extra" + std::to_string(i), value(4)));
        }
        return space() + object(members) + space();
    }

  private:
    std::string space() {
        std::string out;
        while (below(3) == 0) {
            out += " \t\r\n"[below(4)];
        }
        return out;
    }

    std::string word() {
        static const std::vector<std::string> kPieces{
            "a", "model", "hello world",     "\"",         "\\", "\n", "é", "中文", "😀", "{", "}",
            ",", ":",     "\"model\":\"x\"", "max_tokens", "/"};
        std::string out;
        for (unsigned i = below(5); i > 0; --i) {
            out += kPieces[below(static_cast<unsigned>(kPieces.size()))];
        }
        return out;
    }

    // With some of its ASCII characters as \u escapes.
    std::string string(const std::string& text) {
        std::string out = "\"";
        for (const char c : text) {
            std::string one;
            if (static_cast<unsigned char>(c) < 0x80 && below(8) == 0) {
                char escape[8];
                snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
                one = escape;
            } else if (static_cast<unsigned char>(c) < 0x80) {
                append_json_string(one, std::string_view(&c, 1));
                one = one.substr(1, one.size() - 2);
            } else {
                one = c;
            }
            out += one;
        }
        return out + "\"";
    }

    std::string member(const std::string& key, const std::string& value) {
        return string(key) + space() + ":" + space() + value;
    }

    std::string joined(std::vector<std::string> parts) {
        std::shuffle(parts.begin(), parts.end(), random_);
        std::string out = space();
        for (size_t i = 0; i < parts.size(); ++i) {
            out += (i ? "," + space() : "") + parts[i] + space();
        }
        return out;
    }

    std::string object(const std::vector<std::string>& members) {
        return "{" + joined(members) + "}";
    }

    std::string value(int depth) {
        static const std::vector<std::string> kScalars{"null", "true", "0", "-1.5e+3", "\"\""};
        switch (below(depth > 0 ? 5 : 3)) {
            case 0:
            case 1:
                return string(word());
            case 2:
                return kScalars[below(static_cast<unsigned>(kScalars.size()))];
            case 3:
                return "[" + joined({value(depth - 1), value(depth - 1)}) + "]";
            default:
                return object({member("model", value(depth - 1)), member("k", value(depth - 1)),
                               member("text", value(depth - 1))});
        }
    }

    std::string messages() {
        std::vector<std::string> all;
        for (unsigned i = 1 + below(4); i > 0; --i) {
            all.push_back(object({member("role", string("user")), member("content", value(3))}));
        }
        return "[" + joined(all) + "]";
    }

    void add(std::vector<std::string>& members, const std::string& key,
             const std::vector<std::string>& values) {
        if (below(3)) {
            const auto choice = below(static_cast<unsigned>(values.size()));
            members.push_back(member(key, values[choice]));
        }
    }

    std::mt19937 random_;
};

std::string member_of(const Reading& reading, const std::string& key) {
    const auto found = reading.members.find(key);
    return found == reading.members.end() ? "absent" : found->second;
}

// What an edit should come to, said in terms of the parsed request.
void apply(const EditPlan& plan, Reading& reading) {
    if (plan.model) {
        std::string& model = reading.members["model"];
        model.clear();
        append_json_string(model, *plan.model);
    }
    if (plan.max_tokens) {
        const std::string bound = std::to_string(*plan.max_tokens);
        bool done = false;
        for (const char* key : {"max_tokens", "max_completion_tokens"}) {
            const std::string now = member_of(reading, key);
            if (now != "absent" && now != "null") {
                if (std::stoll(now) > *plan.max_tokens) {
                    reading.members[key] = bound;
                }
                done = true;
            }
        }
        const bool current = reading.members.count("max_completion_tokens") > 0;
        if (!done) {
            reading.members[current ? "max_completion_tokens" : std::string(plan.bound_field)] =
                bound;
        }
    }
    if (plan.moves_bound) {
        const bool legacy = plan.bound_field == kMaxTokens;
        const std::string from(legacy ? kMaxCompletionTokens : kMaxTokens);
        const std::string to(plan.bound_field);
        const std::string moved = member_of(reading, from);
        const std::string there = member_of(reading, to);
        if (moved != "absent" && moved != "null") {
            reading.members[from] = "null";
            if (there == "absent") {
                reading.members.erase(from);
            }
            if (there == "absent" || there == "null") {
                reading.members[to] = moved;
            }
        }
    }
    if (plan.include_usage && member_of(reading, "stream") == "true") {
        std::string& options = reading.members["stream_options"];
        const std::string asked = "\"include_usage\":true,";
        if (options.empty() || options == "null" || options == "{}") {
            options = "{" + asked + "}";
            return;
        }
        // Canonical members are sorted, and a nested object stands only behind "z".
        for (const char* other : {"\"include_usage\":false,", "\"include_usage\":null,", ""}) {
            const size_t at = options.find(std::string("{") + other);
            if (at == 0 && options.compare(1, asked.size(), asked) != 0) {
                options = "{" + asked + options.substr(1 + std::string(other).size());
                return;
            }
        }
    }
}

void expect_scan_agrees(const std::string& body, const ScannedRequest& request,
                        const Reading& reading) {
    std::string model;
    append_json_string(model, request.model);
    EXPECT_EQ(model, member_of(reading, "model"));
    EXPECT_EQ(request.stream, member_of(reading, "stream") == "true");
    EXPECT_EQ(request.include_usage,
              member_of(reading, "stream_options").find("{\"include_usage\":true") == 0);
    EXPECT_EQ(static_cast<size_t>(request.prompt.messages), reading.messages);
    std::vector<std::string> tools;
    for (const Structure& structure : request.prompt.structures) {
        const std::string raw = body.substr(structure.value.begin, structure.value.size());
        tools.push_back(member_of(read("{\"tool\":" + raw + "}"), "tool"));
    }
    EXPECT_EQ(tools, reading.tools);
    std::vector<std::string> text;
    for (const Span span : request.prompt.text) {
        const std::string raw = body.substr(span.begin, span.size());
        const auto& one = read("{\"prompt\":\"" + raw + "\"}").text;
        text.insert(text.end(), one.begin(), one.end());
    }
    EXPECT_EQ(text, reading.text) << body;
}

TEST(BodyEdit, ChangesWhatIsPlannedAndNoOtherByte) {
    Generator generator(20240601);
    size_t splices_seen = 0;
    for (int round = 0; round < 2000 && !testing::Test::HasFailure(); ++round) {
        const std::string body = generator.request();
        SCOPED_TRACE(body);
        EditPlan plan;
        if (generator.below(2)) {
            plan.model = generator.below(2) ? "gpt-4o" : "o\"ther/é";
        }
        plan.include_usage = generator.below(2);
        if (generator.below(2)) {
            plan.max_tokens = 77;
        }
        plan.bound_field = generator.below(2) ? kMaxTokens : kMaxCompletionTokens;
        plan.moves_bound = generator.below(2);
        const ScannedRequest request = scanned(body);
        Reading reading = read(body);
        expect_scan_agrees(body, request, reading);

        const std::vector<Splice> splices = plan_splices(body, request, plan);
        splices_seen += splices.size();
        std::string expected = body;
        for (size_t i = splices.size(); i-- > 0;) {
            const Span at = splices[i].at;
            EXPECT_TRUE(at.begin <= at.end && at.end <= body.size());
            EXPECT_TRUE(i == 0 || splices[i - 1].at.end <= at.begin);
            expected.replace(at.begin, at.size(), splices[i].text);
        }
        const std::string out = spliced(body, splices);
        EXPECT_EQ(out, expected);

        apply(plan, reading);
        const Reading after = read(out);
        EXPECT_EQ(after.members, reading.members);
        const ScannedRequest again = scanned(out);
        expect_scan_agrees(out, again, after);
        EXPECT_TRUE(plan_splices(out, again, plan).empty()) << "not settled: " << out;
        if (plan.max_tokens) {
            const int64_t asked = request.max_tokens.value_or(*plan.max_tokens);
            EXPECT_LE(again.max_tokens.value(), std::min(asked, *plan.max_tokens));
            EXPECT_TRUE(plan.moves_bound || again.max_tokens == std::min(asked, *plan.max_tokens));
        }
    }
    EXPECT_GT(splices_seen, 1500U);
}

}  // namespace
}  // namespace llm
