// Requests in slices, and requests that are broken.

#include <random>
#include <sstream>

#include "request_scan_support.hpp"

namespace {

using namespace request_scan_support;

std::string outcome(std::string_view body, const ScanResult& result) {
    std::ostringstream out;
    if (const auto* error = std::get_if<ApiError>(&result)) {
        out << error->code << ' ' << error->message;
        return out.str();
    }
    const auto& r = std::get<ScannedRequest>(result);
    const PromptContent& p = r.prompt;
    out << p.implied_roles << ' ' << p.names << ' ' << p.audio.expected << ' ' << p.file_bytes
        << ' ' << p.remote_media << ' ' << p.has_tool_calls << ' ' << p.other_bytes << ' ';
    for (const PromptImage& image : p.images) {
        out << image.size.width << static_cast<int>(image.detail) << ' ';
    }
    out << r.model << ' ' << r.user << ' ' << r.max_tokens.value_or(-1) << ' ' << r.stream << ' '
        << r.include_usage << ' ' << r.choices << ' ' << r.prompt.inputs << ' ' << r.prompt.messages
        << ' ' << r.prompt.images.size() << ' ' << r.prompt.token_ids << ' '
        << prompt_token_bound(r.prompt);
    for (const auto& list : {r.tags, texts(body, r.prompt.text), structures(body, r)}) {
        for (const std::string& one : list) {
            out << '\n' << one;
        }
    }
    return out.str();
}

ScanResult scanned_in_slices(std::string_view body, size_t slice) {
    RequestScan scan(body, kChat);
    while (!scan.advance(slice)) {
    }
    return scan.take();
}

// Something of every shape that a prompt may have.
std::string rich_body() {
    return R"({"model":"m","system":[{"type":"text","text":"s"}],"instructions":"i","messages":[)"
           R"({"role":"user","name":"n","content":[{"type":"text","text":"\u00e9 x"},{"image_url":)"
           R"({"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACUAAAAVCAIAAABO","detail":"low"}},)"
           R"({"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA"}},)"
           R"({"type":"image","source":{"type":"url","url":"u"}},{"input_audio":{"data":"AAAA",)"
           R"("format":"wav"}},{"file":{"file_data":"AAAA"}},{"type":"input_file","file_id":"f"}]},)"
           R"({"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},)"
           R"({"role":"tool","tool_call_id":"c","content":[{"type":"tool_use","input":{"a":[1]}}]}],)"
           R"("tools":[{"name":"f"}],"tool_choice":"auto","input":["a",[1,2],{"role":"user"}],)"
           R"("response_format":{"json_schema":{"schema":{}}},"prediction":{"content":"p"}})";
}

TEST(RequestScanSlices, SlicesChangeNothing) {
    for (const std::string& body :
         {rich_body(),
          chat(R"("max_tokens":12345,"tools":[{"a":"\u00e9\""}],"stream":true,"x":-1.5e3)"),
          chat(R"("user":"so\u006deone é","metadata":{"tags":["a","b"]},"n":3,"prompt":[1,[2]])"),
          chat(R"("stream_options":{"include_usage":true},"max_tokens":"1")"), chat(R"("x":nul)"),
          std::string(R"({"model":"m")")}) {
        for (size_t slice = 1; slice <= body.size(); ++slice) {
            EXPECT_EQ(outcome(body, scanned_in_slices(body, slice)),
                      outcome(body, scan_request(body, kChat)));
        }
    }
}

// Whatever is done to a body, the scan ends with a 400 or with spans that lie inside it.
TEST(RequestScanSlices, SurvivesMutatedBodies) {
    const std::string seeds[] = {
        chat(
            R"("max_tokens":12,"tools":[{"a":"\u00e9\""}],"stream":true,"stream_options":{"include_usage")"
            R"(:false,"x":[1,{}]},"metadata":{"tags":["a","b"]},"prompt":[[1,2],"x"],"user":"\ud83d\ude00")"),
        rich_body()};
    std::mt19937 random(20240601);
    const std::string alphabet = "{}[]\",:\\u0019.e-tfn \x80\xc3\xff";
    int accepted = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::string body = seeds[round % 2];
        for (unsigned edits = 1 + random() % 3; edits > 0; --edits) {
            const size_t where = random() % body.size();
            const char c = alphabet[random() % alphabet.size()];
            switch (random() % 3) {
                case 0:
                    body[where] = c;
                    break;
                case 1:
                    body.insert(where, 1, c);
                    break;
                default:
                    body.erase(where, 1);
            }
        }
        const ScanResult result = scan_request(body, kChat);
        ASSERT_EQ(outcome(body, scanned_in_slices(body, 1 + random() % 50)), outcome(body, result));
        const auto* r = std::get_if<ScannedRequest>(&result);
        if (!r) {
            EXPECT_EQ(std::get<ApiError>(result).status, 400);
            continue;
        }
        ++accepted;
        EXPECT_FALSE(r->model.empty());
        EXPECT_EQ(at(body, r->model_value).front(), '"');
        int64_t bytes = 0;
        for (const Span span : r->prompt.text) {
            ASSERT_TRUE(span.begin > 0 && span.begin < span.end && span.end < body.size());
            EXPECT_EQ(body[span.begin - 1], '"');
            EXPECT_EQ(body[span.end], '"');
            bytes += static_cast<int64_t>(span.size());
        }
        for (const Structure& structure : r->prompt.structures) {
            const Span span = structure.value;
            ASSERT_TRUE(span.begin < span.end && span.end <= body.size());
            bytes += static_cast<int64_t>(span.size());
        }
        EXPECT_EQ(r->prompt.text_bytes, bytes);
    }
    EXPECT_GT(accepted, 1000);
}

}  // namespace
