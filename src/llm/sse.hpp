#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm {

// Splits a server-sent event stream (WHATWG HTML, section "Server-sent events") into events, whatever
// way its bytes are cut. Lines end in LF, CRLF or CR; an event ends at an empty line.
class SseSplitter {
  public:
    struct Event {
        std::string_view raw;   // all its bytes, with the line ends and the empty line
        std::string_view data;  // the data lines, joined by LF
    };

    // Events larger than this are not held together: the splitter gives up (overflowed()) and the caller
    // passes bytes on unparsed.
    static constexpr size_t kMaxEvent = 256 * 1024;

    // Appends bytes; next() then yields the complete events, and what is incomplete stays for the next
    // feed. Views are valid until the following feed().
    void feed(std::string_view bytes);
    bool next(Event& event);

    // The bytes of the incomplete event at the end of what was fed.
    std::string_view pending() const noexcept;
    bool overflowed() const noexcept;
};

}  // namespace llm
