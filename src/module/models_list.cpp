#include "module/models_list.hpp"

#include "llm/json_writer.hpp"

namespace module {

namespace {

void append_rate(std::string& out, std::string_view name, llm::AttoUsd rate) {
    out.append(",\"").append(name).append("\":").append(llm::format_rate(rate));
}

void append_prices(std::string& out, const llm::ModelPrice& price) {
    const llm::TokenRates& rates = price.rates(llm::ServiceTier::standard, 0);
    out += R"("max_output_tokens":)";
    out += price.max_output_tokens > 0 ? std::to_string(price.max_output_tokens) : "null";
    append_rate(out, "input_cost_per_token", rates[llm::Rate::input]);
    append_rate(out, "output_cost_per_token", rates[llm::Rate::output]);
    append_rate(out, "cache_read_input_token_cost", rates[llm::Rate::cache_read]);
    append_rate(out, "cache_creation_input_token_cost", rates[llm::Rate::cache_write]);
}

void append_model(std::string& out, const std::string& name, const llm::LogicalModel& model) {
    if (out.back() != '[') {
        out += ',';
    }
    out += R"({"id":)";
    llm::append_json_string(out, name);
    // OpenAI's field is when the model was made; a logical model has no such date.
    out += R"(,"object":"model","created":0,"owned_by":)";
    llm::append_json_string(out, model.deployments.front()->provider->name);
    out += R"(,"model_info":{)";
    append_prices(out, model.deployments.front()->price);
    out += "}}";
}

void append_deployment(std::string& out, const std::string& name,
                       const llm::Deployment& deployment) {
    out += out.back() == '[' ? R"({"model_name":)" : R"(,{"model_name":)";
    llm::append_json_string(out, name);
    out += R"(,"litellm_params":{"model":)";
    llm::append_json_string(out, deployment.name);
    out += R"(},"model_info":{)";
    append_prices(out, deployment.price);
    out += "}}";
}

}  // namespace

std::string list_models(const Call& call) {
    std::string out = R"({"object":"list","data":[)";
    for (const auto& [name, model] : call.gateway.catalog.models()) {
        if (call.may_use(name, model)) {
            append_model(out, name, model);
        }
    }
    for (const auto& [alias, target] : call.gateway.catalog.aliases()) {
        const llm::LogicalModel& model = *call.gateway.catalog.resolve(target);
        if (call.may_use(alias, model)) {
            append_model(out, alias, model);
        }
    }
    out += "]}";
    return out;
}

std::string describe_models(const Call& call) {
    std::string out = R"({"data":[)";
    for (const auto& [name, model] : call.gateway.catalog.models()) {
        if (!call.may_use(name, model)) {
            continue;
        }
        for (const auto& deployment : model.deployments) {
            append_deployment(out, name, *deployment);
        }
    }
    out += "]}";
    return out;
}

}  // namespace module
