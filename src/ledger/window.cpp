#include "ledger/window.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "ledger/time_zone.hpp"

namespace ledger {

namespace {

constexpr int64_t kSecond = 1000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kLongest = 366 * kDay;

constexpr int64_t floor_div(int64_t a, int64_t b) noexcept {
    return a / b - (a % b < 0 ? 1 : 0);
}

Period fixed_period(int64_t length_ms, int64_t anchor_ms, int64_t now_ms) noexcept {
    const int64_t start = anchor_ms + floor_div(now_ms - anchor_ms, length_ms) * length_ms;
    return {start, start + length_ms};
}

// The calendar's periods are of the time that clocks show there.

Period week_period(int64_t now_ms) noexcept {
    constexpr int64_t kFirstMonday = 4 * kDay;  // 1970-01-05
    return fixed_period(7 * kDay, kFirstMonday, now_ms);
}

Period month_period(int64_t now_ms) noexcept {
    using namespace std::chrono;
    const year_month_day date{sys_days{days{floor_div(now_ms, kDay)}}};
    const year_month month = date.year() / date.month();
    const auto first_day_ms = [](year_month m) {
        return int64_t{sys_days{m / day{1}}.time_since_epoch().count()} * kDay;
    };
    return {first_day_ms(month), first_day_ms(month + months{1})};
}

Period calendar_period(WindowKind kind, int64_t now_ms) noexcept {
    switch (kind) {
        case WindowKind::day:
            return fixed_period(kDay, 0, now_ms);
        case WindowKind::week:
            return week_period(now_ms);
        default:
            return month_period(now_ms);
    }
}

Period zone_period(WindowKind kind, const TimeZone& zone, int64_t now_ms) noexcept {
    const int64_t offset_ms = zone.offset_at(floor_div(now_ms, kSecond)) * kSecond;
    const Period there = calendar_period(kind, now_ms + offset_ms);
    const auto when = [&zone](int64_t local_ms) { return zone.when(local_ms / kSecond) * kSecond; };
    return {when(there.start_ms), when(there.end_ms)};
}

struct LengthUnit {
    std::string_view suffix;
    int64_t ms;
};
constexpr std::array<LengthUnit, 5> kLengthUnits{
    {{"d", kDay}, {"h", kHour}, {"m", kMinute}, {"s", kSecond}, {"ms", 1}}};

std::string length_text(int64_t length_ms) {
    const auto* unit =
        std::find_if(kLengthUnits.begin(), kLengthUnits.end() - 1,
                     [length_ms](const LengthUnit& u) { return length_ms % u.ms == 0; });
    return std::to_string(length_ms / unit->ms).append(unit->suffix);
}

std::optional<WindowKind> calendar_kind(std::string_view period) noexcept {
    if (period == "1d") {
        return WindowKind::day;
    }
    if (period == "1w") {
        return WindowKind::week;
    }
    return period == "1mo" ? std::optional(WindowKind::month) : std::nullopt;
}

std::string with_zone(std::string period, int64_t zone) {
    return zone == 0 ? period : period.append("@").append(time_zone_name(zone));
}

std::optional<Window> parse_fixed(std::string_view text) noexcept {
    int64_t count = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    if (error != std::errc{} || text.front() == '0' || count < 1 || count > kLongest / kSecond) {
        return std::nullopt;
    }
    const std::string_view suffix(rest, static_cast<size_t>(end - rest));
    for (const LengthUnit& unit : kLengthUnits) {
        if (suffix == unit.suffix && unit.ms >= kSecond && count <= kLongest / unit.ms) {
            return Window{WindowKind::fixed, count * unit.ms};
        }
    }
    return std::nullopt;
}

// The oldest slice that both counts at now_ms and is still kept.
int64_t oldest_counted(int64_t newest, int64_t length_ms, int64_t now_ms) noexcept {
    return std::max(first_slice(length_ms, now_ms), newest - kSlices);
}

}  // namespace

Period period_at(const Window& window, int64_t anchor_ms, int64_t now_ms) noexcept {
    switch (window.kind) {
        case WindowKind::fixed:
            return fixed_period(window.length_ms, anchor_ms, now_ms);
        case WindowKind::day:
        case WindowKind::week:
        case WindowKind::month: {
            const TimeZone* zone = window.zone == 0 ? nullptr : find_time_zone(window.zone);
            return zone == nullptr ? calendar_period(window.kind, now_ms)
                                   : zone_period(window.kind, *zone, now_ms);
        }
        case WindowKind::none:
        case WindowKind::sliding:
            break;
    }
    return {0, kNever};
}

int64_t slice_length(int64_t length_ms) noexcept {
    return (length_ms + kSlices - 1) / kSlices;
}

int64_t slice_of(int64_t length_ms, int64_t now_ms) noexcept {
    return floor_div(now_ms, slice_length(length_ms));
}

int64_t first_slice(int64_t length_ms, int64_t now_ms) noexcept {
    return floor_div(now_ms - length_ms + 1, slice_length(length_ms));
}

int64_t slice_gone_ms(int64_t length_ms, int64_t slice) noexcept {
    return (slice + 1) * slice_length(length_ms) + length_ms - 1;
}

size_t slot_of(int64_t slice) noexcept {
    return static_cast<size_t>(slice - floor_div(slice, kSlots) * kSlots);
}

void advance(Slots& slots, int64_t& newest, int64_t slice) noexcept {
    if (slice < newest) {
        int64_t sum = 0;
        for (const int64_t amount : slots) {
            sum += amount;
        }
        slots = {};
        slots[slot_of(slice)] = sum;
    } else if (slice - newest >= kSlots) {
        slots = {};
    } else {
        for (int64_t i = newest + 1; i <= slice; ++i) {
            slots[slot_of(i)] = 0;
        }
    }
    newest = slice;
}

int64_t sliding_value(const Slots& slots, int64_t newest, int64_t length_ms,
                      int64_t now_ms) noexcept {
    int64_t sum = 0;
    for (int64_t i = oldest_counted(newest, length_ms, now_ms); i <= newest; ++i) {
        sum += slots[slot_of(i)];
    }
    return sum;
}

int64_t sliding_reset(const Slots& slots, int64_t newest, int64_t length_ms,
                      int64_t now_ms) noexcept {
    const int64_t oldest = oldest_counted(newest, length_ms, now_ms);
    for (int64_t i = newest; i >= oldest; --i) {
        if (slots[slot_of(i)] != 0) {
            return slice_gone_ms(length_ms, i) - now_ms;
        }
    }
    return 0;
}

int64_t sliding_retry(const Slots& slots, int64_t newest, int64_t length_ms, int64_t now_ms,
                      int64_t limit, int64_t amount) noexcept {
    if (amount > limit) {
        return -1;
    }
    int64_t value = sliding_value(slots, newest, length_ms, now_ms);
    int64_t retry = 0;
    for (int64_t i = oldest_counted(newest, length_ms, now_ms);
         i <= newest && value > limit - amount; ++i) {
        value -= slots[slot_of(i)];
        retry = slice_gone_ms(length_ms, i) - now_ms;
    }
    return retry;
}

void set_sliding_value(Slots& slots, int64_t newest, int64_t length_ms, int64_t now_ms,
                       int64_t value) noexcept {
    int64_t surplus = sliding_value(slots, newest, length_ms, now_ms) - value;
    if (surplus < 0) {
        slots[slot_of(newest)] -= surplus;
        return;
    }
    for (int64_t i = oldest_counted(newest, length_ms, now_ms); i <= newest; ++i) {
        int64_t& amount = slots[slot_of(i)];
        const int64_t taken = std::min(amount, surplus);
        amount -= taken;
        surplus -= taken;
    }
}

std::optional<Window> parse_window(std::string_view text) {
    const size_t at = text.find('@');
    const std::string_view period = text.substr(0, at);
    const bool has_zone = at != std::string_view::npos;
    const auto kind = calendar_kind(period);
    if (!kind || (*kind == WindowKind::day && !has_zone)) {
        return has_zone || text.empty() ? std::nullopt : parse_fixed(text);
    }
    const auto zone = has_zone ? time_zone_number(text.substr(at + 1)) : std::optional<int64_t>(0);
    return zone ? std::optional(Window{*kind, 0, *zone}) : std::nullopt;
}

std::string to_string(const Window& window) {
    switch (window.kind) {
        case WindowKind::fixed:
            return length_text(window.length_ms);
        case WindowKind::sliding:
            return "sliding-" + length_text(window.length_ms);
        case WindowKind::day:
            return std::string("1d@").append(time_zone_name(window.zone));
        case WindowKind::week:
            return with_zone("1w", window.zone);
        case WindowKind::month:
            return with_zone("1mo", window.zone);
        case WindowKind::none:
            break;
    }
    return "none";
}

}  // namespace ledger
