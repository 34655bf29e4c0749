#include "module/models_list.hpp"

#include "llm/json_writer.hpp"

namespace module {

namespace {

void append_model(std::string& out, const std::string& name, const llm::LogicalModel& model) {
    if (out.back() != '[') {
        out += ',';
    }
    out += R"({"id":)";
    llm::append_json_string(out, name);
    // OpenAI's field is when the model was made; a logical model has no such date.
    out += R"(,"object":"model","created":0,"owned_by":)";
    llm::append_json_string(out, model.deployments.front()->provider->name);
    out += '}';
}

}  // namespace

std::string list_models(const Gateway& gateway, const Caller& caller) {
    std::string out = R"({"object":"list","data":[)";
    for (const auto& [name, model] : gateway.catalog.models()) {
        if (caller.may_use(name, name)) {
            append_model(out, name, model);
        }
    }
    for (const auto& [alias, target] : gateway.catalog.aliases()) {
        if (caller.may_use(alias, target)) {
            append_model(out, alias, *gateway.catalog.resolve(alias));
        }
    }
    out += "]}";
    return out;
}

}  // namespace module
