#include "module/directives.hpp"

namespace module {

namespace directives {

void refuse_duplicate(bool is_set) {
    if (is_set) {
        throw ConfError("is duplicate");
    }
}

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

void select_models(ngx_conf_t* cf, void* conf, std::string_view models) {
    draft_of(conf).selections.push_back({std::string(models), Place(cf)});
}

}  // namespace directives

namespace {

ngx_conf_enum_t enforce_values[] = {{ngx_string("reject"), kEnforceReject},
                                    {ngx_string("shadow"), kEnforceShadow},
                                    {ngx_null_string, 0}};

void client_abort(ngx_conf_t* cf, void* conf) {
    Arguments args(cf);
    ClientAbort& abort = static_cast<LocConf*>(conf)->client_abort;
    directives::refuse_duplicate(abort.drains != NGX_CONF_UNSET);
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
    main_directive<directives::zone>(ngx_string("llm_zone"), NGX_CONF_TAKE1),
    main_directive<directives::keys_source>(ngx_string("llm_keys"), NGX_CONF_TAKE1),
    main_directive<directives::redis>(ngx_string("llm_redis"), NGX_CONF_1MORE),
    main_directive<directives::postgres>(ngx_string("llm_postgres"), NGX_CONF_1MORE),
    main_directive<directives::spool>(ngx_string("llm_spool"), NGX_CONF_1MORE),
    main_directive<directives::prices>(ngx_string("llm_prices"), NGX_CONF_1MORE),
    main_directive<directives::provider>(ngx_string("llm_provider"), NGX_CONF_2MORE),
    main_directive<directives::model_route>(ngx_string("llm_model_route"), NGX_CONF_2MORE),
    main_directive<directives::model_alias>(ngx_string("llm_model_alias"), NGX_CONF_TAKE2),
    main_directive<directives::budget>(ngx_string("llm_budget"), NGX_CONF_2MORE),
    main_directive<directives::limit>(ngx_string("llm_limit"), NGX_CONF_2MORE),
    main_directive<directives::max_output>(ngx_string("llm_max_output"), NGX_CONF_2MORE),
    main_directive<directives::model_allow>(ngx_string("llm_model_allow"), NGX_CONF_2MORE),
    {ngx_string("llm_enforce"),
     NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_enum_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(LocConf, enforce), enforce_values},
    ngx_null_command,
};

}  // namespace module
