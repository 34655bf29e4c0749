#include "ledger/ledger.hpp"

#include <algorithm>

namespace ledger {

int64_t actual_amount(Unit unit, int64_t held, const Actual& actual, size_t claim) noexcept {
    if (actual.spared >> claim & 1) {
        return 0;
    }
    switch (unit) {
        case Unit::nano_usd:
            return std::max<int64_t>(actual.nano_usd, 0);
        case Unit::tokens:
            return std::max<int64_t>(actual.tokens, 0);
        case Unit::requests:
            return actual.counts_as_request ? held : 0;
        case Unit::parallel:
            break;
    }
    return 0;
}

}  // namespace ledger
