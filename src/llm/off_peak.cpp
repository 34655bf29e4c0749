#include "llm/off_peak.hpp"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

constexpr int kMinutesPerDay = 24 * 60;

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// "HH:MM" as minutes of the day.
std::optional<int> parse_time(std::string_view text) noexcept {
    if (text.size() != 5 || text[2] != ':' || !is_digit(text[0]) || !is_digit(text[1]) ||
        !is_digit(text[3]) || !is_digit(text[4])) {
        return std::nullopt;
    }
    const int hours = (text[0] - '0') * 10 + (text[1] - '0');
    const int minutes = (text[3] - '0') * 10 + (text[4] - '0');
    if (hours > 23 || minutes > 59) {
        return std::nullopt;
    }
    return hours * 60 + minutes;
}

int64_t floor_days(int64_t minutes) noexcept {
    return (minutes - (minutes < 0 ? kMinutesPerDay - 1 : 0)) / kMinutesPerDay;
}

// 1970-01-01 was a Thursday.
uint8_t weekday_bit(int64_t day) noexcept {
    constexpr int64_t kThursday = 3;
    return static_cast<uint8_t>(1U << static_cast<unsigned>(((day + kThursday) % 7 + 7) % 7));
}

}  // namespace

bool OffPeakHours::add(std::string_view hours, uint8_t weekdays) {
    constexpr size_t kTime = 5;
    if (hours.size() != 2 * kTime + 1 || hours[kTime] != '-') {
        return false;
    }
    const auto from = parse_time(hours.substr(0, kTime));
    const auto to = parse_time(hours.substr(kTime + 1));
    if (!from || !to) {
        return false;
    }
    windows_.push_back({*from, *to, weekdays});
    return true;
}

uint8_t OffPeakHours::weekday(std::string_view name) noexcept {
    constexpr std::string_view kDays[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    if (name.size() == 1 && name[0] >= '1' && name[0] <= '7') {
        return static_cast<uint8_t>(1U << (name[0] - '1'));
    }
    for (size_t day = 0; day < std::size(kDays); ++day) {
        if (name.starts_with(kDays[day])) {
            return static_cast<uint8_t>(1U << day);
        }
    }
    return 0;
}

// The zones of price maps. Neither has a summer time.
bool OffPeakHours::set_calendar(std::string_view zone) noexcept {
    if (zone == "UTC") {
        ahead_of_utc_ = 0;
        return true;
    }
    ahead_of_utc_ = 8 * 60;
    return zone == "Asia/Shanghai";
}

bool OffPeakHours::contains(int64_t unix_s) const noexcept {
    const int64_t minutes = unix_s / 60;
    const auto time = static_cast<int>(minutes - floor_days(minutes) * kMinutesPerDay);
    const uint8_t today = weekday_bit(floor_days(minutes + ahead_of_utc_));
    return std::any_of(windows_.begin(), windows_.end(), [&](const Window& window) {
        const bool open = window.from < window.to ? window.from <= time && time < window.to
                                                  : time >= window.from || time < window.to;
        return open && (window.weekdays & today) != 0;
    });
}

}  // namespace llm
