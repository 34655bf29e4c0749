#pragma once

#include <cstddef>
#include <cstdint>

namespace llm::tokenizer {

struct Kernels;

// How a text comes: as it is, or as it stands between the quotes of a JSON string.
enum class TextForm : uint8_t { plain, json };

// Turns bytes that come in parts, cut anywhere, into valid UTF-8: undoes JSON's escapes, and puts
// U+FFFD for each lone surrogate and for each (maximal) broken sequence of UTF-8.
class TextDecoder {
  public:
    struct Progress {
        const uint8_t* in;  // read up to here
        uint8_t* out;       // written up to here
    };

    // Goes on until all input is read or less than kRoom is left for output.
    Progress decode(const Kernels& kernels, const uint8_t* in, const uint8_t* in_end, uint8_t* out,
                    uint8_t* out_end, TextForm form) noexcept;

    // The text has ended: what is pending is broken. Needs kRoom. The decoder begins anew.
    uint8_t* finish(uint8_t* out) noexcept;

    bool pending() const noexcept { return state_ != State::text || high_surrogate_ != 0; }

    static constexpr size_t kRoom = 16;

  private:
    enum class State : uint8_t { text, sequence, escape, unicode };

    uint8_t* step(uint8_t byte, uint8_t* out, TextForm form) noexcept;
    uint8_t* begin_character(uint8_t byte, uint8_t* out) noexcept;
    uint8_t* end_escape(uint8_t byte, uint8_t* out) noexcept;
    uint8_t* end_unicode(uint8_t* out) noexcept;
    uint8_t* drop_surrogate(uint8_t* out) noexcept;

    State state_ = State::text;
    uint8_t sequence_[4] = {};
    uint8_t sequence_size_ = 0;
    uint8_t sequence_need_ = 0;
    uint8_t next_min_ = 0;  // what the next byte of the sequence may be
    uint8_t next_max_ = 0;
    uint8_t hex_digits_ = 0;
    uint16_t hex_ = 0;
    uint16_t high_surrogate_ = 0;  // of an escape before; 0: none
};

}  // namespace llm::tokenizer
