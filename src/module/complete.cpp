#include <algorithm>

#include "ledger/window.hpp"
#include "llm/body_edit.hpp"
#include "llm/glob.hpp"
#include "module/conf.hpp"
#include "module/draft.hpp"
#include "module/vocabularies.hpp"
#include "module/zone.hpp"

namespace module {

namespace {

// A budget without a duration never resets: its window outlives everyone.
constexpr int64_t kForeverMs = int64_t{36500} * 24 * 3600 * 1000;
constexpr int64_t kMinuteMs = 60 * 1000;

// An error at a directive further up than where the parser stands now.
ConfError error_at(const Place& place, const std::string& what) {
    return ConfError(what + " in " + place.file + ":" + std::to_string(place.line));
}

llm::ModelPrice list_price(const Gateway& gateway, const DraftRoute& route) {
    for (const std::string& name : {route.model, route.logical_model}) {
        if (const llm::ModelPrice* price = gateway.prices->find(name)) {
            return *price;
        }
    }
    if (gateway.unknown_price) {
        return *gateway.unknown_price;
    }
    if (route.price.input && route.price.output) {
        return {};
    }
    throw error_at(route.place, "no price for model \"" + route.model +
                                    "\": add it to the file of llm_prices, give llm_prices "
                                    "unknown=free or unknown=IN/OUT, or the route input_price= "
                                    "and output_price=");
}

llm::ModelPrice price_for(const Gateway& gateway, const DraftRoute& route) {
    llm::ModelPrice price = list_price(gateway, route);
    const llm::PriceOverride& agreed = route.price;
    if (agreed.input || agreed.output || agreed.cache_read || agreed.cache_write) {
        price.override_with(agreed);
    }
    return price;
}

// A deployment may have a name that tells no family ("gpt4o-eu"): then the logical model's does.
const std::string& telling_name(const DraftRoute& route) {
    const auto unknown = llm::tokenizer::model_tokens({});
    const auto tokens = llm::tokenizer::model_tokens(route.model);
    return tokens == unknown ? route.logical_model : route.model;
}

// The first directive that selects the model.
void bound_output(llm::Deployment& deployment, const std::string& model, const Draft& draft) {
    const auto bound = std::find_if(
        draft.max_outputs.begin(), draft.max_outputs.end(),
        [&](const DraftMaxOutput& each) { return llm::glob_matches(each.models, model); });
    if (bound != draft.max_outputs.end()) {
        deployment.max_output = bound->tokens;
        deployment.default_output = bound->when_absent;
    }
}

void complete_routes(Gateway& gateway, const Draft& draft) {
    for (const DraftRoute& route : draft.routes) {
        const llm::Provider* provider = gateway.catalog.provider(route.provider);
        if (provider == nullptr) {
            throw error_at(route.place, "unknown provider \"" + route.provider + "\"");
        }
        auto deployment = std::make_unique<llm::Deployment>();
        deployment->provider = provider;
        deployment->model = route.model;
        deployment->name = provider->name + "/" + route.model;
        deployment->weight = route.weight;
        deployment->backup = route.backup;
        deployment->price = price_for(gateway, route);
        deployment->tokens = llm::tokenizer::model_tokens(telling_name(route));
        deployment->bound_field = llm::bound_field_of(telling_name(route));
        if (deployment->price.reasons || deployment->bound_field == llm::kMaxCompletionTokens) {
            deployment->expected_output = llm::kReasonedAnswerTokens;
        }
        bound_output(*deployment, route.logical_model, draft);
        map_vocabulary(deployment->tokens.text.encoding);
        gateway.catalog.model(route.logical_model).deployments.push_back(std::move(deployment));
    }
    for (const DraftAlias& alias : draft.aliases) {
        if (gateway.catalog.models().count(alias.alias) != 0) {
            throw error_at(alias.place, "alias \"" + alias.alias + "\" is a model of its own");
        }
        if (gateway.catalog.resolve(alias.alias) == nullptr) {
            throw error_at(alias.place,
                           "alias \"" + alias.alias + "\" stands for an unknown model");
        }
    }
}

// The limits that a record carries, as rules that match its owner only.
void add_record_rules(std::vector<ledger::LimitRule>& rules, ledger::Scope scope,
                      const std::string& owner, const keys::Limits& limits) {
    const auto add = [&](ledger::Unit unit, ledger::Window window, int64_t limit) {
        if (limit > ledger::kMaxLimit) {
            throw ConfError("a limit in the record of \"" + owner + "\" is above " +
                            (unit == ledger::Unit::nano_usd ? "9000000 USD"
                                                            : std::to_string(ledger::kMaxLimit)));
        }
        rules.push_back({scope, owner, unit, window, limit, {}, {}, {}, ledger::Estimate::bound});
    };
    if (limits.max_budget || limits.soft_budget) {
        ledger::Window window{ledger::WindowKind::fixed, kForeverMs};
        if (!limits.budget_duration.empty()) {
            const auto parsed = ledger::parse_window(limits.budget_duration);
            if (!parsed) {
                throw ConfError("invalid budget_duration \"" + limits.budget_duration +
                                "\" in the record of \"" + owner + "\"");
            }
            window = *parsed;
        }
        add(ledger::Unit::nano_usd, window, limits.max_budget.value_or(ledger::kMaxLimit));
        if (limits.soft_budget) {
            rules.back().steps = {{*limits.soft_budget, ledger::BudgetStep::Action::alert, {}}};
        }
    }
    const ledger::Window minute{ledger::WindowKind::sliding, kMinuteMs};
    if (limits.rpm_limit) {
        add(ledger::Unit::requests, minute, *limits.rpm_limit);
    }
    if (limits.tpm_limit) {
        add(ledger::Unit::tokens, minute, *limits.tpm_limit);
    }
    if (limits.max_parallel_requests) {
        add(ledger::Unit::parallel, {}, *limits.max_parallel_requests);
    }
}

// The most limits that a request of the caller meets, whichever model it is for, without tags of
// its own.
size_t most_limits(const Gateway& gateway, const Caller& caller) {
    std::vector<ledger::ClaimTemplate> of_tags;
    for (const RequestRule& each : gateway.request_rules) {
        for (const std::string& tag : caller.key->identity.tags) {
            if (each.rule->scope == ledger::Scope::tag) {
                add_claim(of_tags, *each.rule, tag);
            }
        }
    }
    size_t most = 0;
    for (const auto& [name, model] : gateway.catalog.models()) {
        const auto counts = [&model = name](const auto& claim) { return claim.counts(model); };
        const auto may_apply = [&model = name](const RequestRule& each) {
            return each.rule->scope != ledger::Scope::tag && each.rule->counts(model);
        };
        const auto& claims = caller.claims;
        const auto& rules = gateway.request_rules;
        most = std::max<size_t>(most, std::count_if(claims.begin(), claims.end(), counts) +
                                          std::count_if(of_tags.begin(), of_tags.end(), counts) +
                                          std::count_if(rules.begin(), rules.end(), may_apply));
    }
    return most;
}

Caller make_caller(const Gateway& gateway, const keys::VirtualKey& key) {
    const llm::Identity& identity = key.identity;
    Caller caller;
    caller.key = &key;
    std::vector<ledger::LimitRule> rules = gateway.rules;

    const auto add_record = [&](ledger::Scope scope, const std::string& owner,
                                const keys::Limits& limits) {
        caller.restrictions.push_back(&limits);
        add_record_rules(rules, scope, owner, limits);
    };
    add_record(ledger::Scope::key, identity.key_hash, key.limits);
    if (const keys::Group* team = gateway.keys->team(identity.team)) {
        add_record(ledger::Scope::team, team->id, team->limits);
    }
    if (const keys::Group* user = gateway.keys->user(identity.user)) {
        add_record(ledger::Scope::user, user->id, user->limits);
    }
    if (const keys::Group* org = gateway.keys->org(identity.org)) {
        add_record(ledger::Scope::org, org->id, org->limits);
    }

    caller.claims = ledger::claims_for(identity, rules);
    if (most_limits(gateway, caller) > ledger::kMaxClaims) {
        throw ConfError("more than " + std::to_string(ledger::kMaxClaims) +
                        " limits apply to key \"" + identity.key_alias + "\"");
    }
    return caller;
}

void require_directives(const Gateway& gateway, const Draft& draft) {
    const auto require = [&draft](bool given, const char* directive) {
        if (!given) {
            throw error_at(draft.enabled, std::string("\"llm on\" needs \"") + directive + "\"");
        }
    };
    require(gateway.keys.has_value(), "llm_keys");
    require(gateway.prices.has_value(), "llm_prices");
    require(gateway.spool.has_value(), "llm_spool");
    require(!draft.routes.empty(), "llm_model_route");
}

void complete_rules(Gateway& gateway, const Draft& draft) {
    for (const ledger::LimitRule& rule : gateway.rules) {
        if (ledger::depends_on_request(rule.scope)) {
            const bool is_group = rule.scope == ledger::Scope::group;
            gateway.request_rules.push_back(
                {&rule, is_group ? gateway.expressions.at(rule.selector) : nullptr});
        }
    }
    for (const DraftDowngrade& downgrade : draft.downgrades) {
        if (gateway.catalog.resolve(downgrade.model) == nullptr) {
            throw error_at(downgrade.place,
                           "downgrade to unknown model \"" + downgrade.model + "\"");
        }
    }
}

void check_selections(const Gateway& gateway, const Draft& draft) {
    const auto& models = gateway.catalog.models();
    for (const DraftSelection& selection : draft.selections) {
        const bool selects = std::any_of(models.begin(), models.end(), [&](const auto& model) {
            return llm::glob_matches(selection.models, model.first);
        });
        if (!selects) {
            throw error_at(selection.place,
                           "\"" + selection.models + "\" selects no model of llm_model_route");
        }
    }
}

void complete_callers(Gateway& gateway, const Draft& draft) {
    for (const auto& [hash, key] : gateway.keys->keys()) {
        try {
            gateway.callers.emplace(hash, make_caller(gateway, key));
        } catch (const ConfError& error) {
            throw error_at(draft.keys, error.what());
        }
    }
}

}  // namespace

ngx_int_t complete(ngx_conf_t* cf) noexcept {
    const auto* conf =
        static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    Gateway& gateway = *conf->gateway;
    if (!conf->enabled) {
        return NGX_OK;
    }
    try {
        require_directives(gateway, *conf->draft);
        if (gateway.zone == nullptr) {
            gateway.zone = add_zone(cf, kDefaultZone);
        }
        complete_routes(gateway, *conf->draft);
        complete_rules(gateway, *conf->draft);
        check_selections(gateway, *conf->draft);
        complete_callers(gateway, *conf->draft);
        return NGX_OK;
    } catch (const std::exception& error) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "%s", error.what());
        return NGX_ERROR;
    }
}

}  // namespace module
