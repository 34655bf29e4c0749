#include "module/cost_answer.hpp"

#include "llm/cost_query.hpp"
#include "llm/json_writer.hpp"

namespace module {

namespace {

// A response with its text; more is no question of usage.
constexpr size_t kMaxQuery = 32 * 1024;

struct Priced {
    std::string_view model;  // in the provider's own words
    const llm::ModelPrice* price;
};

void append_usd(std::string& out, std::string_view name, llm::NanoUsd amount) {
    out.append(",\"").append(name).append("\":").append(llm::format_usd(amount));
}

std::string render(const Call& call, std::string_view asked, const Priced& priced,
                   const llm::Usage& usage, bool estimated) {
    const llm::Cost cost = priced.price->cost(usage);
    std::string out = R"({"cost":)" + llm::format_usd(cost.total());
    append_usd(out, "input_cost", cost.input);
    append_usd(out, "cached_cost", cost.cached);
    append_usd(out, "output_cost", cost.output);
    append_usd(out, "reasoning_cost", cost.reasoning);
    append_usd(out, "tools_cost", cost.tools);
    out += R"(,"prompt_tokens":)" + std::to_string(usage.prompt_tokens);
    out += R"(,"completion_tokens":)" + std::to_string(usage.completion_tokens);
    out += R"(,"request_model":)";
    llm::append_json_string(out, asked);
    out += R"(,"model_used":)";
    llm::append_json_string(out, priced.model);
    out += R"(,"price_version":)";
    llm::append_json_string(out, call.gateway.prices->version());
    out += R"(,"estimated":)";
    out += estimated ? "true}" : "false}";
    return out;
}

// Of a logical model, else of one in the price file.
std::optional<Priced> find_price(const Gateway& gateway, const std::string& name) {
    if (const llm::LogicalModel* model = gateway.catalog.resolve(name)) {
        const llm::Deployment& first = *model->deployments.front();
        return Priced{first.model, &first.price};
    }
    if (const llm::ModelPrice* price = gateway.prices->find(name)) {
        return Priced{name, price};
    }
    return std::nullopt;
}

bool tells_usage(const llm::Usage& usage) noexcept {
    llm::Usage nothing;
    nothing.terms = usage.terms;
    return !(usage == nothing);
}

}  // namespace

std::optional<ngx_int_t> answer_cost_query(Call& call) {
    if (call.body.size() > kMaxQuery) {
        return std::nullopt;
    }
    const auto query = llm::read_cost_query(call.body);
    if (!query) {
        return answer_error(call, llm::invalid_request("Invalid request: " + query.error() + "."));
    }
    if (!tells_usage(query->usage)) {
        return std::nullopt;
    }
    const auto priced = find_price(call.gateway, query->model);
    if (!priced) {
        return answer_error(call, llm::model_not_found(query->model));
    }
    return answer_json(call, NGX_HTTP_OK, render(call, query->model, *priced, query->usage, false));
}

std::string cost_of_request(const Call& call) {
    const llm::Deployment& deployment = *call.order.front();
    llm::Usage usage;
    usage.prompt_tokens = call.prompt.tokens;
    usage.completion_tokens = call.scanned.max_tokens.value_or(0) * call.scanned.choices;
    usage.terms.tier = call.scanned.service_tier.value_or(llm::ServiceTier::standard);
    return render(call, call.scanned.model, {deployment.model, &deployment.price}, usage,
                  call.prompt.estimated);
}

}  // namespace module
