#include "llm/body_edit.hpp"

#include <algorithm>
#include <tuple>

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

    void edit_bounds(const EditPlan& plan) {
        Bound legacy(kMaxTokens, request_.max_tokens_field);
        Bound current(kMaxCompletionTokens, request_.max_completion_tokens_field);
        if (plan.max_tokens) {
            bind(legacy, current, *plan.max_tokens, plan.bound_field);
        }
        if (plan.moves_bound && plan.bound_field == kMaxTokens) {
            move(current, legacy);
        } else if (plan.moves_bound) {
            move(legacy, current);
        }
        write(legacy);
        write(current);
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
        // What is inserted stands before what is replaced there.
        std::sort(splices_.begin(), splices_.end(), [](const Splice& a, const Splice& b) {
            return std::tie(a.at.begin, a.at.end) < std::tie(b.at.begin, b.at.end);
        });
        return std::move(splices_);
    }

  private:
    static std::string only_include_usage() { return "{" + std::string(kIncludeUsage) + "}"; }

    // One of the two fields: as the request has it, and what it is to come to.
    struct Bound {
        Bound(std::string_view name, const std::optional<TokenBound>& field)
            : name(name), field(field), tokens(field ? field->tokens : std::nullopt) {}

        const std::string_view name;
        const std::optional<TokenBound>& field;
        std::optional<int64_t> tokens;
    };

    // Where both are there, the other one becomes null: no name comes twice.
    void move(Bound& from, Bound& to) {
        if (!from.tokens) {
            return;
        }
        if (!to.field) {
            replace(from.field->key, "\"" + std::string(to.name) + "\"");
            return;
        }
        to.tokens = to.tokens ? to.tokens : from.tokens;
        from.tokens.reset();
    }

    void bind(Bound& legacy, Bound& current, int64_t tokens, std::string_view field) {
        if (legacy.tokens || current.tokens) {
            // Next to a bound, a null stays: a provider may refuse a request that has both.
            lower(legacy.tokens, tokens);
            lower(current.tokens, tokens);
        } else if (current.field) {
            current.tokens = tokens;
        } else if (legacy.field && field == kMaxTokens) {
            legacy.tokens = tokens;
        } else {
            members_.append("\"").append(field).append("\":");
            members_ += std::to_string(tokens) + ",";
        }
    }

    static void lower(std::optional<int64_t>& bound, int64_t tokens) {
        if (bound) {
            bound = std::min(*bound, tokens);
        }
    }

    void write(const Bound& bound) {
        if (bound.field && bound.tokens != bound.field->tokens) {
            replace(bound.field->value, bound.tokens ? std::to_string(*bound.tokens) : "null");
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
    editor.edit_bounds(plan);
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
