#include "module/variables.hpp"

#include <algorithm>
#include <cstdio>

#include "module/call.hpp"
#include "module/claims.hpp"
#include "module/headers.hpp"

namespace module {

namespace {

// The text of a variable; empty: not known (yet), as nginx's "not found".
using Text = std::string (*)(const Call&);

const llm::Identity* identity(const Call& call) noexcept {
    return call.caller == nullptr ? nullptr : &call.caller->key->identity;
}

template <std::string llm::Identity::*Field>
std::string of_identity(const Call& call) {
    const llm::Identity* known = identity(call);
    return known == nullptr ? std::string() : known->*Field;
}

template <int64_t llm::Usage::*Field>
std::string of_usage(const Call& call) {
    const llm::Charge charge = call.charge_so_far();
    return charge.source == llm::UsageSource::none ? std::string()
                                                   : std::to_string(charge.usage.*Field);
}

// Before the answer: what was counted of the request; after it: what was charged.
std::string prompt_tokens(const Call& call) {
    const std::string charged = of_usage<&llm::Usage::prompt_tokens>(call);
    if (!charged.empty() || call.order.empty()) {
        return charged;
    }
    return std::to_string(call.held_tokens.prompt);
}

std::string request_id(const Call& call) {
    return llm::to_string(call.id);
}

std::string model(const Call& call) {
    return call.model == nullptr ? std::string() : call.model->name;
}

// The client's own text: with control bytes it could end a header line that it is put into.
std::string requested_model(const Call& call) {
    const std::string& name = call.scanned.model;
    const bool printable = std::none_of(name.begin(), name.end(),
                                        [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    return printable ? name : std::string();
}

std::string provider(const Call& call) {
    return call.deployment() == nullptr ? std::string() : call.deployment()->provider->name;
}

std::string deployment(const Call& call) {
    return call.deployment() == nullptr ? std::string() : call.deployment()->name;
}

std::string cost(const Call& call) {
    return call.attempts == 0 ? std::string() : llm::format_usd(call.charge_so_far().cost.total());
}

std::string estimated_cost(const Call& call) {
    return call.order.empty() ? std::string() : llm::format_usd(call.held_tokens.cost);
}

std::string time_to_first_token(const Call& call) {
    if (call.first_output_ms < 0) {
        return {};
    }
    char text[32];
    const auto ms = static_cast<double>(call.first_output_ms - call.started_ms);
    std::snprintf(text, sizeof(text), "%.3f", ms / 1000);
    return text;
}

std::string utilization(const Call& call) {
    const double value = budget_utilization(call, Budgets::all);
    if (value < 0) {
        return {};
    }
    char text[32];
    std::snprintf(text, sizeof(text), "%.4f", value);
    return text;
}

std::string upstream_url(const Call& call) {
    const llm::Deployment* used = call.deployment();
    if (used == nullptr) {
        return {};
    }
    const llm::Provider& provider = *used->provider;
    return provider.scheme + "://" + provider.group + provider.base_path +
           std::string(llm::endpoint_path(call.endpoint));
}

std::string upstream_host(const Call& call) {
    return call.deployment() == nullptr ? std::string() : call.deployment()->provider->authority;
}

std::string upstream_name(const Call& call) {
    return call.deployment() == nullptr ? std::string() : call.deployment()->provider->host;
}

std::string upstream_authorization(const Call& call) {
    return call.deployment() == nullptr ? std::string()
                                        : call.deployment()->provider->authorization;
}

template <Text Of>
ngx_int_t get(ngx_http_request_t* r, ngx_http_variable_value_t* v, uintptr_t) noexcept {
    v->not_found = 1;
    const Call* call = Call::find(r);
    if (call == nullptr) {
        return NGX_OK;
    }
    try {
        const std::string text = Of(*call);
        if (text.empty()) {
            return NGX_OK;
        }
        const ngx_str_t copy = io::copy(r->pool, text);
        if (copy.data == nullptr) {
            return NGX_ERROR;
        }
        v->data = copy.data;
        v->len = static_cast<unsigned>(copy.len);
        v->valid = 1;
        v->no_cacheable = 0;
        v->not_found = 0;
        return NGX_OK;
    } catch (const std::exception&) {
        return NGX_ERROR;
    }
}

struct Variable {
    ngx_str_t name;
    ngx_http_get_variable_pt get;
};

const Variable kVariables[] = {
    {ngx_string("llm_request_id"), get<request_id>},
    {ngx_string("llm_model"), get<model>},
    {ngx_string("llm_requested_model"), get<requested_model>},
    {ngx_string("llm_provider"), get<provider>},
    {ngx_string("llm_deployment"), get<deployment>},
    {ngx_string("llm_key_alias"), get<of_identity<&llm::Identity::key_alias>>},
    {ngx_string("llm_key_hash"), get<of_identity<&llm::Identity::key_hash>>},
    {ngx_string("llm_team"), get<of_identity<&llm::Identity::team>>},
    {ngx_string("llm_user"), get<of_identity<&llm::Identity::user>>},
    {ngx_string("llm_org"), get<of_identity<&llm::Identity::org>>},
    {ngx_string("llm_prompt_tokens"), get<prompt_tokens>},
    {ngx_string("llm_completion_tokens"), get<of_usage<&llm::Usage::completion_tokens>>},
    {ngx_string("llm_cached_tokens"), get<of_usage<&llm::Usage::cached_tokens>>},
    {ngx_string("llm_reasoning_tokens"), get<of_usage<&llm::Usage::reasoning_tokens>>},
    {ngx_string("llm_cost"), get<cost>},
    {ngx_string("llm_estimated_cost"), get<estimated_cost>},
    {ngx_string("llm_ttft"), get<time_to_first_token>},
    {ngx_string("llm_decision"), get<decision_name>},
    {ngx_string("llm_budget_utilization"), get<utilization>},
    {ngx_string("llm_upstream_url"), get<upstream_url>},
    {ngx_string("llm_upstream_host"), get<upstream_host>},
    {ngx_string("llm_upstream_name"), get<upstream_name>},
    {ngx_string("llm_upstream_authorization"), get<upstream_authorization>},
};

}  // namespace

ngx_int_t add_variables(ngx_conf_t* cf) noexcept {
    for (const Variable& wanted : kVariables) {
        ngx_str_t name = wanted.name;
        // Values change with every attempt and with the answer: none is cached.
        ngx_http_variable_t* variable = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);
        if (variable == nullptr) {
            return NGX_ERROR;
        }
        variable->get_handler = wanted.get;
    }
    return NGX_OK;
}

}  // namespace module
