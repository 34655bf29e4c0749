#include "llm/response_node.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace llm {

namespace {

using Node = ResponseNode;

struct Member {
    Node object;
    std::string_view key;
    Node value;
};

constexpr bool stands_before(const Member& a, const Member& b) noexcept {
    return a.object < b.object;
}

// By object.
constexpr Member kMembers[] = {
    {Node::root, "choices", Node::choices},
    {Node::root, "usage", Node::usage},
    {Node::root, "model", Node::model},
    {Node::root, "error", Node::error},
    {Node::root, "service_tier", Node::tier},
    {Node::root, "created", Node::created},
    {Node::root, "type", Node::event},
    {Node::root, "delta", Node::delta},
    {Node::root, "content", Node::content},
    {Node::root, "content_block", Node::block},
    {Node::root, "message", Node::begun_message},
    {Node::root, "response", Node::response},
    {Node::root, "completion_response", Node::response},  // of a cost query
    {Node::root, "output", Node::items},
    {Node::root, "data", Node::data},
    {Node::root, "text", Node::whole_text},
    {Node::root, "duration", Node::seconds},
    {Node::root, "candidates", Node::candidates},
    {Node::root, "usageMetadata", Node::usage},
    {Node::root, "modelVersion", Node::model},
    {Node::choice, "delta", Node::message},
    {Node::choice, "message", Node::message},
    {Node::choice, "text", Node::output},
    {Node::message, "content", Node::content},
    {Node::message, "reasoning_content", Node::output},
    {Node::message, "reasoning", Node::output},
    {Node::message, "refusal", Node::output},
    {Node::message, "tool_calls", Node::tool_calls},
    {Node::message, "function_call", Node::function},
    {Node::message, "annotations", Node::annotations},
    {Node::tool_call, "function", Node::function},
    {Node::function, "name", Node::output},
    {Node::function, "arguments", Node::output},
    {Node::block, "text", Node::output},
    {Node::block, "thinking", Node::output},
    {Node::block, "refusal", Node::output},
    {Node::block, "name", Node::output},
    {Node::block, "functionCall", Node::function},
    {Node::delta, "text", Node::output},
    {Node::delta, "thinking", Node::output},
    {Node::delta, "partial_json", Node::output},
    {Node::datum, "b64_json", Node::image},
    {Node::datum, "url", Node::image},
    {Node::item, "type", Node::item_type},
    {Node::item, "action", Node::item_action},
    {Node::item, "container_id", Node::container},
    {Node::item, "content", Node::content},
    {Node::item, "summary", Node::content},
    {Node::item, "name", Node::output},
    {Node::item, "arguments", Node::output},
    {Node::billed_item, "type", Node::item_type},
    {Node::billed_item, "action", Node::item_action},
    {Node::billed_item, "container_id", Node::container},
    {Node::item_action, "type", Node::action_type},
    {Node::candidate, "content", Node::candidate_content},
    {Node::candidate, "finishReason", Node::finish_reason},
    {Node::candidate, "groundingMetadata", Node::grounding},
    {Node::candidate_content, "parts", Node::parts},
    {Node::grounding, "webSearchQueries", Node::searches},
    {Node::begun_message, "usage", Node::begun_usage},
    {Node::begun_message, "model", Node::model},
    {Node::response, "usage", Node::usage},
    {Node::response, "model", Node::model},
    {Node::response, "service_tier", Node::tier},
    {Node::response, "created", Node::created},
    {Node::response, "output", Node::billed_items},
    {Node::usage, "prompt_tokens", Node::prompt_tokens},
    {Node::usage, "completion_tokens", Node::completion_tokens},
    {Node::usage, "total_tokens", Node::total_tokens},
    {Node::usage, "prompt_cache_hit_tokens", Node::cache_hit_tokens},
    {Node::usage, "prompt_tokens_details", Node::prompt_details},
    {Node::usage, "completion_tokens_details", Node::completion_details},
    {Node::usage, "input_tokens", Node::input_tokens},
    {Node::usage, "output_tokens", Node::completion_tokens},
    {Node::usage, "input_tokens_details", Node::prompt_details},
    {Node::usage, "input_token_details", Node::prompt_details},
    {Node::usage, "output_tokens_details", Node::completion_details},
    {Node::usage, "seconds", Node::seconds},
    {Node::usage, "cache_read_input_tokens", Node::cache_read_tokens},
    {Node::usage, "cache_creation_input_tokens", Node::cache_creation_tokens},
    {Node::usage, "cache_creation", Node::cache_writes},
    {Node::usage, "server_tool_use", Node::server_tools},
    {Node::usage, "service_tier", Node::tier},
    {Node::usage, "inference_geo", Node::locality},
    {Node::usage, "speed", Node::speed},
    {Node::usage, "citation_tokens", Node::citation_tokens},
    {Node::usage, "num_search_queries", Node::search_requests},
    {Node::usage, "search_context_size", Node::search_context},
    {Node::usage, "reasoning_tokens", Node::reasoning_tokens},
    {Node::usage, "server_side_tool_usage_details", Node::server_tools},
    {Node::usage, "promptTokenCount", Node::prompt_tokens},
    {Node::usage, "toolUsePromptTokenCount", Node::tool_prompt_tokens},
    {Node::usage, "candidatesTokenCount", Node::candidate_tokens},
    {Node::usage, "thoughtsTokenCount", Node::thought_tokens},
    {Node::usage, "cachedContentTokenCount", Node::cached_tokens},
    {Node::usage, "totalTokenCount", Node::total_tokens},
    {Node::usage, "promptTokensDetails", Node::prompt_modalities},
    {Node::usage, "toolUsePromptTokensDetails", Node::prompt_modalities},
    {Node::usage, "cacheTokensDetails", Node::cached_modalities},
    {Node::usage, "candidatesTokensDetails", Node::completion_modalities},
    {Node::usage, "trafficType", Node::tier},
    {Node::usage, "serviceTier", Node::tier},
    {Node::prompt_details, "cached_tokens", Node::cached_tokens},
    {Node::prompt_details, "cache_write_tokens", Node::cache_write_tokens},
    {Node::prompt_details, "cache_creation_tokens", Node::cache_write_tokens},
    {Node::prompt_details, "cache_creation_input_tokens", Node::cache_write_tokens},
    {Node::prompt_details, "cache_write_tokens_details", Node::cache_writes},
    {Node::prompt_details, "cache_creation", Node::cache_writes},
    {Node::prompt_details, "cache_creation_token_details", Node::cache_writes},
    {Node::prompt_details, "cache_type", Node::cache_type},
    {Node::prompt_details, "web_search_requests", Node::search_requests},
    {Node::prompt_details, "audio_tokens", Node::audio_prompt_tokens},
    {Node::prompt_details, "image_tokens", Node::image_prompt_tokens},
    {Node::prompt_details, "video_tokens", Node::video_prompt_tokens},
    {Node::prompt_details, "cached_tokens_details", Node::cached_details},
    {Node::completion_details, "reasoning_tokens", Node::reasoning_tokens},
    {Node::completion_details, "text_tokens", Node::text_completion_tokens},
    {Node::completion_details, "audio_tokens", Node::audio_completion_tokens},
    {Node::completion_details, "image_tokens", Node::image_completion_tokens},
    {Node::completion_details, "video_tokens", Node::video_completion_tokens},
    {Node::cached_details, "audio_tokens", Node::cached_audio_tokens},
    {Node::cached_details, "image_tokens", Node::cached_image_tokens},
    {Node::cache_writes, "ephemeral_5m_input_tokens", Node::cache_write_short_tokens},
    {Node::cache_writes, "ephemeral_1h_input_tokens", Node::cache_write_long_tokens},
    {Node::cache_writes, "ephemeral_12h_input_tokens", Node::cache_write_long_tokens},
    {Node::cache_writes, "ttl_30m_tokens", Node::cache_write_short_tokens},
    {Node::cache_writes, "ttl_12h_tokens", Node::cache_write_long_tokens},
    {Node::server_tools, "web_search_requests", Node::search_requests},
    {Node::server_tools, "web_search_calls", Node::search_requests},
    {Node::annotation, "type", Node::annotation_type},
    {Node::modality_count, "modality", Node::modality},
    {Node::modality_count, "tokenCount", Node::modality_tokens},
};
static_assert(std::is_sorted(std::begin(kMembers), std::end(kMembers), stands_before));

constexpr size_t kObjects = static_cast<size_t>(Node::choices);

// Where the members of each object begin; they end where those of the next one do.
constexpr auto kFirstMember = [] {
    std::array<uint8_t, kObjects + 1> first{};
    for (size_t object = 0; object <= kObjects; ++object) {
        const Member any{static_cast<Node>(object), {}, Node::ignored};
        const auto* place =
            std::lower_bound(std::begin(kMembers), std::end(kMembers), any, stands_before);
        first[object] = static_cast<uint8_t>(place - std::begin(kMembers));
    }
    return first;
}();
static_assert(std::size(kMembers) < 256);

}  // namespace

ResponseNode member_of(ResponseNode object, std::string_view key) noexcept {
    if (!is_map(object)) {
        return Node::ignored;
    }
    const auto place = static_cast<size_t>(object == Node::begun_usage ? Node::usage : object);
    const auto* last = kMembers + kFirstMember[place + 1];
    const auto* member = std::find_if(kMembers + kFirstMember[place], last,
                                      [key](const Member& m) { return m.key == key; });
    return member == last ? Node::ignored : member->value;
}

ResponseNode item_of(ResponseNode array) noexcept {
    switch (array) {
        case Node::choices:
            return Node::choice;
        case Node::tool_calls:
            return Node::tool_call;
        case Node::annotations:
            return Node::annotation;
        case Node::content:
        case Node::parts:
            return Node::block;
        case Node::data:
            return Node::datum;
        case Node::items:
            return Node::item;
        case Node::billed_items:
            return Node::billed_item;
        case Node::candidates:
            return Node::candidate;
        case Node::searches:
            return Node::searches;
        case Node::prompt_modalities:
        case Node::cached_modalities:
        case Node::completion_modalities:
            return Node::modality_count;
        default:
            return Node::ignored;
    }
}

}  // namespace llm
