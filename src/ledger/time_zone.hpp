#pragma once

// Time zones of the system's database, without the process's own TZ: TZif files (RFC 8536) below
// /usr/share/zoneinfo, with the POSIX rule at their end for times after their last transition.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ledger {

// A POSIX TZ rule, such as "CET-1CEST,M3.5.0,M10.5.0/3".
class TimeZoneRule {
  public:
    static std::optional<TimeZoneRule> parse(std::string_view text) noexcept;

    // Seconds east of UTC.
    int64_t offset_at(int64_t unix_s) const noexcept;

  private:
    struct Change {
        enum class Kind : uint8_t { month_week_day, julian, zero_based } kind = Kind::julian;
        int month = 0, week = 0, day = 0;
        int64_t time_s = 7200;  // after local midnight

        // Seconds from 1970 of that year's change, in local time.
        int64_t in(int64_t year) const noexcept;
    };
    class Reader;

    int64_t standard_s_ = 0, summer_s_ = 0;
    std::optional<std::array<Change, 2>> changes_;  // to summer time, and back
};

class TimeZone {
  public:
    // The content of a TZif file of version 2 or later; nothing: it is none.
    static std::optional<TimeZone> parse(std::string_view file);

    int64_t offset_at(int64_t unix_s) const noexcept;
    // The first moment at which clocks there show `local_s` (seconds from 1970 as if it were UTC),
    // or the moment at which they skip it.
    int64_t when(int64_t local_s) const noexcept;

  private:
    struct Transition {
        int64_t unix_s;
        int64_t offset_s;  // from then on
    };
    int64_t first_offset_s_ = 0;
    std::vector<Transition> transitions_;
    std::optional<TimeZoneRule> rule_;
};

// Zones that windows refer to are loaded once, when a configuration is read, and stay.
// A zone's number is made of its name and so the same in every process; 0 is UTC.

// Loads the zone if need be. Nothing: there is none of that name.
std::optional<int64_t> time_zone_number(std::string_view name);
// nullptr: UTC, or not loaded by this process.
const TimeZone* find_time_zone(int64_t number) noexcept;
// "UTC", if it is not loaded by this process.
std::string_view time_zone_name(int64_t number) noexcept;

}  // namespace ledger
