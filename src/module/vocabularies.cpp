#include "module/vocabularies.hpp"

#include <dlfcn.h>

#include <array>
#include <optional>

#include "module/conf.hpp"

namespace module {

namespace {

using llm::tokenizer::EncodingName;
using llm::tokenizer::Vocabulary;

std::optional<Vocabulary>& slot(EncodingName encoding) noexcept {
    static std::array<std::optional<Vocabulary>, llm::tokenizer::kEncodingCount> mapped;
    return mapped[static_cast<size_t>(encoding)];
}

std::string directory() {
    Dl_info module;
    if (dladdr(&ngx_http_llm_module, &module) == 0 || module.dli_fname == nullptr) {
        throw ConfError("the module's own file is not known");
    }
    const std::string file = module.dli_fname;
    return file.ends_with(".so") ? file.substr(0, file.size() - 3) : file + "-llm";
}

}  // namespace

const Vocabulary& map_vocabulary(EncodingName encoding) {
    std::optional<Vocabulary>& mapped = slot(encoding);
    if (mapped) {
        return *mapped;
    }
    const std::string_view name = name_of(encoding);
    const std::string path = directory() + "/" + std::string(name) + ".image";
    auto opened = Vocabulary::open(path, name);
    if (!opened) {
        throw ConfError("tokenizer " + opened.error());
    }
    if (ngx_test_config && !opened->verify()) {
        throw ConfError("tokenizer " + path + ": damaged");
    }
    mapped = std::move(*opened);
    return *mapped;
}

const Vocabulary* mapped_vocabulary(EncodingName encoding) noexcept {
    const std::optional<Vocabulary>& mapped = slot(encoding);
    return mapped ? &*mapped : nullptr;
}

}  // namespace module
