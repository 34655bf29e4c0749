#include "llm/response_node.hpp"

#include <algorithm>
#include <iterator>

namespace llm {

namespace {

using Node = ResponseNode;

struct Member {
    Node object;
    std::string_view key;
    Node value;
};

constexpr Member kMembers[] = {
    {Node::root, "choices", Node::choices},
    {Node::root, "usage", Node::usage},
    {Node::root, "model", Node::model},
    {Node::root, "error", Node::error},
    {Node::choice, "delta", Node::message},
    {Node::choice, "message", Node::message},
    {Node::choice, "text", Node::output},
    {Node::message, "content", Node::output},
    {Node::message, "reasoning_content", Node::output},
    {Node::message, "reasoning", Node::output},
    {Node::message, "refusal", Node::output},
    {Node::message, "tool_calls", Node::tool_calls},
    {Node::message, "function_call", Node::function},
    {Node::tool_call, "function", Node::function},
    {Node::function, "name", Node::output},
    {Node::function, "arguments", Node::output},
    {Node::usage, "prompt_tokens", Node::prompt_tokens},
    {Node::usage, "completion_tokens", Node::completion_tokens},
    {Node::usage, "total_tokens", Node::total_tokens},
    {Node::usage, "prompt_cache_hit_tokens", Node::cache_hit_tokens},
    {Node::usage, "prompt_tokens_details", Node::prompt_details},
    {Node::usage, "completion_tokens_details", Node::completion_details},
    {Node::prompt_details, "cached_tokens", Node::cached_tokens},
    {Node::prompt_details, "cache_write_tokens", Node::cache_write_tokens},
    {Node::prompt_details, "audio_tokens", Node::audio_prompt_tokens},
    {Node::completion_details, "reasoning_tokens", Node::reasoning_tokens},
    {Node::completion_details, "audio_tokens", Node::audio_completion_tokens},
};

}  // namespace

ResponseNode member_of(ResponseNode object, std::string_view key) noexcept {
    if (object == Node::ignored) {
        return Node::ignored;
    }
    const auto* member =
        std::find_if(std::begin(kMembers), std::end(kMembers),
                     [&](const Member& m) { return m.object == object && m.key == key; });
    return member == std::end(kMembers) ? Node::ignored : member->value;
}

}  // namespace llm
