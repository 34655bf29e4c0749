#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "llm/request_fields.hpp"
#include "llm/request_scan.hpp"

namespace llm::scan {

// What a value is in a prompt, by its key (see prompt_keys.cpp).
enum class PromptKey : uint8_t {
    other,
    text,  // a string is text; an object or array holds more of it
    name,
    call,        // of a tool: what it holds is text
    call_id,     // stands with tool calls and their results
    call_input,  // a string is text, an object is not
    type,
    detail,
    image,   // a URL, or {"url":…,"detail":…}
    source,  // Anthropic's, of images and documents: {"type":…,"media_type":…,"data":…}
    sound,   // {"data":…,"format":…}, or an answer of before: {"id":…}
    file,    // {"file_data":…} or {"url":…}, of a video too
    file_data,
    reference,  // the URL or id of a file or image
    url,
    data,
    media_type,
    format,
    content,
};

PromptKey find_prompt_key(std::string_view name) noexcept;

// Collects PromptContent from the top-level members that hold a prompt. A part of request_scan.cpp,
// which passes on the value of such a member, every key and value inside, and every end.
class PromptText {
  public:
    PromptText(std::string_view body, Endpoint endpoint, PromptContent& out);

    // A top-level member.
    void begin(Field field, const Value& value);
    // Inside of it.
    void on_key(std::string_view key) { key_ = find_prompt_key(key); }
    void on_value(const Value& value);
    // An object or array inside of it, or all of it, has ended before `end`.
    void on_close(size_t end);
    // After the last member.
    void finish();

    // Whether `field` (messages, prompt or input) holds anything.
    bool holds(Field field) const { return held_ & held_bit(field); }

  private:
    // What an object or array that is open is.
    enum class Place : uint8_t {
        elsewhere,  // nothing there is known
        list,       // of texts and blocks
        block,      // a message, an item, a part, a tool call
        tools,
        structure,
        in_structure,
        image,
        source,
        sound,
        file,
    };

    struct Frame {
        Place place;
        Structure::Rule rule = Structure::Rule::json;  // of a structure
        PromptImage::Detail detail = PromptImage::Detail::automatic;
        bool is_text = false;   // a source: outweighs the others
        bool is_file = false;   // a source or block
        bool is_image = false;  // a source of the image's bytes
        bool is_pcm = false;    // a sound
        bool refers = false;    // a block or source: to a file or image that stands elsewhere
        size_t begin = 0;       // of a structure
        // What is decided when all members are known; never more than one of each, so that the end
        // of a frame takes no longer than that.
        std::optional<Value> data{};         // of a source or sound: a string
        std::optional<PromptImage> image{};  // of a block or image
    };

    static constexpr uint32_t held_bit(Field field) { return 1U << static_cast<unsigned>(field); }

    void enter(const Value& value);
    Frame& open(Place place);
    void open_structure(Structure::Rule rule, const Value& value);
    void add_structure(Structure::Rule rule, Span value);
    void begin_tools(const Value& value);
    void add_text(const Value& value);
    void add_other(const Value& value);
    void add_implied_message();
    void on_tool(const Value& value);
    void on_element(const Value& value);
    void count_element(Kind kind);
    void on_member(PromptKey key, const Value& value);
    void on_name(const Value& value);
    void on_call_input(const Value& value);

    // prompt_media.cpp
    void on_media(PromptKey key, const Value& value);
    void on_image(const Value& value);
    void on_source(const Value& value);
    void on_image_member(PromptKey key, const Value& value);
    void on_source_member(PromptKey key, const Value& value);
    void read_media_type(const Value& value);
    void on_sound_member(PromptKey key, const Value& value);
    void on_file_member(PromptKey key, const Value& value);
    void on_file_data(const Value& value);
    void keep_data(const Value& value);
    void keep_image(const PromptImage& image);
    void close(const Frame& frame, size_t end);
    void close_image(const Frame& frame);
    void close_source(const Frame& frame);
    void close_sound(const Frame& frame);
    void close_block(const Frame& frame);

    const std::string_view body_;
    const Endpoint endpoint_;
    PromptContent& out_;
    Field field_ = Field::messages;
    PromptKey key_ = PromptKey::other;  // from a key to its value
    std::vector<Frame> frames_;
    uint32_t held_ = 0;           // held_bit()s
    int64_t elements_ = 0;        // of the endpoint's prompts or inputs, without numbers
    bool has_token_ids_ = false;  // directly in it
};

}  // namespace llm::scan
