#include "ledger/redis_url.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <memory>
#include <optional>

namespace ledger {

namespace {

using Parsed = llm::Result<io::RedisConfig>;

constexpr std::string_view kTcp = "redis://";
constexpr std::string_view kUnix = "unix:";

template <class Integer>
bool parse_number(std::string_view text, Integer least, Integer most, Integer& number) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    return error == std::errc() && stop == end && number >= least && number <= most;
}

bool parse_database(std::string_view text, io::RedisConfig& config) {
    return parse_number(text, 0, 1'000'000, config.database);
}

std::optional<std::string> percent_decode(std::string_view text) {
    std::string decoded;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded.append(1, text[i]);
            continue;
        }
        const std::string_view digits = text.substr(i + 1, 2);
        unsigned char byte = 0;
        const char* end = digits.data() + digits.size();
        if (digits.size() != 2 || std::from_chars(digits.data(), end, byte, 16).ptr != end) {
            return std::nullopt;
        }
        decoded.append(1, static_cast<char>(byte));
        i += 2;
    }
    return decoded;
}

bool parse_credentials(std::string_view text, io::RedisConfig& config) {
    const size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        return false;
    }
    const auto user = percent_decode(text.substr(0, colon));
    const auto password = percent_decode(text.substr(colon + 1));
    if (!user || !password || password->empty()) {
        return false;
    }
    config.user = *user;
    config.password = *password;
    return true;
}

// Splits host[:port] or [address][:port]; false if that is not its form.
bool parse_host(std::string_view text, std::string& host, uint16_t& port) {
    size_t host_end = text.find(':');
    std::string_view name = text.substr(0, host_end);
    if (text.starts_with('[')) {
        const size_t bracket = text.find(']');
        if (bracket == std::string_view::npos) {
            return false;
        }
        name = text.substr(1, bracket - 1);
        host_end = bracket + 1 < text.size() ? bracket + 1 : std::string_view::npos;
    }
    if (name.empty()) {
        return false;
    }
    host = name;
    if (host_end == std::string_view::npos) {
        return true;
    }
    return text[host_end] == ':' &&
           parse_number<uint16_t>(text.substr(host_end + 1), 1, 65535, port);
}

// The first numeric address of `host`; empty, and why, if it has none.
std::string resolve(const std::string& host, std::string& why) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found); rc != 0) {
        why = gai_strerror(rc);
        return {};
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
    char numeric[NI_MAXHOST];
    if (const int rc = getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof numeric,
                                   nullptr, 0, NI_NUMERICHOST);
        rc != 0) {
        why = gai_strerror(rc);
        return {};
    }
    return numeric;
}

Parsed parse_tcp(std::string_view rest) {
    io::RedisConfig config;
    // The last @: a password may contain one.
    if (const size_t at = rest.rfind('@'); at != std::string_view::npos) {
        if (!parse_credentials(rest.substr(0, at), config)) {
            return Parsed::failure("redis url: before @ stands [user]:password");
        }
        rest.remove_prefix(at + 1);
    }
    if (const size_t slash = rest.find('/'); slash != std::string_view::npos) {
        const std::string_view database = rest.substr(slash + 1);
        if (!database.empty() && !parse_database(database, config)) {
            return Parsed::failure("redis url: after / stands the number of a database");
        }
        rest = rest.substr(0, slash);
    }
    std::string host;
    if (!parse_host(rest, host, config.port)) {
        return Parsed::failure("redis url: no host[:port]");
    }
    std::string why;
    config.address = resolve(host, why);
    if (config.address.empty()) {
        return Parsed::failure("redis url: host not found: " + why);
    }
    return config;
}

Parsed parse_unix(std::string_view rest) {
    constexpr std::string_view kDatabase = "?db=";
    io::RedisConfig config;
    const size_t question = rest.find('?');
    config.socket_path = rest.substr(0, question);
    if (!config.socket_path.starts_with('/') ||
        config.socket_path.size() >= sizeof(sockaddr_un::sun_path)) {
        return Parsed::failure(
            "redis url: after unix: stands an absolute path of at most 107 bytes");
    }
    if (question == std::string_view::npos) {
        return config;
    }
    const std::string_view query = rest.substr(question);
    if (!query.starts_with(kDatabase) || !parse_database(query.substr(kDatabase.size()), config)) {
        return Parsed::failure("redis url: after ? stands db=number");
    }
    return config;
}

}  // namespace

Parsed parse_redis_url(std::string_view url) {
    if (url.starts_with(kTcp)) {
        return parse_tcp(url.substr(kTcp.size()));
    }
    if (url.starts_with(kUnix)) {
        return parse_unix(url.substr(kUnix.size()));
    }
    return Parsed::failure("redis url: it begins with redis:// or unix:");
}

}  // namespace ledger
