#include "ledger/window.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

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
            return fixed_period(kDay, 0, now_ms);
        case WindowKind::week:
            return week_period(now_ms);
        case WindowKind::month:
            return month_period(now_ms);
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

std::optional<Window> parse_window(std::string_view text) noexcept {
    if (text == "1d@UTC") {
        return Window{WindowKind::day, 0};
    }
    if (text == "1w") {
        return Window{WindowKind::week, 0};
    }
    if (text == "1mo") {
        return Window{WindowKind::month, 0};
    }
    return text.empty() ? std::nullopt : parse_fixed(text);
}

std::string to_string(const Window& window) {
    switch (window.kind) {
        case WindowKind::fixed:
            return length_text(window.length_ms);
        case WindowKind::sliding:
            return "sliding-" + length_text(window.length_ms);
        case WindowKind::day:
            return "1d@UTC";
        case WindowKind::week:
            return "1w";
        case WindowKind::month:
            return "1mo";
        case WindowKind::none:
            break;
    }
    return "none";
}

}  // namespace ledger
