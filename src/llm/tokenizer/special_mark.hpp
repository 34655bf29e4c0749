#pragma once

#include <cstdint>

namespace llm::tokenizer {

// Looks for "<|" in text, with which the names of nearly all special tokens begin: where a server
// takes "<|im_end|>" in a text for the token of that name, it counts one and not the six of the
// text. ("<think>" and "<tool_call>", which Qwen 3 has besides, are not looked for.)
class SpecialMarkCheck {
  public:
    // More of a text. 16 bytes can be read after its end.
    void feed(const uint8_t* p, const uint8_t* end) noexcept;

    // The text has ended; the next one begins.
    void finish() noexcept { last_ = 0; }

    // In any text so far.
    bool found() const noexcept { return found_; }

  private:
    uint8_t last_ = 0;  // byte of the text so far
    bool found_ = false;
};

}  // namespace llm::tokenizer
