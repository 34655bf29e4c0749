#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "llm/request_fields.hpp"
#include "llm/request_scan.hpp"

namespace llm::scan {

// What of messages, prompt, input and the like a tokenizer has to count: collects the spans of text
// and tells images from it. A part of request_scan.cpp, which passes on what yajl reads in those
// members. `depth` is the number of objects and arrays around a key or value; the top-level members
// have 1.
class PromptText {
  public:
    PromptText(Endpoint endpoint, ScannedRequest& out);

    void on_key(std::string_view key, int depth);
    void on_value(Field field, const Value& value, int depth);
    // An object or array at `depth` has ended.
    void on_container_end(int depth);
    // After the last value.
    void finish();

  private:
    enum class PartKey : uint8_t { none, image_url, source, source_type, media_type };

    // The outermost member "image_url" or "source" that we are in. Its strings are kept with the
    // text until its end tells whether it is an image.
    struct ImageMember {
        int depth = 0;  // 0: not in one
        size_t text_mark = 0;
        bool holds_image = false;
        bool holds_text = false;  // outweighs holds_image
    };

    void count_element(Field field, Kind kind);
    bool opens_image(PartKey key, const Value& value, int depth);
    void judge_source(PartKey key, std::string_view text);

    const Endpoint endpoint_;
    ScannedRequest& out_;
    PartKey key_ = PartKey::none;  // from a key to its value
    ImageMember image_;
    int64_t elements_ = 0;        // of the endpoint's prompt or input, without numbers
    bool has_token_ids_ = false;  // directly in it
};

}  // namespace llm::scan
