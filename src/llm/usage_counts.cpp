#include "llm/usage_counts.hpp"

#include <algorithm>

namespace llm {

namespace {

using Node = ResponseNode;

constexpr Node kModalityCounts[] = {
    Node::audio_prompt_tokens,     Node::image_prompt_tokens,     Node::video_prompt_tokens,
    Node::cached_audio_tokens,     Node::cached_image_tokens,     Node::audio_completion_tokens,
    Node::image_completion_tokens, Node::video_completion_tokens,
};

// Where the tokens of a modality in one of the lists are counted; ignored: as text.
Node modality_count(Node list, Modality modality) noexcept {
    const auto pick = [modality](Node audio, Node image, Node video) {
        switch (modality) {
            case Modality::audio:
                return audio;
            case Modality::image:
                return image;
            case Modality::video:
                return video;
            case Modality::text:
                break;
        }
        return Node::ignored;
    };
    switch (list) {
        case Node::prompt_modalities:
            return pick(Node::audio_prompt_tokens, Node::image_prompt_tokens,
                        Node::video_prompt_tokens);
        case Node::cached_modalities:
            return pick(Node::cached_audio_tokens, Node::cached_image_tokens, Node::ignored);
        case Node::completion_modalities:
            return pick(Node::audio_completion_tokens, Node::image_completion_tokens,
                        Node::video_completion_tokens);
        default:
            return Node::ignored;
    }
}

}  // namespace

Modality parse_modality(std::string_view name) noexcept {
    if (name == "AUDIO") {
        return Modality::audio;
    }
    if (name == "IMAGE") {
        return Modality::image;
    }
    return name == "VIDEO" ? Modality::video : Modality::text;
}

void UsageCounts::add_modality(Node list, Modality modality, int64_t tokens) noexcept {
    const Node count = modality_count(list, modality);
    if (count != Node::ignored) {
        set(count, get(count) + tokens);
    }
}

void UsageCounts::forget_modalities() noexcept {
    for (const Node count : kModalityCounts) {
        counts_[index(count)] = kNone;
    }
}

bool UsageCounts::has_prompt() const noexcept {
    return has(Node::prompt_tokens) || has(Node::input_tokens) || has(Node::total_tokens);
}

// Anthropic counts what was cached beside its input_tokens; OpenAI's input_tokens include it, under
// other names. Some embedders tell nothing but a total.
int64_t UsageCounts::prompt_tokens() const noexcept {
    if (has(Node::prompt_tokens)) {
        return get(Node::prompt_tokens) + get(Node::tool_prompt_tokens);
    }
    if (has(Node::input_tokens)) {
        return get(Node::input_tokens) + get(Node::cache_read_tokens) +
               get(Node::cache_creation_tokens);
    }
    return std::max<int64_t>(get(Node::total_tokens) - get(Node::completion_tokens), 0);
}

// Providers that bill reasoning beside the completion show it in the total only.
int64_t UsageCounts::completion_tokens(int64_t prompt) const noexcept {
    const int64_t told = has(Node::completion_tokens)
                             ? get(Node::completion_tokens)
                             : get(Node::candidate_tokens) + get(Node::thought_tokens);
    return std::max(told, get(Node::total_tokens) - prompt);
}

void UsageCounts::set_cache(Usage& usage) const noexcept {
    usage.cached_tokens = std::max(
        {get(Node::cached_tokens), get(Node::cache_hit_tokens), get(Node::cache_read_tokens)});
    usage.cache_write_long_tokens = get(Node::cache_write_long_tokens);
    usage.cache_write_tokens =
        std::max({get(Node::cache_write_tokens), get(Node::cache_creation_tokens),
                  get(Node::cache_write_short_tokens) + usage.cache_write_long_tokens});
    usage.cached_audio_tokens = get(Node::cached_audio_tokens);
    usage.cached_image_tokens = get(Node::cached_image_tokens);
}

Usage UsageCounts::usage(const Usage& other) const noexcept {
    Usage usage = other;
    usage.prompt_tokens = prompt_tokens();
    usage.completion_tokens = completion_tokens(usage.prompt_tokens);
    set_cache(usage);
    usage.reasoning_tokens = std::max(get(Node::reasoning_tokens), get(Node::thought_tokens));
    usage.audio_prompt_tokens = get(Node::audio_prompt_tokens);
    usage.image_prompt_tokens = get(Node::image_prompt_tokens);
    usage.video_prompt_tokens = get(Node::video_prompt_tokens);
    usage.audio_completion_tokens = get(Node::audio_completion_tokens);
    usage.image_completion_tokens = get(Node::image_completion_tokens);
    usage.video_completion_tokens = get(Node::video_completion_tokens);
    usage.citation_tokens = get(Node::citation_tokens);
    usage.searches = std::max(get(Node::search_requests), other.searches);
    // An image API that does not tell text from images has made images only.
    const bool told_apart = has(Node::text_completion_tokens) || has(Node::image_completion_tokens);
    if (other.images > 0 && !told_apart) {
        usage.image_completion_tokens = usage.completion_tokens;
    }
    return usage;
}

}  // namespace llm
