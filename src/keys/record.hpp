#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/identity.hpp"
#include "llm/prices.hpp"

namespace keys {

// What a key, team, user or organization record may carry of its own.
struct Limits {
    std::optional<llm::NanoUsd> max_budget;
    std::optional<llm::NanoUsd> soft_budget;  // alerts only
    std::string budget_duration;  // "30d", "1mo"; empty: the budget never resets
    std::optional<int64_t> rpm_limit;
    std::optional<int64_t> tpm_limit;
    std::optional<int64_t> max_parallel_requests;
    std::vector<std::string> models;  // names or globs; empty: every model
    bool blocked = false;

    bool allows(const std::string& model) const noexcept;
};

struct Group {
    std::string id;
    Limits limits;
};

struct VirtualKey {
    llm::Identity identity;
    Limits limits;
    int64_t expires_ms = 0;  // Unix ms; 0: never

    bool expired(int64_t now_ms) const noexcept { return expires_ms != 0 && now_ms >= expires_ms; }
};

}  // namespace keys
