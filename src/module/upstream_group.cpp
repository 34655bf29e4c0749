#include "module/upstream_group.hpp"

#include "module/conf.hpp"

namespace module {

namespace {

// Idle connections that a worker keeps to each provider.
constexpr const char* kKeepalive = "64";
// Below the minute after which common load balancers hang up: a request that meets a connection
// just closed is lost, and must not be sent twice.
constexpr const char* kKeepaliveTimeout = "20s";

constexpr ngx_uint_t kGroupFlags = NGX_HTTP_UPSTREAM_CREATE | NGX_HTTP_UPSTREAM_WEIGHT |
                                   NGX_HTTP_UPSTREAM_MAX_CONNS | NGX_HTTP_UPSTREAM_MAX_FAILS |
                                   NGX_HTTP_UPSTREAM_FAIL_TIMEOUT | NGX_HTTP_UPSTREAM_DOWN |
                                   NGX_HTTP_UPSTREAM_BACKUP;

template <class T>
T* checked(T* memory) {
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

template <class T>
T* allocate(ngx_conf_t* cf, size_t n = 1) {
    return checked(static_cast<T*>(ngx_pcalloc(cf->pool, n * sizeof(T))));
}

bool is_own_upstream(ngx_conf_t* cf, std::string_view name) {
    const auto* main = static_cast<ngx_http_upstream_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module));
    auto* const* groups = static_cast<ngx_http_upstream_srv_conf_t**>(main->upstreams.elts);
    for (ngx_uint_t i = 0; i < main->upstreams.nelts; ++i) {
        if ((groups[i]->flags & NGX_HTTP_UPSTREAM_CREATE) && io::view(groups[i]->host) == name) {
            return true;
        }
    }
    return false;
}

// What the `upstream name { … }` block does before it reads its body.
ngx_http_conf_ctx_t* open_group(ngx_conf_t* cf, std::string_view name) {
    ngx_url_t url = {};
    url.host = io::copy(cf->pool, name);
    url.no_resolve = 1;
    url.no_port = 1;
    ngx_http_upstream_srv_conf_t* group =
        checked(ngx_http_upstream_add(cf, checked(url.host.data) ? &url : nullptr, kGroupFlags));

    auto* ctx = allocate<ngx_http_conf_ctx_t>(cf);
    ctx->main_conf = static_cast<ngx_http_conf_ctx_t*>(cf->ctx)->main_conf;
    ctx->srv_conf = allocate<void*>(cf, ngx_http_max_module);
    ctx->loc_conf = allocate<void*>(cf, ngx_http_max_module);
    ctx->srv_conf[ngx_http_upstream_module.ctx_index] = group;
    group->srv_conf = ctx->srv_conf;
    group->servers = checked(ngx_array_create(cf->pool, 1, sizeof(ngx_http_upstream_server_t)));

    for (ngx_uint_t m = 0; cf->cycle->modules[m] != nullptr; ++m) {
        if (cf->cycle->modules[m]->type != NGX_HTTP_MODULE) {
            continue;
        }
        const auto* module = static_cast<ngx_http_module_t*>(cf->cycle->modules[m]->ctx);
        const ngx_uint_t index = cf->cycle->modules[m]->ctx_index;
        if (module->create_srv_conf != nullptr) {
            ctx->srv_conf[index] = checked(module->create_srv_conf(cf));
        }
        if (module->create_loc_conf != nullptr) {
            ctx->loc_conf[index] = checked(module->create_loc_conf(cf));
        }
    }
    return ctx;
}

// Runs one directive of a stock module, as if it stood in the block that `ctx` is of.
void run_directive(ngx_conf_t* cf, ngx_http_conf_ctx_t* ctx, const char* module_name,
                   std::initializer_list<const char*> words) {
    for (ngx_uint_t m = 0; cf->cycle->modules[m] != nullptr; ++m) {
        ngx_module_t* module = cf->cycle->modules[m];
        if (module->type != NGX_HTTP_MODULE || std::strcmp(module->name, module_name) != 0) {
            continue;
        }
        for (ngx_command_t* cmd = module->commands; cmd->name.len != 0; ++cmd) {
            if (io::view(cmd->name) != *words.begin()) {
                continue;
            }
            ngx_conf_t block = *cf;
            block.ctx = ctx;
            block.args = checked(ngx_array_create(cf->pool, words.size(), sizeof(ngx_str_t)));
            for (const char* word : words) {
                auto* arg = static_cast<ngx_str_t*>(ngx_array_push(block.args));
                *arg = io::copy(cf->pool, word);
            }
            const char* rc = cmd->set(&block, cmd, ctx->srv_conf[module->ctx_index]);
            if (rc != NGX_CONF_OK) {
                throw ConfError(std::string("\"") + *words.begin() + "\" of the provider failed");
            }
            return;
        }
    }
    // An nginx built without the module: connections are then not kept alive.
}

void make_group(ngx_conf_t* cf, std::string_view name, const llm::Provider& provider,
                in_port_t default_port) {
    ngx_url_t url = {};
    url.url = io::copy(cf->pool, provider.authority);
    url.default_port = default_port;
    if (ngx_parse_url(cf->pool, &url) != NGX_OK) {
        throw ConfError(std::string(url.err != nullptr ? url.err : "invalid host") + " in \"" +
                        provider.authority + "\"");
    }

    ngx_http_conf_ctx_t* ctx = open_group(cf, name);
    auto* group = static_cast<ngx_http_upstream_srv_conf_t*>(
        ctx->srv_conf[ngx_http_upstream_module.ctx_index]);
    auto* server =
        static_cast<ngx_http_upstream_server_t*>(checked(ngx_array_push(group->servers)));
    *server = {};
    server->name = url.url;
    server->addrs = url.addrs;
    server->naddrs = url.naddrs;
    server->weight = 1;
    server->max_fails = 1;
    server->fail_timeout = 10;
    run_directive(cf, ctx, "ngx_http_upstream_keepalive_module", {"keepalive", kKeepalive});
    run_directive(cf, ctx, "ngx_http_upstream_keepalive_module",
                  {"keepalive_timeout", kKeepaliveTimeout});
}

// Without the port, and an IPv6 address without its brackets, as a certificate names it.
std::string host_of(const std::string& authority) {
    if (authority.front() == '[') {
        return authority.substr(1, authority.find(']') - 1);
    }
    return authority.substr(0, authority.rfind(':'));
}

bool is_plain(std::string_view text) {
    return text.find_first_of(" \t\r\n\"'?#@$\\{}") == std::string_view::npos;
}

}  // namespace

void place_provider(ngx_conf_t* cf, llm::Provider& provider, std::string_view url) {
    const size_t scheme_end = url.find("://");
    provider.scheme = scheme_end == std::string_view::npos ? "" : url.substr(0, scheme_end);
    if (provider.scheme != "https" && provider.scheme != "http") {
        throw ConfError("invalid provider URL \"" + std::string(url) +
                        "\": it must start with https:// or http://");
    }
    const std::string_view rest = url.substr(scheme_end + 3);
    const size_t path = rest.find('/');
    provider.authority = rest.substr(0, path);
    provider.base_path = path == std::string_view::npos ? "" : rest.substr(path);
    while (!provider.base_path.empty() && provider.base_path.back() == '/') {
        provider.base_path.pop_back();
    }
    if (provider.authority.empty() || !is_plain(rest)) {
        throw ConfError("invalid provider URL \"" + std::string(url) + "\"");
    }
    provider.host = host_of(provider.authority);

    if (is_own_upstream(cf, provider.authority)) {
        provider.group = provider.authority;
        return;
    }
    provider.group = "llm-" + provider.name;
    make_group(cf, provider.group, provider, provider.scheme == "https" ? 443 : 80);
}

}  // namespace module
