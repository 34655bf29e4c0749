#include "ledger/redis_url.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>
#include <optional>

namespace ledger {

namespace {

using Parsed = llm::Result<io::RedisConfig>;

constexpr std::string_view kServers = "redis://";
constexpr std::string_view kSentinels = "redis+sentinel://";
constexpr std::string_view kUnix = "unix:";
constexpr uint16_t kServerPort = 6379;
constexpr uint16_t kSentinelPort = 26379;

Parsed refused(const std::string& why) {
    return Parsed::failure("redis url: " + why);
}

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

bool parse_credentials(std::string_view text, io::RedisCredentials& credentials) {
    const size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        return false;
    }
    const auto user = percent_decode(text.substr(0, colon));
    const auto password = percent_decode(text.substr(colon + 1));
    if (!user || !password || password->empty()) {
        return false;
    }
    credentials = {*user, *password};
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

std::string numeric_host(const addrinfo& found) {
    char numeric[NI_MAXHOST];
    const int rc = getnameinfo(found.ai_addr, found.ai_addrlen, numeric, sizeof numeric, nullptr, 0,
                               NI_NUMERICHOST);
    return rc == 0 ? numeric : std::string();
}

// Adds the addresses of `host`; the return says why there is none.
std::string resolve(const std::string& host, uint16_t port, std::vector<io::RedisAddress>& all) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int rc = getaddrinfo(host.c_str(), nullptr, &hints, &found); rc != 0) {
        return gai_strerror(rc);
    }
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
    for (; found != nullptr; found = found->ai_next) {
        io::RedisAddress address{numeric_host(*found), port};
        if (!address.host.empty() && std::find(all.begin(), all.end(), address) == all.end()) {
            all.push_back(std::move(address));
        }
    }
    return {};
}

// Splits at the first `separator`; without one, the second part is empty.
std::pair<std::string_view, std::string_view> split(std::string_view text, char separator) {
    const size_t at = std::min(text.find(separator), text.size());
    return {text.substr(0, at), text.substr(std::min(at + 1, text.size()))};
}

// host[:port][,host[:port]…]; the return says what is wrong.
std::string parse_hosts(std::string_view text, uint16_t default_port,
                        std::vector<io::RedisAddress>& servers) {
    const auto hosts = 1 + std::count(text.begin(), text.end(), ',');
    for (auto i = 1; i <= hosts; ++i) {
        const auto [one, rest] = split(text, ',');
        const std::string name = hosts == 1 ? "host" : "host " + std::to_string(i);
        std::string host;
        uint16_t port = default_port;
        if (!parse_host(one, host, port)) {
            return name + " is not host[:port]";
        }
        if (const std::string why = resolve(host, port, servers); !why.empty()) {
            return name + " is not found: " + why;
        }
        text = rest;
    }
    return {};
}

// [[user]:password@]hosts; the return says what is wrong.
std::string parse_authority(std::string_view text, uint16_t default_port, io::RedisConfig& config) {
    // The last @: a password may contain one.
    if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
        if (!parse_credentials(text.substr(0, at), config.credentials)) {
            return "before @ stands [user]:password";
        }
        text.remove_prefix(at + 1);
    }
    return parse_hosts(text, default_port, config.servers);
}

// Where the path begins: a password may contain a slash.
size_t end_of_authority(std::string_view text) {
    const size_t at = text.rfind('@');
    return std::min(text.find('/', at == std::string_view::npos ? 0 : at), text.size());
}

Parsed parse_servers(std::string_view rest) {
    io::RedisConfig config;
    const size_t slash = end_of_authority(rest);
    const std::string_view database = rest.substr(std::min(slash + 1, rest.size()));
    if (!database.empty() && !parse_database(database, config)) {
        return refused("after / stands the number of a database");
    }
    if (const std::string why = parse_authority(rest.substr(0, slash), kServerPort, config);
        !why.empty()) {
        return refused(why);
    }
    return config;
}

// As sentinel.conf has it.
bool is_primary_name(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return std::isalnum(c) || c == '.' || c == '-' || c == '_';
    });
}

bool parse_sentinel_login(std::string_view query, io::RedisCredentials& credentials) {
    while (!query.empty()) {
        const auto [parameter, rest] = split(query, '&');
        const auto [name, value] = split(parameter, '=');
        const auto decoded = percent_decode(value);
        if (!decoded || decoded->empty()) {
            return false;
        }
        if (name == "sentinel_password") {
            credentials.password = *decoded;
        } else if (name == "sentinel_username") {
            credentials.user = *decoded;
        } else {
            return false;
        }
        query = rest;
    }
    return !credentials.password.empty();
}

Parsed parse_sentinels(std::string_view rest) {
    io::RedisConfig config;
    if (const size_t question = rest.rfind('?'); question != std::string_view::npos) {
        if (!parse_sentinel_login(rest.substr(question + 1), config.sentinel_credentials)) {
            return refused("after ? stands sentinel_password=password[&sentinel_username=user]");
        }
        rest = rest.substr(0, question);
    }
    const size_t slash = end_of_authority(rest);
    const auto [name, database] = split(rest.substr(std::min(slash + 1, rest.size())), '/');
    if (!is_primary_name(name)) {
        return refused("after the Sentinels stands / and the name of the primary");
    }
    if (!database.empty() && !parse_database(database, config)) {
        return refused("after the name of the primary stands the number of a database");
    }
    config.primary_name = name;
    if (const std::string why = parse_authority(rest.substr(0, slash), kSentinelPort, config);
        !why.empty()) {
        return refused(why);
    }
    return config;
}

Parsed parse_unix(std::string_view rest) {
    constexpr std::string_view kDatabase = "?db=";
    io::RedisConfig config;
    const size_t question = rest.find('?');
    const std::string_view path = rest.substr(0, question);
    if (!path.starts_with('/') || path.size() >= sizeof(sockaddr_un::sun_path)) {
        return refused("after unix: stands an absolute path of at most 107 bytes");
    }
    config.servers.push_back({std::string(path), 0});
    if (question == std::string_view::npos) {
        return config;
    }
    const std::string_view query = rest.substr(question);
    if (!query.starts_with(kDatabase) || !parse_database(query.substr(kDatabase.size()), config)) {
        return refused("after ? stands db=number");
    }
    return config;
}

}  // namespace

Parsed parse_redis_url(std::string_view url) {
    if (url.starts_with(kServers)) {
        return parse_servers(url.substr(kServers.size()));
    }
    if (url.starts_with(kSentinels)) {
        return parse_sentinels(url.substr(kSentinels.size()));
    }
    if (url.starts_with(kUnix)) {
        return parse_unix(url.substr(kUnix.size()));
    }
    return refused("it begins with redis://, redis+sentinel:// or unix:");
}

}  // namespace ledger
