#include "keys/record.hpp"

#include <algorithm>

#include "llm/glob.hpp"

namespace keys {

bool Limits::allows(const std::string& model) const noexcept {
    return models.empty() ||
           std::any_of(models.begin(), models.end(), [&](const std::string& glob) {
               return llm::glob_matches(glob, model);
           });
}

}  // namespace keys
