#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// What a JSON value of a response is to us, told by where it stands. Containers come before
// scalars, and token counts last.
enum class ResponseNode : uint8_t {
    ignored,
    root,
    error,
    choices,
    choice,
    message,
    tool_calls,
    tool_call,
    function,
    usage,
    prompt_details,
    completion_details,
    model,
    output,  // a string that the model wrote
    prompt_tokens,
    completion_tokens,
    total_tokens,
    cached_tokens,
    cache_hit_tokens,
    cache_write_tokens,
    reasoning_tokens,
    audio_prompt_tokens,
    audio_completion_tokens,
    end
};

// What the value of `key` in the object is.
ResponseNode member_of(ResponseNode object, std::string_view key) noexcept;

constexpr bool is_count(ResponseNode node) noexcept {
    return node >= ResponseNode::prompt_tokens;
}

constexpr bool is_array(ResponseNode node) noexcept {
    return node == ResponseNode::choices || node == ResponseNode::tool_calls;
}

constexpr bool is_map(ResponseNode node) noexcept {
    return node > ResponseNode::ignored && node < ResponseNode::model && !is_array(node);
}

}  // namespace llm
