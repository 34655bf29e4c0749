#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "llm/identity.hpp"
#include "llm/prices.hpp"
#include "llm/request_id.hpp"
#include "llm/usage.hpp"

namespace spend {

// One of the counters that a cost was charged to. Window in Unix milliseconds.
struct ChargedBudget {
    std::string_view counter;  // printable ASCII
    int64_t start_ms = 0;
    int64_t end_ms = 0;
};

// One request, as it is spooled and stored. Views live as long as the call that is given the row.
// Times are Unix milliseconds, durations milliseconds; -1: did not happen.
struct Row {
    llm::RequestId request_id;
    int64_t started_ms = 0;
    int64_t ended_ms = 0;
    int64_t ttft_ms = -1;  // from the request's start to the first output

    const llm::Identity* identity = nullptr;
    std::string_view customer;                       // the request's "user"
    const std::vector<std::string>* tags = nullptr;  // the key's and the request's

    std::string_view endpoint;         // "chat/completions"
    std::string_view requested_model;  // as the client said it
    std::string_view model;            // logical model after aliases
    std::string_view deployment;       // "<provider>/<model>" that answered last
    std::string_view provider;
    std::string_view dialect;  // the provider's

    int status = 0;  // HTTP status the client got
    // "" or error code: budget_exceeded, upstream_error, client_closed …
    std::string_view error_kind;
    std::string_view decision;  // "admitted", "downgraded", "shadow_budget_exceeded" …
    int attempts = 0;           // deployments tried

    llm::Usage usage;
    llm::UsageSource source = llm::UsageSource::none;
    llm::Cost cost;         // what was charged
    llm::NanoUsd held = 0;  // what was held for it
    std::string_view price_version;

    bool stream = false;
    bool aborted = false;  // the client left before the end, or the provider cut
    bool cache_hit = false;
    int64_t requests = 1;  // more: refused ones, alike, that are added up (refusal_sums.hpp)

    // What the counters can be rebuilt from; neither is written without an epoch.
    uint64_t epoch = 0;  // of the counters, when it was charged; 0: they are not rebuilt from rows
    std::span<const ChargedBudget> budgets;
};

// A client chooses some of the texts: what is longer is cut (at a character), more tags are left
// out.
constexpr size_t kMaxTextBytes = 1024;
constexpr size_t kMaxTags = 64;

// No line is longer, whatever a client sends (a control character takes six bytes when escaped).
constexpr size_t kMaxLineBytes = size_t{1} << 20;

// One line without its newline: a JSON object whose last member is "crc", the CRC-32 (IEEE, 8 hex
// digits) of all bytes before `,"crc"`. Names are those of the llm_spend columns.
void append_json_line(std::string& out, const Row& row);

// True if `line` is whole: it ends in a right checksum.
bool verify_json_line(std::string_view line) noexcept;

}  // namespace spend
