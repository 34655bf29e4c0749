#include "module/call.hpp"
#include "module/conf.hpp"
#include "module/filters.hpp"
#include "module/variables.hpp"
#include "module/worker.hpp"

namespace {

ngx_http_handler_pt* push_handler(ngx_http_phase_t& phase) noexcept {
    return static_cast<ngx_http_handler_pt*>(ngx_array_push(&phase.handlers));
}

// Handlers of a phase run from the last to the first: ours goes to the front, so that what allow,
// deny, auth_basic and auth_request refuse costs nothing.
ngx_int_t run_last_in_access(ngx_http_core_main_conf_t& core) noexcept {
    ngx_http_phase_t& phase = core.phases[NGX_HTTP_ACCESS_PHASE];
    if (push_handler(phase) == nullptr) {
        return NGX_ERROR;
    }
    auto* handlers = static_cast<ngx_http_handler_pt*>(phase.handlers.elts);
    std::memmove(handlers + 1, handlers, (phase.handlers.nelts - 1) * sizeof(*handlers));
    handlers[0] = module::access_handler;
    return NGX_OK;
}

ngx_int_t postconfiguration(ngx_conf_t* cf) noexcept {
    if (module::complete(cf) != NGX_OK) {
        return NGX_ERROR;
    }
    auto* core = static_cast<ngx_http_core_main_conf_t*>(
        ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    if (run_last_in_access(*core) != NGX_OK) {
        return NGX_ERROR;
    }
    ngx_http_handler_pt* log = push_handler(core->phases[NGX_HTTP_LOG_PHASE]);
    if (log == nullptr) {
        return NGX_ERROR;
    }
    *log = module::log_handler;
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
