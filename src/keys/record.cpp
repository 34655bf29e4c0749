#include "keys/record.hpp"

#include <fnmatch.h>

#include <algorithm>

namespace keys {

bool Limits::allows(const std::string& model) const noexcept {
    return models.empty() ||
           std::any_of(models.begin(), models.end(), [&](const std::string& glob) {
               return fnmatch(glob.c_str(), model.c_str(), 0) == 0;
           });
}

}  // namespace keys
