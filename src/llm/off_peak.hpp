#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace llm {

// Hours of some weekdays in which a provider bills other rates.
class OffPeakHours {
  public:
    // Weekdays as bits, Monday's the lowest.
    static constexpr uint8_t kEveryDay = 0b111'1111;

    // "HH:MM-HH:MM" in UTC, its end exclusive. One that ends before it begins goes past midnight,
    // and one that ends where it begins lasts a day. False for other text.
    bool add(std::string_view hours, uint8_t weekdays);

    // The bit of a weekday: an ISO number (Monday is 1), or an English name, of which three letters
    // in lower case tell it. 0: neither.
    static uint8_t weekday(std::string_view name) noexcept;

    // Weekdays are read on the calendar of this time zone ("UTC" if it is not called; hours always
    // are UTC). False for a zone that is not known.
    bool set_calendar(std::string_view zone) noexcept;

    bool empty() const noexcept { return windows_.empty(); }
    bool contains(int64_t unix_s) const noexcept;

  private:
    struct Window {
        int from;  // minutes of the day
        int to;
        uint8_t weekdays;
    };

    std::vector<Window> windows_;
    int ahead_of_utc_ = 0;  // minutes, of the calendar
};

}  // namespace llm
