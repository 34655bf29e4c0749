#pragma once

#include <string>
#include <string_view>

#include "module/conf.hpp"

// What each directive of the http block does with its arguments. All throw ConfError, or
// std::bad_alloc; directives.cpp makes nginx's commands of them.
namespace module::directives {

// store_directives.cpp: what is kept, and where.
void zone(ngx_conf_t* cf, void* conf);
void keys_source(ngx_conf_t* cf, void* conf);
void redis(ngx_conf_t* cf, void* conf);
void postgres(ngx_conf_t* cf, void* conf);
void spool(ngx_conf_t* cf, void* conf);

// model_directives.cpp: models, who serves them, who may use them, and what they cost.
void prices(ngx_conf_t* cf, void* conf);
void provider(ngx_conf_t* cf, void* conf);
void model_route(ngx_conf_t* cf, void* conf);
void model_alias(ngx_conf_t* cf, void* conf);
void max_output(ngx_conf_t* cf, void* conf);
void model_allow(ngx_conf_t* cf, void* conf);

// limit_directives.cpp
void budget(ngx_conf_t* cf, void* conf);
void limit(ngx_conf_t* cf, void* conf);

// `conf` is nginx's main configuration of the module.
inline Gateway& gateway_of(void* conf) {
    return *static_cast<MainConf*>(conf)->gateway;
}
inline Draft& draft_of(void* conf) {
    return *static_cast<MainConf*>(conf)->draft;
}

void refuse_duplicate(bool is_set);
// The nginx expression of "by=…", compiled where its directive stands.
ngx_http_complex_value_t* expression(ngx_conf_t* cf, Gateway& gateway, const std::string& text);
// What a directive selects has to be there once all are read: a misspelt limit is none.
void select_models(ngx_conf_t* cf, void* conf, std::string_view models);

}  // namespace module::directives
