#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "io/ngx.hpp"
#include "module/client_abort.hpp"
#include "module/draft.hpp"
#include "module/gateway.hpp"

extern "C" {
extern ngx_module_t ngx_http_llm_module;
}

namespace module {

enum Enforce : ngx_uint_t { kEnforceReject, kEnforceShadow };

// nginx's view of the configuration: plain structs, as its slots and merges want them.
struct MainConf {
    Gateway* gateway;
    Draft* draft;        // of use only while the configuration is read
    ngx_uint_t enabled;  // some location has `llm on`
};

struct LocConf {
    ngx_flag_t enabled;
    ngx_uint_t enforce;  // Enforce
    ngx_str_t file;      // where `llm` stands, for errors that show only when the whole is known
    ngx_uint_t line;
    ClientAbort client_abort;
    ngx_http_handler_pt content_handler;  // behind the guard (content.hpp); nullptr: static files
    // The location's configuration without its error pages, for a request that has no further
    // deployment to try: a provider's own error body is then the answer. Made at first need.
    void** final_loc_conf;
};

// What a directive's value is wrong with; reported with file and line.
struct ConfError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The arguments of one directive: positional ones first, then name=value and bare flags in any
// order.
class Arguments {
  public:
    explicit Arguments(const ngx_conf_t* cf);

    std::string_view positional(size_t i) const { return values_.at(i); }
    // The value of name=…, taken off the list; empty if it is not there. Given empty or twice: an
    // error.
    std::string_view take(std::string_view name);
    // Of one that may be given several times.
    std::vector<std::string_view> take_all(std::string_view name);
    bool take_flag(std::string_view name);
    // Takes the first argument, whatever it looks like.
    std::string_view shift();
    // Everything behind the first `positionals` must have been taken.
    void done(size_t positionals) const;
    std::vector<std::string_view> rest(size_t positionals) const;

  private:
    std::vector<std::string_view> values_;
};

// Values of directives; each throws ConfError with the name of what is wrong.
size_t parse_size(std::string_view name, std::string_view value);
ngx_msec_t parse_msec(std::string_view name, std::string_view value);
int64_t parse_count(std::string_view name, std::string_view value, int64_t least, int64_t most);

// An expression with variables, compiled into the configuration's pool.
ngx_http_complex_value_t* compile(ngx_conf_t* cf, std::string_view expression);

// The whole of a file that a directive names; relative paths start at the configuration's
// directory.
std::string read_conf_file(ngx_conf_t* cf, std::string_view path);
// The secret behind env:NAME or file:PATH. Never part of an error.
std::string read_secret(ngx_conf_t* cf, std::string_view source);

void* create_main_conf(ngx_conf_t* cf) noexcept;
void* create_loc_conf(ngx_conf_t* cf) noexcept;
char* merge_loc_conf(ngx_conf_t* cf, void* parent, void* child) noexcept;

// Ties the directives together once all are read: routes to providers and prices, keys to their
// claims. Called from postconfiguration; errors are logged.
ngx_int_t complete(ngx_conf_t* cf) noexcept;

extern ngx_command_t commands[];

}  // namespace module
