#pragma once

#include <cstdint>
#include <string_view>

namespace llm {

// What a JSON value of a response is to us, told by where it stands, in all dialects together:
// OpenAI's (chat completions, completions, embeddings, responses, audio, images), Anthropic's and
// Gemini's. Objects come first, then arrays, scalars, and counts last.
enum class ResponseNode : uint8_t {
    ignored,
    // Objects.
    root,
    error,
    choice,
    message,
    tool_call,
    function,
    block,        // a piece of content: text, reasoning, a call of a tool
    delta,        // Anthropic's pieces of a block, or, as a string, a piece of text
    datum,        // an image made, or an embedding
    item,         // of the responses API's output: a message, a call of a tool
    billed_item,  // the same in the last event of a stream, which repeats its text
    item_action,  // of a web search: a search, or a page opened
    candidate,    // Gemini's choice
    candidate_content,
    grounding,
    begun_message,  // in Anthropic's message_start: its usage is not the last word
    response,       // in an event of the responses API
    usage,
    begun_usage,
    prompt_details,
    completion_details,
    cached_details,
    cache_writes,
    server_tools,
    annotation,
    modality_count,  // one item of the lists below
    // Arrays.
    choices,
    tool_calls,
    annotations,
    content,  // an array of blocks, or, as a string, text
    data,
    items,
    billed_items,
    candidates,
    parts,
    searches,  // an item each
    prompt_modalities,
    cached_modalities,
    completion_modalities,
    // Scalars.
    output,      // a string that the model wrote
    whole_text,  // the same, unless it repeats what came in pieces
    model,
    event,  // what a document of a stream is
    finish_reason,
    tier,
    locality,
    speed,
    image,
    item_type,
    action_type,
    container,
    annotation_type,
    search_context,
    cache_type,
    modality,
    seconds,
    created,  // Unix time of the answer
    // Counts.
    prompt_tokens,
    input_tokens,  // Anthropic's: beside what is cached
    tool_prompt_tokens,
    completion_tokens,
    candidate_tokens,
    thought_tokens,
    total_tokens,
    cached_tokens,
    cache_hit_tokens,
    cache_read_tokens,  // Anthropic's
    cache_write_tokens,
    cache_creation_tokens,  // Anthropic's
    cache_write_short_tokens,
    cache_write_long_tokens,
    reasoning_tokens,
    audio_prompt_tokens,
    image_prompt_tokens,
    video_prompt_tokens,
    cached_audio_tokens,
    cached_image_tokens,
    text_completion_tokens,
    audio_completion_tokens,
    image_completion_tokens,
    video_completion_tokens,
    citation_tokens,
    search_requests,
    modality_tokens,
    end
};

// What the value of `key` in the object is.
ResponseNode member_of(ResponseNode object, std::string_view key) noexcept;

// What each item of the array is.
ResponseNode item_of(ResponseNode array) noexcept;

constexpr bool is_count(ResponseNode node) noexcept {
    return node >= ResponseNode::prompt_tokens;
}

constexpr bool is_array(ResponseNode node) noexcept {
    return node >= ResponseNode::choices && node < ResponseNode::output;
}

constexpr bool is_map(ResponseNode node) noexcept {
    return node > ResponseNode::ignored && node < ResponseNode::choices;
}

constexpr bool is_usage(ResponseNode node) noexcept {
    return node == ResponseNode::usage || node == ResponseNode::begun_usage;
}

// A string there is text that the model wrote.
constexpr bool is_output(ResponseNode node) noexcept {
    return node == ResponseNode::output || node == ResponseNode::content ||
           node == ResponseNode::delta;
}

}  // namespace llm
