#include "llm/prices.hpp"

#include <openssl/sha.h>

#include <array>

#include "llm/price_reader.hpp"

namespace llm {

namespace {

std::string price_version(std::string_view text) {
    constexpr size_t kBytes = 6;
    constexpr char kHex[] = "0123456789abcdef";
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    std::string version;
    for (size_t i = 0; i < kBytes; ++i) {
        version += kHex[digest[i] >> 4];
        version += kHex[digest[i] & 15];
    }
    return version;
}

}  // namespace

Result<PriceTable> PriceTable::parse(std::string_view json) {
    PriceReader reader;
    std::string why = reader.read(json);
    if (!why.empty()) {
        return Result<PriceTable>::failure(std::move(why));
    }
    PriceTable table;
    table.models_ = reader.take_models();
    table.version_ = price_version(json);
    return table;
}

const ModelPrice* PriceTable::find(std::string_view model) const noexcept {
    const auto it = models_.find(model);
    return it == models_.end() ? nullptr : &it->second;
}

}  // namespace llm
