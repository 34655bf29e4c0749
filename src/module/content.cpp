#include "module/content.hpp"

#include "module/call.hpp"

namespace module {

namespace {

bool is_admitted(ngx_http_request_t* r) noexcept {
    const Call* call = r == r->main ? Call::find(r) : nullptr;
    return call != nullptr && call->stage == Call::Stage::forwarded && !call->finished;
}

ngx_int_t content_handler(ngx_http_request_t* r) noexcept {
    if (!is_admitted(r)) {
        return refuse_entrance(r);
    }
    const auto* conf = static_cast<LocConf*>(ngx_http_get_module_loc_conf(r, ngx_http_llm_module));
    const ngx_int_t rc = conf->content_handler(r);
    if (conf->client_abort.drains) {
        watch_for_abort(r);
    }
    return rc;
}

}  // namespace

void guard_content(ngx_http_core_loc_conf_t& core, LocConf& conf, const LocConf& parent) noexcept {
    if (core.handler == nullptr) {
        conf.content_handler = parent.content_handler;  // of an if block without one
        return;
    }
    conf.content_handler = core.handler;
    core.handler = content_handler;
}

ngx_int_t refuse_entrance(const ngx_http_request_t* r) noexcept {
    const char* what = r->post_action ? "a post_action" : "a subrequest";
    ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                  "llm: %s cannot enter a location of \"llm on\"", what);
    return NGX_HTTP_FORBIDDEN;
}

}  // namespace module
