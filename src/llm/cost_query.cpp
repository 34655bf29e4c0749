#include "llm/cost_query.hpp"

#include <yajl/yajl_tree.h>

#include <memory>

#include "llm/decimal.hpp"
#include "llm/response_tap.hpp"

namespace llm {

namespace {

using Tree = std::unique_ptr<yajl_val_s, decltype(&yajl_tree_free)>;

struct CountName {
    const char* name;
    int64_t Usage::*count;
    int scale;  // in so many decimal digits
};

constexpr CountName kCounts[] = {
    {"prompt_tokens", &Usage::prompt_tokens, 0},
    {"input_tokens", &Usage::prompt_tokens, 0},
    {"completion_tokens", &Usage::completion_tokens, 0},
    {"output_tokens", &Usage::completion_tokens, 0},
    {"cache_read_input_tokens", &Usage::cached_tokens, 0},
    {"cache_creation_input_tokens", &Usage::cache_write_tokens, 0},
    {"reasoning_tokens", &Usage::reasoning_tokens, 0},
    {"characters", &Usage::characters, 0},
    {"images", &Usage::images, 0},
    {"pixels", &Usage::image_pixels, 0},
    {"seconds", &Usage::duration_us, 6},
    {"web_search_requests", &Usage::searches, 0},
};

yajl_val member(yajl_val object, const char* name) noexcept {
    const char* path[] = {name, nullptr};
    return yajl_tree_get(object, path, yajl_t_any);
}

Result<CostQuery> failure(std::string why) {
    return Result<CostQuery>::failure(std::move(why));
}

std::optional<int64_t> count_of(yajl_val value, int scale) noexcept {
    const auto number =
        YAJL_IS_NUMBER(value) ? Decimal::parse(YAJL_GET_NUMBER(value)) : std::nullopt;
    if (!number || number->is_negative()) {
        return std::nullopt;
    }
    return number->scaled(scale, kMaxCount, Decimal::Fraction::refuse);
}

// Adds what stands at the top. The name of a wrong field; empty: none is.
std::string add_counts(yajl_val object, Usage& usage) {
    for (const CountName& known : kCounts) {
        const yajl_val value = member(object, known.name);
        if (value == nullptr) {
            continue;
        }
        const auto count = count_of(value, known.scale);
        if (!count) {
            return known.name;
        }
        usage.*known.count = *count;
    }
    return {};
}

}  // namespace

Result<CostQuery> read_cost_query(std::string_view json) {
    // Refuses what nests too deep for the tree.
    ResponseFacts facts = read_json_response(json);
    if (!facts.complete) {
        return failure("not a JSON object");
    }
    if (facts.malformed) {
        return failure("usage is malformed");
    }
    const std::string text(json);
    const Tree tree(yajl_tree_parse(text.c_str(), nullptr, 0), yajl_tree_free);
    if (!tree) {
        return failure("not a JSON object");
    }
    CostQuery query{std::move(facts.model), facts.usage};
    const std::string wrong = add_counts(tree.get(), query.usage);
    if (!wrong.empty()) {
        return failure(wrong + " is not a count");
    }
    const Usage& usage = query.usage;
    if (query.model.empty()) {
        return failure("model is missing");
    }
    if (usage.cached_tokens > usage.prompt_tokens ||
        usage.cache_write_tokens > usage.prompt_tokens - usage.cached_tokens) {
        return failure("more tokens are cached than there are in the prompt");
    }
    if (usage.reasoning_tokens > usage.completion_tokens) {
        return failure("there is more reasoning than output");
    }
    return query;
}

}  // namespace llm
