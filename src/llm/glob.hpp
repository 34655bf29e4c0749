#pragma once

#include <fnmatch.h>

#include <string>

namespace llm {

// Names of models as directives and records select them: "*", "?" and "[…]" stand for what they do
// in a shell, and "*" for any characters.
inline bool glob_matches(const std::string& glob, const std::string& name) noexcept {
    return fnmatch(glob.c_str(), name.c_str(), 0) == 0;
}

}  // namespace llm
