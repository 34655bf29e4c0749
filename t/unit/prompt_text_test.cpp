// What of a request is prompt, in the shapes of all dialects.

#include <gtest/gtest.h>

#include <string>

#include "llm/request_scan.hpp"

namespace llm {
namespace {

using Strings = std::vector<std::string>;
using Detail = PromptImage::Detail;

constexpr auto kChat = Endpoint::chat_completions;

// 37 × 21 pixels.
const std::string kPng =
    "iVBORw0KGgoAAAANSUhEUgAAACUAAAAVCAIAAABOhrD5AAAAJklEQVR4nGM8ISfHQEfARE/LRu0btW/UvlH7";

struct Scanned {
    std::string body;
    PromptContent prompt;

    Strings text() const {
        Strings out;
        for (const Span& span : prompt.text) {
            out.push_back(body.substr(span.begin, span.size()));
        }
        return out;
    }
    Strings structures(Structure::Rule rule) const {
        Strings out;
        for (const Structure& structure : prompt.structures) {
            if (structure.rule == rule) {
                out.push_back(body.substr(structure.value.begin, structure.value.size()));
            }
        }
        return out;
    }
    // "37x21 low" for each.
    Strings images() const {
        static constexpr const char* kDetails[] = {"auto", "low", "high", "original"};
        Strings out;
        for (const PromptImage& image : prompt.images) {
            out.push_back(std::to_string(image.size.width) + "x" +
                          std::to_string(image.size.height) + " " +
                          kDetails[static_cast<size_t>(image.detail)]);
        }
        return out;
    }
};

Scanned scan(const std::string& body, Endpoint endpoint = kChat) {
    ScanResult result = scan_request(body, endpoint);
    if (const auto* error = std::get_if<ApiError>(&result)) {
        ADD_FAILURE() << error->message << "\n" << body;
        return {};
    }
    return {body, std::get<ScannedRequest>(std::move(result)).prompt};
}

// `members`: of one message.
Scanned message(const std::string& members) {
    return scan(R"({"model":"m","messages":[{)" + members + "}]}");
}

// `parts`: of one message's content.
Scanned content(const std::string& parts) {
    return message("\"content\":[" + parts + "]");
}

TEST(PromptText, OfAMessageIsWhatAModelSees) {
    const Scanned s = message(
        R"("role":"assistant","name":"n","content":"c","refusal":"r","tool_call_id":"call_1",)"
        R"("reasoning_content":"why","unknown":"xyz","deep":{"content":"no"},"content_id":5)");
    EXPECT_EQ(s.text(), (Strings{"assistant", "n", "c", "r", "why"}));
    EXPECT_EQ(s.prompt.names, 1);
    EXPECT_EQ(s.prompt.messages, 1);
    EXPECT_TRUE(s.prompt.has_tool_calls);
    EXPECT_EQ(s.prompt.other_bytes, 6 + 3 + 2);
}

TEST(PromptText, CountsNamesOfMessagesOnly) {
    const Scanned s = scan(
        R"({"model":"m","messages":[{"role":"u","name":"a"},{"role":"u"},{"name":"b","n\u0061me2":1},)"
        R"({"name":null,"tool_calls":[{"function":{"name":"f"}}]},{"content":[{"name":"t"}]}]})");
    EXPECT_EQ(s.prompt.names, 2);
    EXPECT_EQ(s.prompt.messages, 5);
    EXPECT_EQ(s.text(), (Strings{"u", "a", "u", "b", "f", "t"}));
}

TEST(PromptText, OfPartsIsNotTheirTypeOrId) {
    const Scanned s = content(
        R"({"type":"text","text":"t","cache_control":{"type":"ephemeral"}},"plain",)"
        R"({"text":"u","type":"input_text","id":"i"},{"type":"output_text","text":"v"},)"
        R"({"type":"refusal","refusal":"w"},{"type":"thinking","thinking":"x","signature":"sig"},)"
        R"({"type":"redacted_thinking","data":"secret"})");
    EXPECT_EQ(s.text(), (Strings{"t", "plain", "u", "v", "w", "x"}));
    EXPECT_FALSE(s.prompt.has_tool_calls);
    EXPECT_TRUE(s.prompt.images.empty());
    EXPECT_GE(s.prompt.other_bytes, 6 + 3);
}

TEST(PromptText, OfToolCallsIsNameAndArguments) {
    const Scanned s = message(
        R"("content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f",)"
        R"("arguments":"{\"a\":1}"}},{"id":"call_2","type":"custom","custom":{"name":"g",)"
        R"("input":"raw"}}])");
    EXPECT_EQ(s.text(), (Strings{"f", R"({\"a\":1})", "g", "raw"}));
    EXPECT_TRUE(s.prompt.has_tool_calls);
    const Scanned old = message(R"("function_call":{"name":"f","arguments":"{}"})");
    EXPECT_EQ(old.text(), (Strings{"f", "{}"}));
    EXPECT_TRUE(old.prompt.has_tool_calls);
    EXPECT_FALSE(message(R"("content":"x","tool_calls":null)").prompt.has_tool_calls);
}

TEST(PromptText, OfAnthropicMessages) {
    const Scanned s = scan(
        R"({"model":"m","max_tokens":9,"system":[{"type":"text","text":"sys",)"
        R"("cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"},)"
        R"({"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},)"
        R"({"type":"tool_use","id":"toolu_1","name":"get","input":{"city":"x"}}]},{"role":"user",)"
        R"("content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text",)"
        R"("text":"sun"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":")" +
            kPng +
            R"("}}]},{"type":"tool_result","tool_use_id":"t2","content":"rain"}]}],)"
            R"("tools":[{"name":"get","description":"d","input_schema":{"type":"object"}}],)"
            R"("tool_choice":{"type":"tool","name":"get"}})",
        Endpoint::messages);
    EXPECT_EQ(s.text(),
              (Strings{"sys", "user", "hi", "assistant", "hm", "get", "user", "sun", "rain"}));
    EXPECT_EQ(s.prompt.messages, 4);
    EXPECT_EQ(s.prompt.implied_roles, 1);
    EXPECT_EQ(s.images(), Strings{"37x21 auto"});
    EXPECT_EQ(s.structures(Structure::Rule::json), Strings{R"({"city":"x"})"});
    EXPECT_EQ(s.structures(Structure::Rule::tool).size(), 1U);
    EXPECT_EQ(s.structures(Structure::Rule::tool_choice).size(), 1U);
    EXPECT_TRUE(s.prompt.has_tool_calls);
}

TEST(PromptText, OfResponses) {
    const Scanned text =
        scan(R"({"model":"m","instructions":"be","input":"hello","text":{"format":)"
             R"({"type":"json_schema","name":"n","schema":{"a":1}}}})",
             Endpoint::responses);
    EXPECT_EQ(text.text(), (Strings{"be", "hello"}));
    EXPECT_EQ(text.prompt.messages, 2);
    EXPECT_EQ(text.prompt.implied_roles, 2);
    EXPECT_EQ(text.structures(Structure::Rule::format).size(), 1U);

    const Scanned items = scan(
        R"({"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"t"},)"
        R"({"type":"input_image","image_url":"data:image/png;base64,)" +
            kPng +
            R"(","detail":"low"},{"type":"input_image","detail":"high","file_id":"file-1"},)"
            R"({"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,)" +
            std::string(4000, 'A') +
            R"("},{"type":"input_file","file_url":"https://x/a.pdf"}]},)"
            R"({"type":"function_call","call_id":"c","name":"f","arguments":"{}"},)"
            R"({"type":"function_call_output","call_id":"c","output":"sunny"},)"
            R"({"type":"reasoning","id":"rs","summary":[{"type":"summary_text","text":"s"}],)"
            R"("encrypted_content":"gAAA"}]})",
        Endpoint::responses);
    EXPECT_EQ(items.text(), (Strings{"user", "t", "f", "{}", "sunny", "s"}));
    EXPECT_EQ(items.prompt.messages, 4);
    EXPECT_EQ(items.prompt.implied_roles, 0);
    EXPECT_EQ(items.images(), (Strings{"37x21 low", "0x0 high"}));
    EXPECT_EQ(items.prompt.file_bytes, 3003);
    EXPECT_EQ(items.prompt.remote_media, 1);
    EXPECT_TRUE(items.prompt.has_tool_calls);
}

TEST(PromptText, OfPromptsAndInputs) {
    const Scanned completion =
        scan(R"({"model":"m","prompt":["p","q"],"suffix":"s","stop":["not text"],"echo":true,)"
             R"("prediction":{"type":"content","content":[{"type":"text","text":"c"}]}})",
             Endpoint::completions);
    EXPECT_EQ(completion.text(), (Strings{"p", "q", "s", "c"}));
    EXPECT_EQ(completion.prompt.inputs, 2);
    EXPECT_EQ(completion.prompt.messages, 0);
    EXPECT_EQ(completion.prompt.other_bytes, 7 + 4);

    const Scanned embeddings =
        scan(R"({"model":"m","input":["a",[1,2],[3]]})", Endpoint::embeddings);
    EXPECT_EQ(embeddings.text(), Strings{"a"});
    EXPECT_EQ(embeddings.prompt.token_ids, 3);
    EXPECT_EQ(embeddings.prompt.inputs, 3);

    const Scanned counter = scan(R"({"model":"m","prompt":"p"})", Endpoint::token_counter);
    EXPECT_EQ(counter.text(), Strings{"p"});
    EXPECT_EQ(counter.prompt.messages, 0);
    EXPECT_EQ(scan(R"({"model":"m","input":["a","b"]})", Endpoint::token_counter).prompt.inputs, 2);
}

TEST(PromptText, StructuresKnowTheirRule) {
    const Scanned s = scan(
        R"({"model":"m","messages":[{}],"tools":[{"content":"no"},[1],"x"],"functions":{"a":[]},)"
        R"("tool_choice":"auto","function_call":{"name":"f"},"response_format": {"type" : "\u006a"} ,)"
        R"("text":null})");
    EXPECT_EQ(s.structures(Structure::Rule::tool), Strings{R"({"content":"no"})"});
    EXPECT_EQ(s.structures(Structure::Rule::json), Strings{R"({"a":[]})"});
    EXPECT_EQ(s.structures(Structure::Rule::tool_choice), (Strings{"\"auto\"", R"({"name":"f"})"}));
    EXPECT_EQ(s.structures(Structure::Rule::format), Strings{R"({"type" : "\u006a"})"});
    EXPECT_EQ(s.text(), Strings{"x"});
    EXPECT_EQ(s.prompt.other_bytes, 0);
}

TEST(PromptText, WhatStandsTwiceCountsTwice) {
    const Scanned images = content(R"({"image_url":"u","image_url":{"url":"u","url":"v"}})");
    EXPECT_EQ(images.images(), (Strings{"0x0 auto", "0x0 auto", "0x0 auto"}));
    const Scanned source =
        content(R"({"source":{"media_type":"application/pdf","data":"abcd","data":"efgh"}})");
    EXPECT_EQ(source.text(), Strings{"abcd"});
    EXPECT_EQ(source.prompt.file_bytes, base64_bytes("efgh"));
    const Scanned sound = content(R"({"input_audio":{"data":"abcd","data":"efgh"}})");
    EXPECT_EQ(sound.text(), Strings{"abcd"});
    EXPECT_EQ(sound.prompt.audio.at_most, audio_length("efgh", false).at_most);
}

TEST(PromptText, ImagesHaveADetailAndASize) {
    const auto images = [](const std::string& parts) { return content(parts).images(); };
    const std::string data = "data:image/png;base64," + kPng;
    EXPECT_EQ(
        images(R"({"type":"image_url","image_url":{"url":")" + data + R"(","detail":"high"}})"),
        Strings{"37x21 high"});
    EXPECT_EQ(images(R"({"image_url":{"detail":"low","url":")" + data + R"("}})"),
              Strings{"37x21 low"});
    EXPECT_EQ(images(R"({"image_url":{"url":"https://x/a.png","detail":"origin\u0061l"}})"),
              Strings{"0x0 original"});
    EXPECT_EQ(images(R"({"image_url":"https://x"},{"image_url":")" + data + R"(","detail":"low"})"),
              (Strings{"0x0 auto", "37x21 low"}));
    EXPECT_EQ(images(R"({"type":"image_url","image\u005furl":{"url":"u"}},{"image_url":{}})"),
              (Strings{"0x0 auto", "0x0 auto"}));
    EXPECT_EQ(images(R"({"image_url":null},{"image_url":["t"]},{"image_url":5})"), Strings{});
    // The member ends where its object ends.
    const Scanned s =
        content(R"({"image_url":{"url":"u","x":{"text":"z"}},"text":"after"},"next")");
    EXPECT_EQ(s.text(), (Strings{"after", "next"}));
    EXPECT_EQ(s.images(), Strings{"0x0 auto"});
}

TEST(PromptText, SourcesAreImagesFilesOrText) {
    const auto check = [](const std::string& part, const Strings& text, const Strings& images,
                          int64_t file_bytes, int64_t remote) {
        const Scanned s = content(part);
        EXPECT_EQ(s.text(), text) << part;
        EXPECT_EQ(s.images(), images) << part;
        EXPECT_EQ(s.prompt.file_bytes, file_bytes) << part;
        EXPECT_EQ(s.prompt.remote_media, remote) << part;
    };
    check(R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":")" + kPng +
              R"("}})",
          {}, {"37x21 auto"}, 0, 0);
    check(R"({"source":{"data":"d","media_type":"image/png","type":"base64"}})", {}, {"0x0 auto"},
          0, 0);
    check(R"({"type":"image","source":{"type":"url","url":"u"}})", {}, {"0x0 auto"}, 0, 0);
    check(R"({"type":"image","source":{"type":"file","file_id":"f"}})", {}, {"0x0 auto"}, 0, 0);
    check(R"({"source":{"type":"url","url":"u"},"type":"document"})", {}, {}, 0, 1);
    check(R"({"type":"document","source":{"type":"file","file_id":"f"}})", {}, {}, 0, 1);
    check(R"({"type":"document","title":"T","context":"C","source":{"type":"base64",)"
          R"("media_type":"application/pdf","data":"AAAAAAAA"}})",
          {"T", "C"}, {}, 9, 0);
    check(R"({"source":{"type":"text","media_type":"text/plain","data":"long text"}})",
          {"long text"}, {}, 0, 0);
    check(R"({"source":{"type":"content","content":[{"type":"text","text":"t"}]}})", {"t"}, {}, 0,
          0);
    check(R"({"type":"search_result","source":"https://x","title":"T","content":[{"text":"t"}]})",
          {"https://x", "T", "t"}, {}, 0, 0);
    check(R"({"source":{"data":"d","media_type":"image\/png"}})", {}, {"0x0 auto"}, 0, 0);
    check(R"({"source":{"data":"long","media_type":null}})", {"long"}, {}, 0, 0);
    // Text cannot pass for an image by a key that stands twice.
    check(R"({"source":{"type":"url","type":"text","data":"long"}})", {"long"}, {}, 0, 0);
    check(R"({"source":{"media_type":"image/png","media_type":"text/plain","data":"long"}})",
          {"long"}, {}, 0, 0);
    check(R"({"source":{"type":"url","content":"long"}})", {"long"}, {}, 0, 0);
    check(R"({"source":{"data":"long"}})", {"long"}, {}, 0, 0);
}

TEST(PromptText, SoundsHaveALength) {
    const std::string sound(64'000, 'A');
    const Scanned s = content(R"({"type":"input_audio","input_audio":{"data":")" + sound +
                              R"(","format":"pcm16"}},{"text":"t"})");
    EXPECT_EQ(s.prompt.audio.expected, 1000);
    EXPECT_EQ(s.text(), Strings{"t"});
    EXPECT_EQ(s.prompt.other_bytes, 11);
    const Scanned past = message(R"("role":"assistant","audio":{"id":"audio_1"})");
    EXPECT_EQ(past.prompt.remote_media, 1);
    EXPECT_EQ(past.prompt.audio.expected, 0);
}

TEST(PromptText, FilesHaveASizeOrAreRemote) {
    const Scanned s = content(
        R"({"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}},)"
        R"({"type":"file","file":{"file_id":"file-1"}},{"type":"video_url","video_url":{"url":"u"}},)"
        R"({"type":"video_url","video_url":{"url":"data:video/mp4;base64,AAAA"}})");
    EXPECT_EQ(s.prompt.file_bytes, 6 + 6);
    EXPECT_EQ(s.prompt.remote_media, 2);
    EXPECT_TRUE(s.text().empty());
    EXPECT_TRUE(s.prompt.images.empty());
}

// Values of kinds that no API takes: each is passed over, and what follows is still read.
TEST(PromptText, SurvivesValuesOfAnyKind) {
    for (const char* key :
         {"role",       "name",         "content",       "text",      "refusal",     "thinking",
          "tool_calls", "function",     "function_call", "custom",    "arguments",   "input",
          "output",     "summary",      "type",          "detail",    "image_url",   "image",
          "source",     "data",         "media_type",    "url",       "format",      "file",
          "file_data",  "file_id",      "file_url",      "video_url", "input_audio", "audio",
          "call_id",    "tool_call_id", "tool_use_id",   "title",     "context",     "transcript",
          "unknown"}) {
        for (const char* value : {"null", "true", "5", "1.5", "\"\"", "\"s\"", "[]", "{}", "[[{}]]",
                                  R"({"a":{"b":[]}})", R"([{"url":{}},{"data":[]}])"}) {
            for (const char* around : {"%", R"({"image_url":%})", R"({"source":%})",
                                       R"({"input_audio":%})", R"({"file":%})"}) {
                std::string part = around;
                const std::string member = "{\"" + std::string(key) + "\":" + value + "}";
                part.replace(part.find('%'), 1, member);
                const Scanned s = content(part + ",\"next\"");
                ASSERT_FALSE(s.text().empty()) << part;
                EXPECT_EQ(s.text().back(), "next") << part;
            }
        }
    }
}

TEST(PromptBound, IsTheSumOfItsParts) {
    const auto bound = [](const std::string& body, Endpoint endpoint) {
        return prompt_token_bound(scan(body, endpoint).prompt);
    };
    EXPECT_EQ(bound(R"({"model":"m"})", Endpoint::completions), 6);
    EXPECT_EQ(bound(R"({"model":"m","prompt":"abcde"})", Endpoint::completions), 6 + 5);
    EXPECT_EQ(bound(R"({"model":"m","prompt":["ab","c"]})", Endpoint::completions), 2 * 6 + 3);
    EXPECT_EQ(bound(R"({"model":"m","input":[1,2,3,4]})", Endpoint::embeddings), 6 + 4);
    const std::string hi = R"({"model":"m","messages":[{"role":"user","content":"hi"}])";
    EXPECT_EQ(bound(hi + "}", kChat), 6 + 5 + 4 + 2);
    EXPECT_EQ(bound(hi + R"(,"tools":[{}]})", kChat), 6 + 5 + 4 + 2 + 2 + 1024);
    EXPECT_EQ(bound(hi + R"(,"system":"s"})", kChat), 6 + 2 * 5 + 1 + 4 + 2 + 1);
    EXPECT_EQ(bound(R"({"model":"m","messages":[{"image_url":"x"}]})", kChat), 6 + 5 + 48169);
    EXPECT_EQ(bound(R"({"model":"m","messages":[{"x":"unknown"}]})", kChat), 6 + 5 + 7);
    EXPECT_EQ(bound(R"({"model":"m","messages":[{"file_data":"AAAA"}]})", kChat), 6 + 5 + 6);
    EXPECT_EQ(bound(R"({"model":"m","messages":[{"input_audio":{"format":"pcm16","data":")" +
                        std::string(64'000, 'A') + "\"}}]}",
                    kChat),
              6 + 5 + 32);
}

}  // namespace
}  // namespace llm
