#include "module/conf.hpp"

#include <algorithm>
#include <cstdlib>

#include "module/content.hpp"

namespace module {

Arguments::Arguments(const ngx_conf_t* cf) {
    const auto* values = static_cast<const ngx_str_t*>(cf->args->elts);
    for (ngx_uint_t i = 1; i < cf->args->nelts; ++i) {
        values_.push_back(io::view(values[i]));
    }
}

std::vector<std::string_view> Arguments::take_all(std::string_view name) {
    std::vector<std::string_view> found;
    for (auto it = values_.begin(); it != values_.end();) {
        if (it->size() <= name.size() || it->substr(0, name.size()) != name ||
            (*it)[name.size()] != '=') {
            ++it;
            continue;
        }
        found.push_back(it->substr(name.size() + 1));
        if (found.back().empty()) {
            throw ConfError("\"" + std::string(name) + "\" has no value");
        }
        it = values_.erase(it);
    }
    return found;
}

std::string_view Arguments::take(std::string_view name) {
    const std::vector<std::string_view> found = take_all(name);
    if (found.size() > 1) {
        throw ConfError("\"" + std::string(name) + "\" is given twice");
    }
    return found.empty() ? std::string_view() : found.front();
}

std::string_view Arguments::shift() {
    const std::string_view first = values_.at(0);
    values_.erase(values_.begin());
    return first;
}

bool Arguments::take_flag(std::string_view name) {
    const auto found = std::find(values_.begin(), values_.end(), name);
    if (found == values_.end()) {
        return false;
    }
    values_.erase(found);
    return true;
}

void Arguments::done(size_t positionals) const {
    if (values_.size() < positionals) {
        throw ConfError("invalid number of arguments");
    }
    if (values_.size() > positionals) {
        throw ConfError("invalid parameter \"" + std::string(values_[positionals]) + "\"");
    }
}

std::vector<std::string_view> Arguments::rest(size_t positionals) const {
    if (values_.size() < positionals) {
        throw ConfError("invalid number of arguments");
    }
    return {values_.begin() + static_cast<ptrdiff_t>(positionals), values_.end()};
}

namespace {

ConfError invalid(std::string_view name, std::string_view value) {
    return ConfError("invalid value \"" + std::string(value) + "\" of \"" + std::string(name) +
                     "\"");
}

}  // namespace

size_t parse_size(std::string_view name, std::string_view value) {
    ngx_str_t line = io::borrow(value);
    const off_t size = ngx_parse_offset(&line);
    if (size == NGX_ERROR || size == 0) {
        throw invalid(name, value);
    }
    return static_cast<size_t>(size);
}

ngx_msec_t parse_msec(std::string_view name, std::string_view value) {
    ngx_str_t line = io::borrow(value);
    const ngx_int_t ms = ngx_parse_time(&line, 0);
    if (ms == NGX_ERROR || ms == 0) {
        throw invalid(name, value);
    }
    return static_cast<ngx_msec_t>(ms);
}

int64_t parse_count(std::string_view name, std::string_view value, int64_t least, int64_t most) {
    const ngx_str_t line = io::borrow(value);
    const ngx_int_t count = ngx_atoi(line.data, line.len);
    if (count == NGX_ERROR || count < least || count > most) {
        throw invalid(name, value);
    }
    return count;
}

ngx_http_complex_value_t* compile(ngx_conf_t* cf, std::string_view expression) {
    ngx_str_t text = io::borrow(expression);
    auto* value = static_cast<ngx_http_complex_value_t*>(
        ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t)));
    ngx_http_compile_complex_value_t compiling = {};
    compiling.cf = cf;
    compiling.value = &text;
    compiling.complex_value = value;
    if (value == nullptr) {
        throw std::bad_alloc();
    }
    if (ngx_http_compile_complex_value(&compiling) != NGX_OK) {
        throw ConfError("invalid expression \"" + std::string(expression) + "\"");
    }
    return value;
}

std::string read_conf_file(ngx_conf_t* cf, std::string_view path) {
    ngx_str_t name = io::copy(cf->pool, path);
    if (name.data == nullptr || ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        throw std::bad_alloc();
    }
    const std::string full(io::view(name));
    const auto fail = [&full](const char* what) {
        throw ConfError(std::string(what) + " \"" + full + "\" failed (" + std::strerror(errno) +
                        ")");
    };

    std::FILE* file = std::fopen(full.c_str(), "rbe");
    if (file == nullptr) {
        fail("opening");
    }
    std::string content;
    char chunk[16384];
    size_t n;
    while ((n = std::fread(chunk, 1, sizeof(chunk), file)) > 0) {
        content.append(chunk, n);
    }
    const bool failed = std::ferror(file) != 0;
    std::fclose(file);
    if (failed) {
        fail("reading");
    }
    return content;
}

std::string read_secret(ngx_conf_t* cf, std::string_view source) {
    std::string secret;
    if (source.substr(0, 4) == "env:") {
        const std::string name(source.substr(4));
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) {
            throw ConfError("environment variable \"" + name + "\" is not set");
        }
        secret = value;
    } else if (source.substr(0, 5) == "file:") {
        secret = read_conf_file(cf, source.substr(5));
    } else {
        throw ConfError("a secret must come from env:NAME or file:PATH");
    }
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) {
        secret.pop_back();
    }
    if (secret.empty()) {
        throw ConfError("the secret of \"" + std::string(source) + "\" is empty");
    }
    if (secret.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
        throw ConfError("the secret of \"" + std::string(source) + "\" has more than one line");
    }
    return secret;
}

void* create_main_conf(ngx_conf_t* cf) noexcept {
    auto* conf = static_cast<MainConf*>(ngx_pcalloc(cf->pool, sizeof(MainConf)));
    if (conf == nullptr) {
        return nullptr;
    }
    try {
        conf->gateway = io::make_in_pool<Gateway>(cf->pool);
        conf->draft = io::make_in_pool<Draft>(cf->temp_pool);
    } catch (const std::exception&) {
        return nullptr;
    }
    return conf->gateway == nullptr || conf->draft == nullptr ? nullptr : conf;
}

void* create_loc_conf(ngx_conf_t* cf) noexcept {
    auto* conf = static_cast<LocConf*>(ngx_pcalloc(cf->pool, sizeof(LocConf)));
    if (conf != nullptr) {
        conf->enabled = NGX_CONF_UNSET;
        conf->enforce = NGX_CONF_UNSET_UINT;
        conf->client_abort.drains = NGX_CONF_UNSET;
    }
    return conf;
}

char* merge_loc_conf(ngx_conf_t* cf, void* parent, void* child) noexcept {
    const auto* prev = static_cast<const LocConf*>(parent);
    auto* conf = static_cast<LocConf*>(child);
    if (conf->enabled == NGX_CONF_UNSET && prev->enabled != NGX_CONF_UNSET) {
        conf->enabled = prev->enabled;
        conf->file = prev->file;
        conf->line = prev->line;
    }
    if (conf->client_abort.drains == NGX_CONF_UNSET) {
        conf->client_abort = prev->client_abort;
        ngx_conf_init_value(conf->client_abort.drains, 0);
    }
    ngx_conf_init_value(conf->enabled, 0);
    ngx_conf_merge_uint_value(conf->enforce, prev->enforce, kEnforceReject);
    if (!conf->enabled) {
        return NGX_CONF_OK;
    }

    auto* core = static_cast<ngx_http_core_loc_conf_t*>(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    if (core->satisfy == NGX_HTTP_SATISFY_ANY) {
        // Another handler's "yes" would then skip the key, the budget and the row.
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"llm on\" cannot be used with \"satisfy any\" in %V:%ui", &conf->file,
                      conf->line);
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    auto* main =
        static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module));
    try {
        main->draft->enabled = Place(conf->file, conf->line);
    } catch (const std::exception&) {
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    main->enabled = 1;
    guard_content(*core, *conf, *prev);
    return NGX_CONF_OK;
}

}  // namespace module
