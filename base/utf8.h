// UTF-8, which every text of the API is. Thread-safe.
#pragma once

#include "absl/strings/string_view.h"

namespace factord {

// True for well-formed UTF-8 (no surrogates, nothing overlong, nothing beyond U+10FFFF).
bool IsValidUtf8(absl::string_view text);

}  // namespace factord
