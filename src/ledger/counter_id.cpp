#include <openssl/sha.h>

#include <cstring>
#include <utility>

#include "ledger/ledger.hpp"

namespace ledger {

CounterId make_counter_id(std::string name) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(name.data()), name.size(), digest.data());

    CounterId id{std::move(name), {}};
    std::memcpy(id.hash.data(), digest.data(), sizeof(id.hash));
    return id;
}

}  // namespace ledger
