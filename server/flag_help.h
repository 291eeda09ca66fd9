// The reference of flags, as text for a terminal and as a page of docs/.
#pragma once

#include <string>
#include <vector>

#include "server/flag_sources.h"

namespace factord {

struct FlagSection {
  const char* title;
  const char* introduction;  // may be empty
  std::vector<std::string> flags;
};

// REQUIRES: every name in `sections` is one of `flags`.
std::string PlainHelp(const std::vector<FlagSection>& sections, const FlagsByName& flags);
std::string MarkdownHelp(const std::vector<FlagSection>& sections, const FlagsByName& flags);

}  // namespace factord
