#include "ledger/ledger.hpp"

#include <algorithm>

namespace ledger {

int64_t actual_amount(Unit unit, int64_t held, const Actual& actual) noexcept {
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

int64_t actual_amount(const Claim& claim, const Actual& actual) noexcept {
    return actual_amount(claim.unit, claim.amount, actual);
}

}  // namespace ledger
