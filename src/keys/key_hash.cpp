#include "keys/key_hash.hpp"

#include <openssl/evp.h>

#include <cstdlib>
#include <cstring>

namespace keys {

namespace {

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

// A one-shot digest would look the algorithm up and allocate, each time.
class Sha256 {
  public:
    Sha256() noexcept : context_(EVP_MD_CTX_new()) {
        if (context_ == nullptr || EVP_DigestInit_ex2(context_, EVP_sha256(), nullptr) != 1) {
            std::abort();  // OpenSSL without SHA-256: nobody could be told from anybody
        }
    }
    ~Sha256() { EVP_MD_CTX_free(context_); }
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void digest(std::string_view text, KeyHash& hash) noexcept {
        EVP_DigestInit_ex2(context_, nullptr, nullptr);
        EVP_DigestUpdate(context_, text.data(), text.size());
        EVP_DigestFinal_ex(context_, hash.data(), nullptr);
    }

  private:
    EVP_MD_CTX* context_;
};

KeyHash hash_key(std::string_view secret) noexcept {
    static thread_local Sha256 sha256;
    KeyHash hash;
    sha256.digest(secret, hash);
    return hash;
}

std::string to_hex(const KeyHash& hash) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    out.reserve(hash.size() * 2);
    for (const uint8_t byte : hash) {
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
    }
    return out;
}

std::optional<KeyHash> parse_key_hash(std::string_view hex) noexcept {
    KeyHash hash;
    if (hex.size() != hash.size() * 2) {
        return std::nullopt;
    }
    for (size_t i = 0; i < hash.size(); ++i) {
        const int high = hex_digit(hex[2 * i]);
        const int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return std::nullopt;
        }
        hash[i] = static_cast<uint8_t>(high << 4 | low);
    }
    return hash;
}

size_t KeyHashHasher::operator()(const KeyHash& hash) const noexcept {
    size_t value;
    std::memcpy(&value, hash.data(), sizeof(value));
    return value;
}

}  // namespace keys
