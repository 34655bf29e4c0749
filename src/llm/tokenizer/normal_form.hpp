#pragma once

#include <cstdint>

#include "llm/tokenizer/vocabulary.hpp"

namespace llm::tokenizer {

// What Unicode's Normalization Form C (NFC) turns on, of a code point.
enum NormalClass : uint8_t {
    kOrderMask = 63,  // the place of its Canonical_Combining_Class among all there are; 0: starter
    kNeverNormal = 63,   // in place of that: NFC_Quick_Check=No
    kComposesNext = 64,  // a composite, or the first character of one
    kComposesBack = 128  // the second character of a composite (NFC_Quick_Check=Maybe)
};

// Looks whether text is in NFC, in one pass, by the quick check of UAX #15 ("Detecting
// Normalization Forms"): takes no text for normal that is not. Where that says "maybe", it doubts
// only a mark that composes with some characters after a character that composes with some marks.
class NormalFormCheck {
  public:
    // The vocabulary must outlive it.
    explicit NormalFormCheck(const Vocabulary& vocabulary) noexcept : vocabulary_(&vocabulary) {}

    // More of a text: whole characters of valid UTF-8. 16 bytes can be read after its end.
    void feed(const uint8_t* p, const uint8_t* end) noexcept;

    // The text has ended; the next one begins.
    void finish() noexcept { state_.starter = state_.last_order = 0; }

    // Whether a text so far may not be normal.
    bool doubts() const noexcept { return state_.doubts; }

  private:
    struct State {
        uint8_t starter = 0;     // the last one's class
        uint8_t last_order = 0;  // of the last character
        bool doubts = false;

        void take(uint8_t normal_class) noexcept;
    };

    const Vocabulary* vocabulary_;
    State state_;
};

}  // namespace llm::tokenizer
