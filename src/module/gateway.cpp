#include "module/gateway.hpp"

#include <algorithm>

namespace module {

bool Caller::blocked() const noexcept {
    return std::any_of(restrictions.begin(), restrictions.end(),
                       [](const keys::Limits* limits) { return limits->blocked; });
}

bool Caller::may_use(const std::string& requested, const std::string& model) const noexcept {
    return std::all_of(restrictions.begin(), restrictions.end(), [&](const keys::Limits* limits) {
        return limits->allows(requested) || limits->allows(model);
    });
}

const Caller* Gateway::find_caller(const keys::KeyHash& hash) const noexcept {
    const auto it = callers.find(hash);
    return it == callers.end() ? nullptr : &it->second;
}

}  // namespace module
