#pragma once

#include <string>
#include <vector>

#include "io/ngx.hpp"
#include "llm/model_price.hpp"

namespace module {

// Where a directive stands, for errors that show only when the whole configuration is known.
struct Place {
    std::string file;
    ngx_uint_t line = 0;

    Place() = default;
    Place(const ngx_str_t& file, ngx_uint_t line) : file(io::view(file)), line(line) {}
    explicit Place(const ngx_conf_t* cf) : Place(cf->conf_file->file.name, cf->conf_file->line) {}
};

struct DraftRoute {
    std::string logical_model;
    std::string provider;
    std::string model;
    uint32_t weight = 1;
    bool backup = false;
    llm::PriceOverride price;
    Place place;
};

struct DraftAlias {
    std::string alias;
    Place place;
};

struct DraftMaxOutput {
    std::string models;  // a glob of logical models
    int64_t tokens = 0;
    int64_t when_absent = 0;  // 0: not given
};

struct DraftSelection {
    std::string models;  // a glob of logical models, or one by its name
    Place place;
};

struct DraftDowngrade {
    std::string model;
    Place place;
};

// Directives that refer to others, which may stand below them: kept until all are read.
struct Draft {
    std::vector<DraftRoute> routes;
    std::vector<DraftAlias> aliases;
    std::vector<DraftDowngrade> downgrades;
    std::vector<DraftSelection> selections;
    std::vector<DraftMaxOutput> max_outputs;
    Place keys;     // llm_keys
    Place enabled;  // an `llm on`
};

}  // namespace module
