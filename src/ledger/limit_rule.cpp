#include "ledger/limit_rule.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "ledger/window.hpp"
#include "llm/glob.hpp"

namespace ledger {

namespace {

constexpr int64_t kNanoPerUsd = 1'000'000'000;
constexpr size_t kNanoDigits = 9;
constexpr int64_t kMinuteMs = 60'000;
constexpr size_t kKeyDigits = 16;

constexpr std::array<std::pair<std::string_view, Scope>, 10> kScopes{{{"global", Scope::global},
                                                                      {"org", Scope::org},
                                                                      {"team", Scope::team},
                                                                      {"user", Scope::user},
                                                                      {"key", Scope::key},
                                                                      {"customer", Scope::customer},
                                                                      {"tag", Scope::tag},
                                                                      {"model", Scope::model},
                                                                      {"provider", Scope::provider},
                                                                      {"by", Scope::group}}};

using RuleResult = llm::Result<LimitRule>;

std::string quoted(std::string_view text) {
    return std::string("\"").append(text).append("\"");
}

RuleResult bad_scope(std::string_view text) {
    return RuleResult::failure("invalid scope " + quoted(text) +
                               ": expected global, or org=, team=, user=, key=, customer=, tag=, "
                               "model= or provider= with a name or *, or by= with an expression");
}

RuleResult bad_limit(std::string_view text, std::string_view expected) {
    return RuleResult::failure("invalid limit " + quoted(text) + ": expected " +
                               std::string(expected));
}

std::string_view scope_name(Scope scope) {
    return std::find_if(kScopes.begin(), kScopes.end(),
                        [scope](const auto& entry) { return entry.second == scope; })
        ->first;
}

RuleResult parse_scope(std::string_view text) {
    const size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const auto* entry = std::find_if(kScopes.begin(), kScopes.end(),
                                     [name](const auto& e) { return e.first == name; });
    if (entry == kScopes.end()) {
        return bad_scope(text);
    }
    LimitRule rule;
    rule.scope = entry->second;
    if (equals != std::string_view::npos) {
        rule.selector = text.substr(equals + 1);
    }
    const bool is_glob = rule.selector.find_first_of("*?[") != std::string::npos;
    if (rule.scope == Scope::model && is_glob && rule.selector != "*") {
        return RuleResult::failure("a scope is one model or *: write \"global " +
                                   std::string(text) + "\" for the sum of some");
    }
    const bool wants_selector = rule.scope != Scope::global;
    const bool complete = wants_selector ? !rule.selector.empty() : equals == text.npos;
    return complete ? RuleResult(std::move(rule)) : bad_scope(text);
}

// Digits only, all of them, at most `most`.
std::optional<int64_t> parse_count(std::string_view digits, int64_t most) noexcept {
    int64_t count = 0;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, count);
    if (error != std::errc{} || rest != end || digits.front() == '-' || count > most) {
        return std::nullopt;
    }
    return count;
}

// "1234.5" USD in nano-USD.
std::optional<int64_t> parse_nano_usd(std::string_view text) {
    const size_t point = text.find('.');
    const auto whole = parse_count(text.substr(0, point), kMaxLimit / kNanoPerUsd);
    if (!whole) {
        return std::nullopt;
    }
    if (point == std::string_view::npos) {
        return *whole * kNanoPerUsd;
    }
    std::string decimals(text.substr(point + 1));
    if (decimals.empty() || decimals.size() > kNanoDigits) {
        return std::nullopt;
    }
    decimals.resize(kNanoDigits, '0');
    const auto nano = parse_count(decimals, kNanoPerUsd - 1);
    if (!nano || *whole * kNanoPerUsd + *nano > kMaxLimit) {
        return std::nullopt;
    }
    return *whole * kNanoPerUsd + *nano;
}

// "100", "100k", "2m".
std::optional<int64_t> parse_rate_limit(std::string_view text) noexcept {
    int64_t scale = 1;
    if (text.ends_with('k')) {
        scale = 1'000;
    } else if (text.ends_with('m')) {
        scale = 1'000'000;
    }
    if (scale != 1) {
        text.remove_suffix(1);
    }
    const auto count = parse_count(text, kMaxLimit / scale);
    return count ? std::optional(*count * scale) : std::nullopt;
}

std::string escaped(std::string_view value) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte > ' ' && byte < 0x7f && c != ':' && c != '%') {
            out += c;
            continue;
        }
        out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
    return out;
}

// What the identity is in that scope; empty: not known.
std::string_view value_of(const llm::Identity& identity, Scope scope) noexcept {
    switch (scope) {
        case Scope::org:
            return identity.org;
        case Scope::team:
            return identity.team;
        case Scope::user:
            return identity.user;
        case Scope::key:
            return identity.key_hash;
        default:
            break;
    }
    return {};
}

bool matches(const LimitRule& rule, const llm::Identity& identity) noexcept {
    if (rule.scope == Scope::global) {
        return true;
    }
    const std::string_view value = value_of(identity, rule.scope);
    if (value.empty()) {
        return false;
    }
    return rule.selector == "*" || rule.selector == value ||
           (rule.scope == Scope::key && rule.selector == identity.key_alias);
}

std::string_view unit_name(Unit unit) noexcept {
    switch (unit) {
        case Unit::nano_usd:
            return "usd";
        case Unit::tokens:
            return "tokens";
        case Unit::requests:
            return "requests";
        case Unit::parallel:
            break;
    }
    return "parallel";
}

std::string counter_name(const LimitRule& rule, std::string_view value) {
    std::string name(scope_name(rule.scope));
    if (rule.scope == Scope::group) {
        name.append(":").append(escaped(rule.selector));
    }
    if (rule.scope == Scope::key) {
        value = value.substr(0, kKeyDigits);
    }
    if (!value.empty()) {
        name.append(":").append(escaped(value));
    }
    if (!rule.models.empty()) {
        name.append(":model=").append(escaped(rule.models));
    }
    name.append(":").append(unit_name(rule.unit));
    if (rule.window.kind != WindowKind::none) {
        name.append(":").append(to_string(rule.window));
    }
    return name;
}

std::string label_of(Scope scope) {
    return std::string(scope == Scope::group ? "group" : scope_name(scope));
}

void add(ClaimTemplate& claim, const LimitRule& rule) {
    const auto end = std::find_if(rule.steps.begin(), rule.steps.end(), is_end);
    int64_t limit = rule.limit;
    int64_t enforced = rule.limit;
    if (end != rule.steps.end() && end->action == BudgetStep::Action::reject) {
        limit = enforced = end->from;
    } else if (end != rule.steps.end()) {
        enforced = kMaxLimit;
    }
    if (rule.line.places > 0) {
        claim.line = rule.line;
    }
    claim.estimate = std::max(claim.estimate, rule.estimate);
    claim.limit = std::min(claim.limit, limit);
    claim.enforced = std::min(claim.enforced, enforced);
    std::copy_if(rule.steps.begin(), rule.steps.end(), std::back_inserter(claim.steps),
                 [](const BudgetStep& step) { return !is_end(step); });
    std::stable_sort(claim.steps.begin(), claim.steps.end(),
                     [](const auto& one, const auto& other) { return one.from < other.from; });
}

void add(std::vector<ClaimTemplate>& claims, const LimitRule& rule, std::string_view value) {
    CounterId counter = make_counter_id(counter_name(rule, value));
    const auto same = std::find_if(claims.begin(), claims.end(), [&counter](const auto& claim) {
        return claim.counter.name == counter.name;
    });
    if (same != claims.end()) {
        return add(*same, rule);
    }
    claims.push_back({.counter = std::move(counter),
                      .unit = rule.unit,
                      .window = rule.window,
                      .limit = kMaxLimit,
                      .enforced = kMaxLimit,
                      .scope = rule.scope,
                      .label = label_of(rule.scope),
                      .value = std::string(value),
                      .models = rule.models,
                      .steps = {},
                      .line = {},
                      .estimate = Estimate::bound});
    add(claims.back(), rule);
}

}  // namespace

llm::Result<LimitRule> parse_budget(std::string_view scope, std::string_view amount) {
    RuleResult rule = parse_scope(scope);
    if (!rule) {
        return rule;
    }
    constexpr std::string_view kUnit = "usd/";
    const size_t unit = amount.find(kUnit);
    if (unit == std::string_view::npos) {
        return bad_limit(amount, "an amount and a window, as in 1000usd/30d");
    }
    const auto limit = parse_nano_usd(amount.substr(0, unit));
    if (!limit) {
        return bad_limit(amount, "0 to 9000000 usd with at most nine decimals");
    }
    const auto window = parse_window(amount.substr(unit + kUnit.size()));
    if (!window) {
        return bad_limit(amount,
                         "a window as 30s, 5m, 1h, 1d, 30d, 1w, 1mo, 1d@UTC or 1mo@Europe/Berlin");
    }
    rule->unit = Unit::nano_usd;
    rule->window = *window;
    rule->limit = *limit;
    return rule;
}

llm::Result<LimitRule> parse_rate(std::string_view scope, std::string_view rate) {
    RuleResult rule = parse_scope(scope);
    if (!rule) {
        return rule;
    }
    const size_t equals = rate.find('=');
    const std::string_view name = rate.substr(0, equals);
    if (name == "rpm") {
        rule->unit = Unit::requests;
        rule->window = {WindowKind::sliding, kMinuteMs};
    } else if (name == "tpm") {
        rule->unit = Unit::tokens;
        rule->window = {WindowKind::sliding, kMinuteMs};
    } else if (name == "parallel") {
        rule->unit = Unit::parallel;
    } else {
        return bad_limit(rate, "rpm=, tpm= or parallel=");
    }
    const auto limit =
        equals == std::string_view::npos ? std::nullopt : parse_rate_limit(rate.substr(equals + 1));
    if (!limit) {
        return bad_limit(rate, "a whole number, also with k or m, as in tpm=100k");
    }
    rule->limit = *limit;
    return rule;
}

bool LimitRule::counts(const std::string& model) const noexcept {
    const bool is_for_it = scope != Scope::model || selector == "*" || selector == model;
    return is_for_it && (models.empty() || llm::glob_matches(models, model));
}

bool ClaimTemplate::counts(const std::string& model) const noexcept {
    return models.empty() || llm::glob_matches(models, model);
}

bool depends_on_request(Scope scope) noexcept {
    return scope >= Scope::customer;
}

bool is_of_caller(Scope scope) noexcept {
    return scope != Scope::global && !depends_on_request(scope);
}

std::vector<ClaimTemplate> claims_for(const llm::Identity& identity,
                                      std::span<const LimitRule> rules) {
    std::vector<ClaimTemplate> claims;
    for (const LimitRule& rule : rules) {
        if (!depends_on_request(rule.scope) && matches(rule, identity)) {
            add(claims, rule, value_of(identity, rule.scope));
        }
    }
    return claims;
}

void add_claim(std::vector<ClaimTemplate>& claims, const LimitRule& rule, std::string_view value) {
    const bool is_selected =
        rule.scope == Scope::group || rule.selector == "*" || rule.selector == value;
    if (is_selected && !value.empty()) {
        add(claims, rule, value);
    }
}

}  // namespace ledger
