#include "module/directives.hpp"

namespace module::directives {

namespace {

void add_rule(ngx_conf_t* cf, void* conf, llm::Result<ledger::LimitRule> rule,
              std::string_view models) {
    if (!rule) {
        throw ConfError(rule.error());
    }
    rule->models = models;
    if (!models.empty()) {
        select_models(cf, conf, models);
    }
    if (rule->scope == ledger::Scope::model && rule->selector != "*") {
        select_models(cf, conf, rule->selector);
    }
    Gateway& gateway = gateway_of(conf);
    if (rule->scope == ledger::Scope::group) {
        expression(cf, gateway, rule->selector);
    }
    gateway.rules.push_back(std::move(*rule));
}

ledger::Estimate parse_estimate(std::string_view value) {
    if (value.empty() || value == "bound") {
        return ledger::Estimate::bound;
    }
    if (value == "expected") {
        return ledger::Estimate::expected;
    }
    throw ConfError("invalid value \"" + std::string(value) +
                    "\" of \"estimate\", expected bound or expected");
}

ledger::SlotLine slot_line(std::string_view queue, std::string_view wait) {
    constexpr int64_t kMostPlaces = 10'000;
    constexpr ngx_msec_t kLongestWait = 600'000;
    if (queue.empty() != wait.empty()) {
        throw ConfError("\"queue=\" and \"wait=\" go together");
    }
    if (queue.empty()) {
        return {};
    }
    const ngx_msec_t wait_ms = parse_msec("wait", wait);
    if (wait_ms > kLongestWait) {
        throw ConfError("\"wait=\" may be 10m at most");
    }
    const int64_t places = parse_count("queue", queue, 1, kMostPlaces);
    return {static_cast<size_t>(places), static_cast<int64_t>(wait_ms)};
}

}  // namespace

void budget(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view scope = args.shift();
    const std::string_view models = args.take("model");
    const ledger::Estimate estimate = parse_estimate(args.take("estimate"));
    const ledger::StepOptions options{args.take("soft"), args.take("over"), args.take_all("at")};
    args.done(1);
    auto rule = ledger::parse_budget(scope, args.positional(0));
    if (rule) {
        auto steps = ledger::parse_steps(rule->limit, options);
        if (!steps) {
            throw ConfError(steps.error());
        }
        rule->estimate = estimate;
        rule->steps = std::move(*steps);
        for (const ledger::BudgetStep& step : rule->steps) {
            if (step.action == ledger::BudgetStep::Action::downgrade) {
                draft_of(conf).downgrades.push_back({step.model, Place(cf)});
            }
        }
    }
    add_rule(cf, conf, std::move(rule), models);
}

void limit(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view scope = args.shift();
    const std::string_view models = args.take("model");
    const ledger::SlotLine line = slot_line(args.take("queue"), args.take("wait"));
    const std::string_view estimate = args.take("estimate");
    const auto rates = args.rest(0);
    if (rates.empty()) {
        throw ConfError("invalid number of arguments");
    }
    bool has_parallel = false;
    bool has_tokens = false;
    for (const std::string_view rate : rates) {
        auto rule = ledger::parse_rate(scope, rate);
        if (rule && rule->unit == ledger::Unit::parallel) {
            rule->line = line;
            has_parallel = true;
        }
        if (rule && rule->unit == ledger::Unit::tokens) {
            rule->estimate = parse_estimate(estimate);
            has_tokens = true;
        }
        add_rule(cf, conf, std::move(rule), models);
    }
    if (line.places > 0 && !has_parallel) {
        throw ConfError("\"queue=\" wants \"parallel=\" in the same directive");
    }
    if (!estimate.empty() && !has_tokens) {
        throw ConfError("\"estimate=\" wants \"tpm=\" in the same directive");
    }
}

}  // namespace module::directives
