#include <array>

#include "llm/name_table.hpp"
#include "llm/prompt_text.hpp"

namespace llm::scan {
namespace {

struct Entry {
    std::string_view name;
    PromptKey key;
};

// Of messages, items, parts and what they hold. Chat: OpenAI's reference of Chat Completions;
// items: of Responses; blocks: Anthropic's of Messages. reasoning_content is DeepSeek's.
constexpr NameTable kKeys(std::array<Entry, 38>{{
    {"url", PromptKey::url},
    {"role", PromptKey::text},
    {"name", PromptKey::name},
    {"text", PromptKey::text},
    {"type", PromptKey::type},
    {"data", PromptKey::data},
    {"file", PromptKey::file},
    {"audio", PromptKey::sound},
    {"input", PromptKey::call_input},
    {"image", PromptKey::image},
    {"title", PromptKey::text},
    {"video", PromptKey::file},
    {"detail", PromptKey::detail},
    {"source", PromptKey::source},
    {"custom", PromptKey::call},
    {"output", PromptKey::text},
    {"format", PromptKey::format},
    {"content", PromptKey::content},
    {"refusal", PromptKey::text},
    {"summary", PromptKey::text},
    {"context", PromptKey::text},
    {"call_id", PromptKey::call_id},
    {"file_id", PromptKey::reference},
    {"thinking", PromptKey::text},
    {"function", PromptKey::call},
    {"file_url", PromptKey::reference},
    {"arguments", PromptKey::call_input},
    {"image_url", PromptKey::image},
    {"file_data", PromptKey::file_data},
    {"video_url", PromptKey::file},
    {"tool_calls", PromptKey::call},
    {"media_type", PromptKey::media_type},
    {"transcript", PromptKey::text},
    {"tool_use_id", PromptKey::call_id},
    {"input_audio", PromptKey::sound},
    {"tool_call_id", PromptKey::call_id},
    {"function_call", PromptKey::call},
    {"reasoning_content", PromptKey::text},
}});

}  // namespace

PromptKey find_prompt_key(std::string_view name) noexcept {
    const Entry* known = kKeys.find(name);
    return known == nullptr ? PromptKey::other : known->key;
}

}  // namespace llm::scan
