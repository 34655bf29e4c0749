#pragma once

#include "llm/tokenizer/vocabulary.hpp"
#include "llm/tokenizer/model_tokens.hpp"

namespace module {

// The tables of an encoding, from the directory that is named as the module's file without its
// suffix and lies beside it: …/ngx_http_llm_module/o200k_base.image. Mapped by the master when a
// configuration first needs it, shared by all workers and by every later configuration. `nginx -t`
// reads all of it, to find damage. Throws ConfError if it cannot be used.
const llm::tokenizer::Vocabulary& map_vocabulary(llm::tokenizer::EncodingName encoding);

// nullptr: no configuration has needed it yet.
const llm::tokenizer::Vocabulary* mapped_vocabulary(llm::tokenizer::EncodingName encoding) noexcept;

}  // namespace module
