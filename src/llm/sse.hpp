#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm {

// Splits a server-sent event stream (WHATWG HTML, section "Server-sent events") into events,
// whatever way its bytes are cut. Lines end in LF, CRLF or CR; an event ends at an empty line. The
// raw bytes of the events in their order, and then pending(), are always exactly what was fed.
class SseSplitter {
  public:
    struct Event {
        std::string_view raw;   // all its bytes, with the line ends and the empty line
        std::string_view data;  // the data lines, joined by LF
        // Not an event of its own: only the LF of the CRLF that ended the previous event, which had
        // to be yielded at its CR because a feed ended there. It shares that event's fate.
        bool tail = false;
    };

    // Events larger than this are not held together: the splitter gives up (overflowed()) and the
    // caller passes bytes on unparsed.
    static constexpr size_t kMaxEvent = 256 * 1024;

    // Takes bytes; next() then yields the complete events, and what is incomplete stays for the
    // next feed once next() has returned false (call it until then). `raw` is valid until the
    // following feed(), but no longer than `bytes`, which it may point into; `data` until the
    // following next(). After an overflow what is fed is ignored, and pending() dropped.
    void feed(std::string_view bytes);
    bool next(Event& event);

    // At the end of the stream: the incomplete event as if it had ended, if there is one. It stays
    // pending.
    bool unfinished(Event& event);

    // The bytes of the incomplete event at the end of what was fed; after an overflow, all bytes
    // that were fed and not yielded.
    std::string_view pending() const noexcept { return held_; }
    bool overflowed() const noexcept { return overflowed_; }

  private:
    size_t find_event_end() noexcept;
    bool give_up();
    std::string_view complete(size_t size);
    std::string_view data_of(std::string_view raw);

    std::string_view input_;  // what is left of the feed
    std::string held_;        // the incomplete event's bytes of earlier feeds
    std::string assembled_;   // the event that was held and then completed in this feed
    std::string joined_;      // an event's data, where it has several data lines

    bool line_empty_ = true;     // the line in progress has no byte yet
    bool after_cr_ = false;      // the last byte ended a line, and a LF would belong to that end
    bool tail_follows_ = false;  // the last event ended in a CR at the end of a feed
    bool at_start_ = true;       // no event yet: a byte order mark may come
    bool overflowed_ = false;
};

}  // namespace llm
