#include <algorithm>

#include "module/directives.hpp"
#include "module/upstream_group.hpp"

namespace module::directives {

namespace {

bool is_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '.' || c == '_' || c == '-';
    });
}

// "<in>/<out>" in USD per one million tokens.
llm::ModelPrice parse_price_pair(std::string_view value) {
    const size_t slash = value.find('/');
    const auto input = llm::parse_usd_per_million(value.substr(0, slash));
    const auto output = slash == std::string_view::npos
                            ? std::nullopt
                            : llm::parse_usd_per_million(value.substr(slash + 1));
    if (!input || !output) {
        throw ConfError("invalid value \"" + std::string(value) +
                        "\" of \"unknown\", expected reject, free or IN/OUT in USD per 1M tokens");
    }
    return llm::ModelPrice::flat(*input, *output);
}

std::optional<llm::AttoUsd> take_price(Arguments& args, std::string_view name) {
    const std::string_view value = args.take(name);
    if (value.empty()) {
        return std::nullopt;
    }
    const auto price = llm::parse_usd_per_million(value);
    if (!price) {
        throw ConfError("invalid value \"" + std::string(value) + "\" of \"" + std::string(name) +
                        "\", expected USD per 1M tokens");
    }
    return price;
}

}  // namespace

void prices(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view unknown = args.take("unknown");
    args.done(1);
    Gateway& gateway = gateway_of(conf);
    refuse_duplicate(gateway.prices.has_value());

    const std::string_view path = args.positional(0);
    llm::Result<llm::PriceTable> table = llm::PriceTable::parse(read_conf_file(cf, path));
    if (!table) {
        throw ConfError("\"" + std::string(path) + "\": " + table.error());
    }
    gateway.prices = std::move(*table);
    if (unknown == "free") {
        gateway.unknown_price = llm::ModelPrice{};
    } else if (!unknown.empty() && unknown != "reject") {
        gateway.unknown_price = parse_price_pair(unknown);
    }
}

void provider(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view dialect = args.take("dialect");
    const std::string_view api_key = args.take("api_key");
    args.done(2);

    llm::Provider provider;
    provider.name = args.positional(0);
    if (!is_name(provider.name)) {
        throw ConfError("invalid provider name \"" + provider.name + "\"");
    }
    if (gateway_of(conf).catalog.provider(provider.name) != nullptr) {
        throw ConfError("duplicate provider \"" + provider.name + "\"");
    }
    if (!dialect.empty() && dialect != "openai") {
        throw ConfError("invalid value \"" + std::string(dialect) + "\" of \"dialect\"");
    }
    if (!api_key.empty()) {
        provider.authorization = "Bearer " + read_secret(cf, api_key);
    }
    place_provider(cf, provider, args.positional(1));
    gateway_of(conf).catalog.add_provider(std::move(provider));
}

void model_route(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    DraftRoute route;
    route.price = {take_price(args, "input_price"), take_price(args, "output_price"),
                   take_price(args, "cache_read_price"), take_price(args, "cache_write_price")};
    const std::string_view model = args.take("model");
    const std::string_view weight = args.take("weight");
    route.backup = args.take_flag("backup");
    args.done(2);

    route.logical_model = args.positional(0);
    route.provider = args.positional(1);
    route.model = model.empty() ? route.logical_model : std::string(model);
    if (!weight.empty()) {
        route.weight = static_cast<uint32_t>(parse_count("weight", weight, 1, llm::kMaxWeight));
    }
    route.place = Place(cf);
    draft_of(conf).routes.push_back(std::move(route));
}

void model_alias(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    args.done(2);
    const std::string alias(args.positional(0));
    if (!gateway_of(conf).catalog.add_alias(alias, args.positional(1))) {
        throw ConfError("duplicate alias \"" + alias + "\"");
    }
    draft_of(conf).aliases.push_back({alias, Place(cf)});
}

void max_output(ngx_conf_t* cf, void* conf) {
    constexpr int64_t kMost = 100'000'000;
    Arguments args(cf);
    const std::string_view when_absent = args.take("default");
    args.done(2);
    DraftMaxOutput bound;
    bound.models = args.positional(0);
    bound.tokens = parse_count("tokens", args.positional(1), 1, kMost);
    if (!when_absent.empty()) {
        bound.when_absent = parse_count("default", when_absent, 1, bound.tokens);
    }
    select_models(cf, conf, bound.models);
    draft_of(conf).max_outputs.push_back(std::move(bound));
}

void model_allow(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    ModelAllow allow;
    allow.models = args.shift();
    const std::string by(args.take("by"));
    if (by.empty()) {
        throw ConfError("\"by\" is missing");
    }
    for (const std::string_view value : args.rest(0)) {
        allow.values.emplace_back(value);
    }
    if (allow.values.empty()) {
        throw ConfError("no value that \"by\" may have is given");
    }
    select_models(cf, conf, allow.models);
    Gateway& gateway = gateway_of(conf);
    allow.group = expression(cf, gateway, by);
    gateway.model_allows.push_back(std::move(allow));
}

}  // namespace module::directives
