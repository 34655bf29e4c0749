#include "ledger/time_zone.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace ledger {

namespace {

constexpr int64_t kHourS = 3600;
constexpr int64_t kDayS = 24 * kHourS;
constexpr int kMostHours = 167;  // RFC 8536
constexpr std::string_view kDirectory = "/usr/share/zoneinfo/";

int64_t days_of(std::chrono::year_month_day date) noexcept {
    return std::chrono::sys_days(date).time_since_epoch().count();
}

int64_t year_of(int64_t unix_s) noexcept {
    const std::chrono::sys_seconds time{std::chrono::seconds(unix_s)};
    const std::chrono::year_month_day date{std::chrono::floor<std::chrono::days>(time)};
    return int{date.year()};
}

// Big-endian, from the front of what is left.
class Bytes {
  public:
    explicit Bytes(std::string_view bytes) noexcept : rest_(bytes) {}

    std::optional<std::string_view> take(size_t size) noexcept {
        if (size > rest_.size()) {
            return std::nullopt;
        }
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }
    std::string_view rest() const noexcept { return rest_; }

  private:
    std::string_view rest_;
};

int64_t big_endian(std::string_view bytes) noexcept {
    uint64_t number = static_cast<signed char>(bytes[0]) < 0 ? ~uint64_t{0} : 0;
    for (const char byte : bytes) {
        number = number << 8 | static_cast<unsigned char>(byte);
    }
    return static_cast<int64_t>(number);
}

struct Header {
    char version = 0;
    size_t utc_flags = 0, standard_flags = 0, leaps = 0, times = 0, types = 0, letters = 0;

    size_t size_of_data(size_t time_size) const noexcept {
        return times * (time_size + 1) + types * 6 + letters + leaps * (time_size + 4) +
               standard_flags + utc_flags;
    }
};

std::optional<Header> take_header(Bytes& bytes) noexcept {
    const auto head = bytes.take(44);
    if (!head || !head->starts_with("TZif")) {
        return std::nullopt;
    }
    Header header;
    header.version = (*head)[4];
    size_t at = 20;
    for (size_t* count : {&header.utc_flags, &header.standard_flags, &header.leaps, &header.times,
                          &header.types, &header.letters}) {
        const int64_t number = big_endian(head->substr(at, 4));
        if (number < 0) {
            return std::nullopt;
        }
        *count = static_cast<size_t>(number);
        at += 4;
    }
    return header;
}

}  // namespace

// ---- rules

class TimeZoneRule::Reader {
  public:
    explicit Reader(std::string_view text) noexcept : rest_(text) {}

    bool done() const noexcept { return rest_.empty(); }

    bool take(char c) noexcept {
        if (rest_.empty() || rest_.front() != c) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }

    bool take_name() noexcept {
        const bool quoted = take('<');
        const size_t end = quoted ? rest_.find('>') : rest_.find_first_of("+-0123456789,");
        const size_t size = std::min(end, rest_.size());
        if (size == 0 || (quoted && end == std::string_view::npos)) {
            return false;
        }
        rest_.remove_prefix(size + (quoted ? 1 : 0));
        return true;
    }

    bool take_number(int least, int most, int& number) noexcept {
        const auto [end, error] =
            std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
        if (error != std::errc{} || number < least || number > most) {
            return false;
        }
        rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
        return true;
    }

    // [+-]hh[:mm[:ss]]
    std::optional<int64_t> take_time() noexcept {
        const int64_t sign = take('-') ? -1 : (take('+'), 1);
        int64_t seconds = 0;
        int64_t unit = kHourS;
        do {
            int number = 0;
            if (!take_number(0, kMostHours, number)) {
                return std::nullopt;
            }
            seconds += number * unit;
            unit /= 60;
        } while (unit > 0 && take(':'));
        return sign * seconds;
    }

    std::optional<Change> take_change() noexcept {
        Change change;
        if (take('M')) {
            change.kind = Change::Kind::month_week_day;
            if (!take_number(1, 12, change.month) || !take('.') ||
                !take_number(1, 5, change.week) || !take('.') || !take_number(0, 6, change.day)) {
                return std::nullopt;
            }
        } else {
            change.kind = take('J') ? Change::Kind::julian : Change::Kind::zero_based;
            if (!take_number(0, 365, change.day)) {
                return std::nullopt;
            }
        }
        if (take('/')) {
            const auto time = take_time();
            if (!time) {
                return std::nullopt;
            }
            change.time_s = *time;
        }
        return change;
    }

  private:
    std::string_view rest_;
};

std::optional<TimeZoneRule> TimeZoneRule::parse(std::string_view text) noexcept {
    Reader reader(text);
    TimeZoneRule rule;
    if (!reader.take_name()) {
        return std::nullopt;
    }
    const auto standard = reader.take_time();  // west of UTC
    if (!standard) {
        return std::nullopt;
    }
    rule.standard_s_ = -*standard;
    if (reader.done()) {
        return rule;
    }
    if (!reader.take_name()) {
        return std::nullopt;
    }
    rule.summer_s_ = rule.standard_s_ + kHourS;
    if (!reader.take(',')) {
        const auto summer = reader.take_time();
        if (!summer || !reader.take(',')) {
            return std::nullopt;
        }
        rule.summer_s_ = -*summer;
    }
    const auto begin = reader.take_change();
    const auto end = reader.take(',') ? reader.take_change() : std::nullopt;
    if (!begin || !end || !reader.done()) {
        return std::nullopt;
    }
    rule.changes_ = {*begin, *end};
    return rule;
}

int64_t TimeZoneRule::Change::in(int64_t number) const noexcept {
    using namespace std::chrono;
    const std::chrono::year year(static_cast<int>(number));
    int64_t days = days_of(year / January / 1);
    if (kind == Kind::month_week_day) {
        const weekday wanted(static_cast<unsigned>(day));
        const auto in_month = year / std::chrono::month(static_cast<unsigned>(month));
        const sys_days date = week == 5 ? sys_days(in_month / wanted[last])
                                        : sys_days(in_month / wanted[static_cast<unsigned>(week)]);
        days = date.time_since_epoch().count();
    } else if (kind == Kind::julian) {  // from 1, without February 29
        days += day - 1 + (year.is_leap() && day > 59 ? 1 : 0);
    } else {
        days += day;
    }
    return days * kDayS + time_s;
}

int64_t TimeZoneRule::offset_at(int64_t unix_s) const noexcept {
    if (!changes_) {
        return standard_s_;
    }
    const int64_t year = year_of(unix_s + standard_s_);
    const int64_t begin = (*changes_)[0].in(year)-standard_s_;
    const int64_t end = (*changes_)[1].in(year)-summer_s_;
    const bool summer =
        begin < end ? begin <= unix_s && unix_s < end : !(end <= unix_s && unix_s < begin);
    return summer ? summer_s_ : standard_s_;
}

// ---- zones

std::optional<TimeZone> TimeZone::parse(std::string_view file) {
    constexpr size_t kTime = 8;
    constexpr size_t kType = 6;
    Bytes bytes(file);
    const auto old = take_header(bytes);
    if (!old || old->version < '2' || !bytes.take(old->size_of_data(4))) {
        return std::nullopt;
    }
    const auto header = take_header(bytes);
    const auto data = header ? bytes.take(header->size_of_data(kTime)) : std::nullopt;
    if (!data || header->types == 0) {
        return std::nullopt;
    }
    const std::string_view indexes = data->substr(header->times * kTime, header->times);
    const std::string_view types = data->substr(header->times * (kTime + 1));
    const auto offset_of = [&](size_t type) { return big_endian(types.substr(kType * type, 4)); };

    TimeZone zone;
    zone.first_offset_s_ = offset_of(0);
    for (size_t i = 0; i < header->times; ++i) {
        const size_t type = static_cast<unsigned char>(indexes[i]);
        if (type >= header->types) {
            return std::nullopt;
        }
        zone.transitions_.push_back({big_endian(data->substr(kTime * i, kTime)), offset_of(type)});
    }
    std::string_view footer = bytes.rest();
    if (footer.size() > 2 && footer.front() == '\n' && footer.back() == '\n') {
        zone.rule_ = TimeZoneRule::parse(footer.substr(1, footer.size() - 2));
        if (!zone.rule_) {
            return std::nullopt;
        }
    }
    return zone;
}

int64_t TimeZone::offset_at(int64_t unix_s) const noexcept {
    const auto next =
        std::upper_bound(transitions_.begin(), transitions_.end(), unix_s,
                         [](int64_t time, const Transition& t) { return time < t.unix_s; });
    if (next == transitions_.end() && rule_) {
        return rule_->offset_at(unix_s);
    }
    return next == transitions_.begin() ? first_offset_s_ : std::prev(next)->offset_s;
}

int64_t TimeZone::when(int64_t local_s) const noexcept {
    const int64_t before = offset_at(local_s - kDayS);
    const int64_t after = offset_at(local_s + kDayS);
    if (offset_at(local_s - before) == before) {
        return local_s - before;
    }
    int64_t low = local_s - after;  // skipped, or it comes when the offset has changed
    if (offset_at(low) == after) {
        return low;
    }
    int64_t high = local_s - before;
    while (low < high) {  // the first moment that has the offset of `high`
        const int64_t middle = low + (high - low) / 2;
        if (offset_at(middle) == after) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return high;
}

// ---- the zones in use

namespace {

struct Loaded {
    std::string name;
    TimeZone zone;
};

std::map<int64_t, Loaded>& loaded_zones() {
    static std::map<int64_t, Loaded> zones;
    return zones;
}

bool is_zone_name(std::string_view name) noexcept {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '/' || c == '_' || c == '-' || c == '+';
    };
    return !name.empty() && name.size() <= 40 && name.front() != '/' &&
           std::all_of(name.begin(), name.end(), fits);
}

// FNV-1a, positive.
int64_t number_of(std::string_view name) noexcept {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    return static_cast<int64_t>(hash >> 1 | 1);
}

}  // namespace

std::optional<int64_t> time_zone_number(std::string_view name) {
    if (name == "UTC") {
        return 0;
    }
    if (!is_zone_name(name)) {
        return std::nullopt;
    }
    const int64_t number = number_of(name);
    if (loaded_zones().count(number) != 0) {
        return number;
    }
    const std::string path = std::string(kDirectory).append(name);
    if (!std::filesystem::is_regular_file(path)) {
        return std::nullopt;
    }
    std::ifstream file(path, std::ios::binary);
    auto zone = TimeZone::parse(std::string{std::istreambuf_iterator<char>(file), {}});
    if (!zone) {
        return std::nullopt;
    }
    loaded_zones().emplace(number, Loaded{std::string(name), std::move(*zone)});
    return number;
}

const TimeZone* find_time_zone(int64_t number) noexcept {
    const auto found = loaded_zones().find(number);
    return found == loaded_zones().end() ? nullptr : &found->second.zone;
}

std::string_view time_zone_name(int64_t number) noexcept {
    const auto found = loaded_zones().find(number);
    return found == loaded_zones().end() ? "UTC" : std::string_view(found->second.name);
}

}  // namespace ledger
