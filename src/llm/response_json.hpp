#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llm/json_scan.hpp"
#include "llm/response_node.hpp"
#include "llm/response_usage.hpp"

struct yajl_handle_t;

namespace llm {

struct ResponseFacts;
namespace tokenizer {
class OutputCount;
}

// Reads JSON documents of any dialect (one response, or the chunks of a stream one after the other)
// and adds what they say to `facts`, which the caller keeps alive. A document may be cut anywhere.
// Memory is bounded, whatever comes: of a long string only the beginning is parsed, the rest is
// counted.
//
// Most are short and come in one piece, as the chunks of a stream do: our own scan reads these, at
// a fraction of what yajl costs, and yajl whatever else there is. Both tell the same.
class ResponseJson {
  public:
    explicit ResponseJson(ResponseFacts& facts) noexcept : facts_(facts) {}

    // From now on output text is counted too. It must outlive the reading.
    void count_output(tokenizer::OutputCount* output) noexcept { output_ = output; }

    ~ResponseJson();
    ResponseJson(const ResponseJson&) = delete;
    ResponseJson& operator=(const ResponseJson&) = delete;

    void feed(std::string_view bytes) noexcept;

    // Ends the document: whether it was one whole JSON object; if not, facts.malformed is set. The
    // next feed starts another document.
    bool finish() noexcept;

    // After finish() returned true: that document carries usage and nothing else for the client.
    bool is_usage_only() const noexcept {
        return shape_.usage && shape_.no_choices && !shape_.error;
    }

  private:
    friend struct ResponseJsonCallbacks;
    using Node = ResponseNode;

    // What one document has at its top, or says of itself.
    struct Shape {
        bool usage = false;       // "usage" is an object
        bool no_choices = false;  // "choices" is an empty array
        bool error = false;       // "error" is an object
        bool ends = false;        // the last one of a stream that means something
        bool repeats = false;     // tells what came in pieces once more
    };

    struct Token {
        json::Event event;
        json::Kind kind;
        bool has_escapes;
        Span raw;
    };

    static constexpr size_t kMaxDepth = 128;
    // So much of a string is parsed: more than any key or model name that matters has.
    static constexpr size_t kParsedString = 8192;
    // No number is so long.
    static constexpr size_t kMaxStalled = 16 * 1024;

    bool read_whole(std::string_view document);
    bool tell(const Token& token, std::string_view document);
    size_t feed_parsed(std::string_view bytes) noexcept;
    size_t feed_skipped(std::string_view bytes) noexcept;
    size_t scan_structure(std::string_view bytes, size_t at) noexcept;
    size_t scan_string(std::string_view bytes, size_t at) noexcept;
    size_t decoded_size(char c) noexcept;
    void parse(std::string_view bytes) noexcept;

    bool on_open(bool map) noexcept;
    bool on_close() noexcept;
    bool on_key(std::string_view key) noexcept;
    bool on_string(std::string_view text) noexcept;
    bool on_number(std::string_view text) noexcept;
    bool on_literal(bool null) noexcept;

    Node arrive() noexcept;
    bool push(Node node) noexcept;
    void enter(Node node) noexcept;
    void leave(Node node) noexcept;
    void add_output(std::string_view text, size_t more_bytes) noexcept;
    void set_model(std::string_view name) noexcept;
    void note_event(std::string_view type) noexcept;
    void tell_usage() noexcept;

    ResponseFacts& facts_;
    tokenizer::OutputCount* output_ = nullptr;
    yajl_handle_t* parser_ = nullptr;  // owned; made when first needed and after a failed document
    bool failed_ = false;
    bool begun_ = false;         // something of the document has come
    bool is_whole_ = false;      // all of it has been read without yajl
    std::vector<Token> tokens_;  // reused
    std::string text_;           // reused: of a string with escapes

    std::array<Node, kMaxDepth> open_;  // the containers around the next value
    size_t depth_ = 0;
    Node member_ = Node::ignored;  // what the last key makes of its value
    bool has_root_ = false;        // the document's value has begun
    Shape shape_;

    ResponseUsage usage_;

    size_t stalled_ = 0;  // bytes that the parser holds without having told anything
    bool in_string_ = false;
    bool skipping_ = false;     // in the part of a string that is only counted
    int escape_ = 0;            // bytes to come of an escape: 5 its letter, 4 to 1 hex digits
    size_t string_bytes_ = 0;   // of the string so far, as written
    size_t skipped_bytes_ = 0;  // decoded size of its skipped part
};

}  // namespace llm
