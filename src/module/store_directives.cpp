#include <algorithm>

#include "io/postgres_client.hpp"
#include "ledger/redis_url.hpp"
#include "module/directives.hpp"
#include "module/zone.hpp"

namespace module::directives {

namespace {

constexpr int64_t kMaxRedisTimeoutMs = 60'000;
constexpr ngx_msec_t kMaxRetentionDays = 36'500;
constexpr uint64_t kMinSpool = 16 * 1024 * 1024;

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

int parse_days(std::string_view name, std::string_view value) {
    constexpr ngx_msec_t kDayMs = 86'400'000;
    const ngx_msec_t ms = parse_msec(name, value);
    if (ms % kDayMs != 0 || ms / kDayMs > kMaxRetentionDays) {
        throw ConfError("\"" + std::string(name) + "\" must be whole days, at most 36500d");
    }
    return static_cast<int>(ms / kDayMs);
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

}  // namespace

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

}  // namespace module::directives
