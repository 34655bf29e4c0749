#include "module/token_counter.hpp"

#include "llm/json_writer.hpp"

namespace module {

std::string token_count(const Call& call) {
    std::string out = R"({"total_tokens":)" + std::to_string(call.prompt.tokens);
    out += R"(,"request_model":)";
    llm::append_json_string(out, call.scanned.model);
    out += R"(,"model_used":)";
    llm::append_json_string(out, call.order.front()->model);
    out += R"(,"tokenizer_type":"openai_tokenizer","estimated":)";
    out += call.prompt.estimated ? "true}" : "false}";
    return out;
}

}  // namespace module
