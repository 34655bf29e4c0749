#include <openssl/sha.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "ledger/ledger.hpp"

namespace ledger {

CounterId make_counter_id(std::string name) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(name.data()), name.size(), digest.data());

    CounterId id{std::move(name), {}};
    std::memcpy(id.hash.data(), digest.data(), sizeof(id.hash));
    if (id.name.size() > kMaxCounterName) {
        std::array<char, 2 + 32> tail;  // '~', the hash, a terminator
        std::snprintf(tail.data(), tail.size(), "~%016llx%016llx",
                      static_cast<unsigned long long>(id.hash[0]),
                      static_cast<unsigned long long>(id.hash[1]));
        id.name.resize(kMaxCounterName - (tail.size() - 1));
        id.name.append(tail.data());
    }
    return id;
}

}  // namespace ledger
