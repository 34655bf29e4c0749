#include <arpa/inet.h>
#include <netdb.h>

#include <charconv>
#include <map>
#include <memory>

#include "io/postgres_client.hpp"

namespace io {

namespace {

using Settings = std::map<std::string, std::string>;

// libpq's own error text is not passed on: it quotes what it could not parse, which may be a piece
// of a password.
bool parse(const std::string& conninfo, Settings& settings) {
    char* message = nullptr;
    const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
        PQconninfoParse(conninfo.c_str(), &message), PQconninfoFree);
    PQfreemem(message);
    if (!options) {
        return false;
    }
    for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
        if (option->val != nullptr) {
            settings[option->keyword] = option->val;
        }
    }
    return true;
}

std::vector<std::string> split(const std::string& list) {
    std::vector<std::string> items(1);
    for (const char c : list) {
        if (c == ',') {
            items.emplace_back();
        } else {
            items.back().push_back(c);
        }
    }
    return items;
}

bool valid_port(const std::string& port) {
    int number = 0;
    const char* end = port.data() + port.size();
    const auto parsed = std::from_chars(port.data(), end, number);
    return port.empty() ||
           (parsed.ec == std::errc() && parsed.ptr == end && number >= 1 && number <= 65535);
}

// Every address of a host; one empty one for a socket directory. Not empty unless `error` is set.
std::vector<std::string> resolve(const std::string& host, std::string& error) {
    if (host.empty() || host.front() == '/' || host.front() == '@') {
        return {""};
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int rc = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); rc != 0) {
        error = std::string("cannot resolve the host: ") + ::gai_strerror(rc);
        return {};
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
    std::vector<std::string> addresses;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        char text[NI_MAXHOST];
        if (::getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), nullptr, 0,
                          NI_NUMERICHOST) == 0) {
            addresses.emplace_back(text);
        }
    }
    if (addresses.empty()) {
        error = "cannot resolve the host: no address";
    }
    return addresses;
}

void append_item(std::string& list, const std::string& item, bool first) {
    list.append(first ? "" : ",").append(item);
}

// libpq takes lists: a host with several addresses becomes several hosts, tried in order.
bool resolve_hosts(Settings& settings, std::string& error) {
    const std::vector<std::string> ports = split(settings["port"]);
    for (const std::string& port : ports) {
        if (!valid_port(port)) {
            error = "invalid port";
            return false;
        }
    }
    if (!settings["hostaddr"].empty() || settings["host"].empty()) {
        return true;
    }
    const std::vector<std::string> hosts = split(settings["host"]);
    if (ports.size() != 1 && ports.size() != hosts.size()) {
        error = "as many ports as hosts are needed, or one";
        return false;
    }
    std::string host_list, address_list, port_list;
    for (size_t i = 0, count = 0; i < hosts.size(); ++i) {
        const std::vector<std::string> addresses = resolve(hosts[i], error);
        if (addresses.empty()) {
            return false;
        }
        for (const std::string& address : addresses) {
            append_item(host_list, hosts[i], count == 0);
            append_item(address_list, address, count == 0);
            append_item(port_list, ports.size() == 1 ? ports[0] : ports[i], count == 0);
            ++count;
        }
    }
    settings["host"] = host_list;
    settings["hostaddr"] = address_list;
    settings["port"] = port_list;
    return true;
}

std::string join(const Settings& settings) {
    std::string text;
    for (const auto& [keyword, value] : settings) {
        if (value.empty()) {
            continue;
        }
        text.append(text.empty() ? "" : " ").append(keyword).append("='");
        for (const char c : value) {
            if (c == '\'' || c == '\\') {
                text.push_back('\\');
            }
            text.push_back(c);
        }
        text.push_back('\'');
    }
    return text;
}

}  // namespace

bool prepare_conninfo(const std::string& conninfo, std::string& out, std::string& error) {
    Settings settings;
    if (!parse(conninfo, settings)) {
        error = "malformed connection string, or one with an unknown keyword";
        return false;
    }
    if (!resolve_hosts(settings, error)) {
        return false;
    }
    settings["gssencmode"] = "disable";  // would ask a Kerberos server, and wait for it
    settings["client_encoding"] = "UTF8";
    settings["fallback_application_name"] = "nginx-llm";
    out = join(settings);
    return true;
}

}  // namespace io
