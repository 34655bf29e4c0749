#include <algorithm>

#include "io/postgres_client.hpp"
#include "ledger/redis_url.hpp"
#include "module/conf.hpp"
#include "module/draft.hpp"
#include "module/upstream_group.hpp"
#include "module/zone.hpp"

namespace module {

namespace {

constexpr int64_t kMaxRedisTimeoutMs = 60'000;
constexpr ngx_msec_t kMaxRetentionDays = 36'500;
constexpr uint64_t kMinSpool = 16 * 1024 * 1024;

Gateway& gateway_of(void* conf) {
    return *static_cast<MainConf*>(conf)->gateway;
}

Draft& draft_of(void* conf) {
    return *static_cast<MainConf*>(conf)->draft;
}

void refuse_duplicate(bool is_set) {
    if (is_set) {
        throw ConfError("is duplicate");
    }
}

bool is_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '.' || c == '_' || c == '-';
    });
}

void zone(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    args.done(1);
    Gateway& gateway = gateway_of(conf);
    refuse_duplicate(gateway.zone != nullptr);
    const size_t size = parse_size("llm_zone", args.positional(0));
    if (size < kMinZone) {
        throw ConfError("\"llm_zone\" must be at least 1m");
    }
    gateway.zone = add_zone(cf, size);
}

void keys_source(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    args.done(1);
    Gateway& gateway = gateway_of(conf);
    refuse_duplicate(gateway.keys.has_value());
    const std::string_view source = args.positional(0);
    if (source.substr(0, 5) != "file:" || source.size() == 5) {
        throw ConfError("invalid key store \"" + std::string(source) + "\", expected file:PATH");
    }
    const std::string_view path = source.substr(5);
    llm::Result<keys::KeyFile> file = keys::KeyFile::parse(read_conf_file(cf, path));
    if (!file) {
        throw ConfError("\"" + std::string(path) + "\": " + file.error());
    }
    gateway.keys = std::move(*file);
    draft_of(conf).keys = Place(cf);
}

ledger::OnFailure parse_on_failure(std::string_view value) {
    if (value.empty() || value == "local") {
        return ledger::OnFailure::local;
    }
    if (value == "deny") {
        return ledger::OnFailure::deny;
    }
    if (value == "allow") {
        return ledger::OnFailure::allow;
    }
    throw ConfError("invalid value \"" + std::string(value) + "\" of \"on_failure\"");
}

void redis(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view timeout = args.take("timeout");
    const std::string_view on_failure = args.take("on_failure");
    args.done(1);
    Gateway& gateway = gateway_of(conf);
    refuse_duplicate(gateway.redis.has_value());

    RedisSettings settings;
    auto client = ledger::parse_redis_url(args.positional(0));
    if (!client) {
        throw ConfError(client.error());
    }
    settings.client = *client;
    if (!timeout.empty()) {
        settings.client.timeout_ms = static_cast<int64_t>(parse_msec("timeout", timeout));
        if (settings.client.timeout_ms > kMaxRedisTimeoutMs) {
            throw ConfError("\"timeout\" must be at most 60s");
        }
    }
    settings.on_failure = parse_on_failure(on_failure);
    gateway.redis = std::move(settings);
}

int parse_days(std::string_view name, std::string_view value) {
    constexpr ngx_msec_t kDayMs = 86'400'000;
    const ngx_msec_t ms = parse_msec(name, value);
    if (ms % kDayMs != 0 || ms / kDayMs > kMaxRetentionDays) {
        throw ConfError("\"" + std::string(name) + "\" must be whole days, at most 36500d");
    }
    return static_cast<int>(ms / kDayMs);
}

void postgres(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view batch = args.take("batch");
    const std::string_view flush = args.take("flush");
    const std::string_view retention = args.take("retention");
    args.done(1);
    Gateway& gateway = gateway_of(conf);
    refuse_duplicate(gateway.postgres.has_value());

    PostgresSettings settings;
    std::string error;
    if (!io::prepare_conninfo(std::string(args.positional(0)), settings.conninfo, error)) {
        throw ConfError(error);
    }
    if (!batch.empty()) {
        settings.batch = static_cast<size_t>(parse_count("batch", batch, 1, 10'000));
    }
    if (!flush.empty()) {
        settings.flush_ms = parse_msec("flush", flush);
    }
    if (!retention.empty()) {
        settings.keep_days = parse_days("retention", retention);
    }
    gateway.postgres = std::move(settings);
}

spend::WhenFull parse_when_full(std::string_view value) {
    if (value.empty() || value == "reject") {
        return spend::WhenFull::reject;
    }
    if (value == "drop_oldest") {
        return spend::WhenFull::drop_oldest;
    }
    throw ConfError("invalid value \"" + std::string(value) + "\" of \"full\"");
}

Fsync parse_fsync(std::string_view value) {
    Fsync fsync;
    if (value == "off") {
        fsync.when = Fsync::When::off;
    } else if (value == "always") {
        fsync.when = Fsync::When::always;
    } else if (!value.empty()) {
        fsync.interval_ms = parse_msec("fsync", value);
    }
    return fsync;
}

bool parse_sums_refusals(std::string_view value) {
    if (!value.empty() && value != "each" && value != "summed") {
        throw ConfError("invalid value \"" + std::string(value) + "\" of \"refused\"");
    }
    return value == "summed";
}

void spool(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view max_size = args.take("max_size");
    const std::string_view full = args.take("full");
    const std::string_view fsync = args.take("fsync");
    const std::string_view refused = args.take("refused");
    args.done(1);
    Gateway& gateway = gateway_of(conf);
    refuse_duplicate(gateway.spool.has_value());

    SpoolSettings settings;
    if (!max_size.empty()) {
        settings.max_bytes = parse_size("max_size", max_size);
        if (settings.max_bytes < kMinSpool) {
            throw ConfError("\"max_size\" must be at least 16m");
        }
    }
    settings.when_full = parse_when_full(full);
    settings.fsync = parse_fsync(fsync);
    settings.sums_refusals = parse_sums_refusals(refused);
    auto* path = static_cast<ngx_path_t*>(ngx_pcalloc(cf->pool, sizeof(ngx_path_t)));
    if (path == nullptr) {
        throw std::bad_alloc();
    }
    path->name = io::copy(cf->pool, args.positional(0));
    while (path->name.len > 1 && path->name.data[path->name.len - 1] == '/') {
        path->name.data[--path->name.len] = '\0';
    }
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;
    if (ngx_conf_full_name(cf->cycle, &path->name, 0) != NGX_OK ||
        ngx_add_path(cf, &path) != NGX_OK) {
        throw ConfError("invalid path \"" + std::string(args.positional(0)) + "\"");
    }
    ngx_file_info_t info;
    if (ngx_file_info(path->name.data, &info) != NGX_FILE_ERROR && !ngx_is_dir(&info)) {
        throw ConfError("\"" + std::string(args.positional(0)) + "\" is not a directory");
    }
    settings.path = path;
    gateway.spool = settings;
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

// The nginx expression of "by=…" is compiled here, where its directive stands.
ngx_http_complex_value_t* expression(ngx_conf_t* cf, Gateway& gateway, const std::string& text) {
    ngx_http_complex_value_t*& compiled = gateway.expressions[text];
    if (compiled == nullptr) {
        compiled = compile(cf, text);
    }
    if (compiled->lengths == nullptr) {
        throw ConfError("\"" + text + "\" has no variable");
    }
    return compiled;
}

// What a directive selects has to be there once all are read: a misspelt limit is none.
void select_models(ngx_conf_t* cf, void* conf, std::string_view models) {
    draft_of(conf).selections.push_back({std::string(models), Place(cf)});
}

void add_rule(ngx_conf_t* cf, void* conf, llm::Result<ledger::LimitRule> rule,
              std::string_view models) {
    if (!rule) {
        throw ConfError(rule.error());
    }
    rule->models = models;
    if (!models.empty()) {
        select_models(cf, conf, models);
    }
    if (rule->scope == ledger::Scope::model && rule->selector != "*") {
        select_models(cf, conf, rule->selector);
    }
    Gateway& gateway = gateway_of(conf);
    if (rule->scope == ledger::Scope::group) {
        expression(cf, gateway, rule->selector);
    }
    gateway.rules.push_back(std::move(*rule));
}

ledger::Estimate parse_estimate(std::string_view value) {
    if (value.empty() || value == "bound") {
        return ledger::Estimate::bound;
    }
    if (value == "expected") {
        return ledger::Estimate::expected;
    }
    throw ConfError("invalid value \"" + std::string(value) +
                    "\" of \"estimate\", expected bound or expected");
}

void budget(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view scope = args.shift();
    const std::string_view models = args.take("model");
    const ledger::Estimate estimate = parse_estimate(args.take("estimate"));
    const ledger::StepOptions options{args.take("soft"), args.take("over"), args.take_all("at")};
    args.done(1);
    auto rule = ledger::parse_budget(scope, args.positional(0));
    if (rule) {
        auto steps = ledger::parse_steps(rule->limit, options);
        if (!steps) {
            throw ConfError(steps.error());
        }
        rule->estimate = estimate;
        rule->steps = std::move(*steps);
        for (const ledger::BudgetStep& step : rule->steps) {
            if (step.action == ledger::BudgetStep::Action::downgrade) {
                draft_of(conf).downgrades.push_back({step.model, Place(cf)});
            }
        }
    }
    add_rule(cf, conf, std::move(rule), models);
}

ledger::SlotLine slot_line(std::string_view queue, std::string_view wait) {
    constexpr int64_t kMostPlaces = 10'000;
    constexpr ngx_msec_t kLongestWait = 600'000;
    if (queue.empty() != wait.empty()) {
        throw ConfError("\"queue=\" and \"wait=\" go together");
    }
    if (queue.empty()) {
        return {};
    }
    const ngx_msec_t wait_ms = parse_msec("wait", wait);
    if (wait_ms > kLongestWait) {
        throw ConfError("\"wait=\" may be 10m at most");
    }
    const int64_t places = parse_count("queue", queue, 1, kMostPlaces);
    return {static_cast<size_t>(places), static_cast<int64_t>(wait_ms)};
}

void limit(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    const std::string_view scope = args.shift();
    const std::string_view models = args.take("model");
    const ledger::SlotLine line = slot_line(args.take("queue"), args.take("wait"));
    const std::string_view estimate = args.take("estimate");
    const auto rates = args.rest(0);
    if (rates.empty()) {
        throw ConfError("invalid number of arguments");
    }
    bool has_parallel = false;
    bool has_tokens = false;
    for (const std::string_view rate : rates) {
        auto rule = ledger::parse_rate(scope, rate);
        if (rule && rule->unit == ledger::Unit::parallel) {
            rule->line = line;
            has_parallel = true;
        }
        if (rule && rule->unit == ledger::Unit::tokens) {
            rule->estimate = parse_estimate(estimate);
            has_tokens = true;
        }
        add_rule(cf, conf, std::move(rule), models);
    }
    if (line.places > 0 && !has_parallel) {
        throw ConfError("\"queue=\" wants \"parallel=\" in the same directive");
    }
    if (!estimate.empty() && !has_tokens) {
        throw ConfError("\"estimate=\" wants \"tpm=\" in the same directive");
    }
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

ngx_conf_enum_t enforce_values[] = {{ngx_string("reject"), kEnforceReject},
                                    {ngx_string("shadow"), kEnforceShadow},
                                    {ngx_null_string, 0}};

void client_abort(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    ClientAbort& abort = static_cast<LocConf*>(conf)->client_abort;
    refuse_duplicate(abort.drains != NGX_CONF_UNSET);
    abort = parse_client_abort(args);
}

char* llm_flag(ngx_conf_t* cf, ngx_command_t* cmd, void* conf) noexcept {
    auto* loc = static_cast<LocConf*>(conf);
    loc->file = cf->conf_file->file.name;
    loc->line = cf->conf_file->line;
    return ngx_conf_set_flag_slot(cf, cmd, conf);
}

// Turns a directive's function into nginx's: nothing is thrown across it, every error has file and
// line.
template <void (*Set)(ngx_conf_t*, void*)>
char* directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf) noexcept {
    try {
        Set(cf, conf);
        return NGX_CONF_OK;
    } catch (const ConfError& error) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", &cmd->name, error.what());
    } catch (const std::exception& error) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\": %s", &cmd->name, error.what());
    }
    return static_cast<char*>(NGX_CONF_ERROR);
}

template <void (*Set)(ngx_conf_t*, void*)>
constexpr ngx_command_t main_directive(ngx_str_t name, ngx_uint_t arguments) {
    return {name,   NGX_HTTP_MAIN_CONF | arguments, directive<Set>, NGX_HTTP_MAIN_CONF_OFFSET, 0,
            nullptr};
}

}  // namespace

ngx_command_t commands[] = {
    {ngx_string("llm"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_FLAG,
     llm_flag, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, enabled), nullptr},
    {ngx_string("llm_client_abort"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
     directive<client_abort>, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    main_directive<zone>(ngx_string("llm_zone"), NGX_CONF_TAKE1),
    main_directive<keys_source>(ngx_string("llm_keys"), NGX_CONF_TAKE1),
    main_directive<redis>(ngx_string("llm_redis"), NGX_CONF_1MORE),
    main_directive<postgres>(ngx_string("llm_postgres"), NGX_CONF_1MORE),
    main_directive<spool>(ngx_string("llm_spool"), NGX_CONF_1MORE),
    main_directive<prices>(ngx_string("llm_prices"), NGX_CONF_1MORE),
    main_directive<provider>(ngx_string("llm_provider"), NGX_CONF_2MORE),
    main_directive<model_route>(ngx_string("llm_model_route"), NGX_CONF_2MORE),
    main_directive<model_alias>(ngx_string("llm_model_alias"), NGX_CONF_TAKE2),
    main_directive<budget>(ngx_string("llm_budget"), NGX_CONF_2MORE),
    main_directive<limit>(ngx_string("llm_limit"), NGX_CONF_2MORE),
    main_directive<max_output>(ngx_string("llm_max_output"), NGX_CONF_2MORE),
    main_directive<model_allow>(ngx_string("llm_model_allow"), NGX_CONF_2MORE),
    {ngx_string("llm_enforce"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_enum_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, enforce), enforce_values},
    ngx_null_command,
};

}  // namespace module
