#include "module/call.hpp"
#include "module/conf.hpp"
#include "module/filters.hpp"
#include "module/variables.hpp"
#include "module/worker.hpp"

namespace {

bool put_first(ngx_http_phase_t& phase, ngx_http_handler_pt handler) noexcept {
    if (ngx_array_push(&phase.handlers) == nullptr) {
        return false;
    }
    auto* handlers = static_cast<ngx_http_handler_pt*>(phase.handlers.elts);
    std::memmove(handlers + 1, handlers, (phase.handlers.nelts - 1) * sizeof(*handlers));
    handlers[0] = handler;
    return true;
}

ngx_int_t postconfiguration(ngx_conf_t* cf) noexcept {
    if (module::complete(cf) != NGX_OK) {
        return NGX_ERROR;
    }
    auto* core = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    // Access handlers run from the last to the first: what allow, deny, auth_basic and auth_request
    // refuse then costs nothing. Log handlers run from the first on: the access log then finds the
    // final cost in its variables.
    if (!put_first(core->phases[NGX_HTTP_ACCESS_PHASE], module::access_handler) ||
        !put_first(core->phases[NGX_HTTP_LOG_PHASE], module::log_handler)) {
        return NGX_ERROR;
    }
    module::install_filters();
    return NGX_OK;
}

ngx_http_module_t http_module = {
    module::add_variables,     // preconfiguration
    postconfiguration,         // postconfiguration
    module::create_main_conf,  // create main configuration
    nullptr,                   // init main configuration
    nullptr,                   // create server configuration
    nullptr,                   // merge server configuration
    module::create_loc_conf,   // create location configuration
    module::merge_loc_conf,    // merge location configuration
};

}  // namespace

ngx_module_t ngx_http_llm_module = {
    NGX_MODULE_V1,
    &http_module,          // module context
    module::commands,      // module directives
    NGX_HTTP_MODULE,       // module type
    nullptr,               // init master
    nullptr,               // init module
    module::Worker::init,  // init process
    nullptr,               // init thread
    nullptr,               // exit thread
    module::Worker::exit,  // exit process
    nullptr,               // exit master
    NGX_MODULE_V1_PADDING,
};
