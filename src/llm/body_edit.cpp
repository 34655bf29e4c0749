#include "llm/body_edit.hpp"

#include <algorithm>

#include "llm/json_writer.hpp"

namespace llm {
namespace {

constexpr std::string_view kIncludeUsage = R"("include_usage":true)";

// Collects the splices of one body. Members are inserted directly after a '{', where it takes no
// more than a comma behind them.
class Editor {
  public:
    Editor(std::string_view body, const ScannedRequest& request) : body_(body), request_(request) {}

    void set_model(std::string_view model) {
        if (model != request_.model) {
            std::string text;
            append_json_string(text, model);
            replace(request_.model_value, std::move(text));
        }
    }

    void bind_output(int64_t tokens, std::string_view field) {
        const auto& current = request_.max_completion_tokens_field;
        const auto& legacy = request_.max_tokens_field;
        const bool any = request_.max_tokens.has_value();
        // Next to a bound, a null stays: a provider may refuse a request that has both.
        const bool bind_current = current && (!any || current->tokens);
        const bool fill_legacy = !any && !bind_current && field == kMaxTokens;
        const bool bind_legacy = legacy && (legacy->tokens || fill_legacy);
        if (bind_current) {
            set_bound(*current, tokens);
        }
        if (bind_legacy) {
            set_bound(*legacy, tokens);
        }
        if (!bind_current && !bind_legacy) {
            members_.append("\"").append(field).append("\":");
            members_ += std::to_string(tokens) + ",";
        }
    }

    void ask_for_usage() {
        if (!request_.stream || request_.include_usage) {
            return;
        }
        if (request_.include_usage_value) {
            replace(*request_.include_usage_value, "true");
        } else if (!request_.stream_options) {
            members_ += "\"stream_options\":" + only_include_usage() + ",";
        } else {
            add_to_stream_options(request_.stream_options->value);
        }
    }

    std::vector<Splice> finish() {
        if (!members_.empty()) {
            insert(body_.find('{') + 1, std::move(members_));
        }
        std::sort(splices_.begin(), splices_.end(),
                  [](const Splice& a, const Splice& b) { return a.at.begin < b.at.begin; });
        return std::move(splices_);
    }

  private:
    static std::string only_include_usage() { return "{" + std::string(kIncludeUsage) + "}"; }

    void set_bound(const TokenBound& bound, int64_t tokens) {
        if (!bound.tokens || *bound.tokens > tokens) {
            replace(bound.value, std::to_string(tokens));
        }
    }

    void add_to_stream_options(Span options) {
        if (body_[options.begin] != '{') {  // null
            replace(options, only_include_usage());
            return;
        }
        const size_t first = options.begin + 1;
        const bool empty = body_[body_.find_first_not_of(" \t\r\n\v\f", first)] == '}';
        insert(first, std::string(kIncludeUsage) + (empty ? "" : ","));
    }

    void replace(Span at, std::string text) { splices_.push_back({at, std::move(text)}); }
    void insert(size_t at, std::string text) { splices_.push_back({{at, at}, std::move(text)}); }

    const std::string_view body_;
    const ScannedRequest& request_;
    std::string members_;  // for the top-level object, which is never empty: it has a model
    std::vector<Splice> splices_;
};

}  // namespace

std::vector<Splice> plan_splices(std::string_view body, const ScannedRequest& request,
                                 const EditPlan& plan) {
    Editor editor(body, request);
    if (plan.model) {
        editor.set_model(*plan.model);
    }
    if (plan.max_tokens) {
        editor.bind_output(*plan.max_tokens, plan.bound_field);
    }
    if (plan.include_usage) {
        editor.ask_for_usage();
    }
    return editor.finish();
}

size_t spliced_size(std::string_view body, const std::vector<Splice>& splices) noexcept {
    size_t size = body.size();
    for (const Splice& splice : splices) {
        size += splice.text.size();
        size -= splice.at.size();
    }
    return size;
}

void splice_into(std::string_view body, const std::vector<Splice>& splices, char* out) noexcept {
    size_t from = 0;
    for (const Splice& splice : splices) {
        out = std::copy(body.begin() + from, body.begin() + splice.at.begin, out);
        out = std::copy(splice.text.begin(), splice.text.end(), out);
        from = splice.at.end;
    }
    std::copy(body.begin() + from, body.end(), out);
}

}  // namespace llm
