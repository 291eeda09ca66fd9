// Completion of command lines in the shell. The scripts that `factorctl completion SHELL` prints
// ask factorctl itself, each time: `factorctl __complete WORD...`. So they know the commands and
// flags of the factorctl that is there, and only those.
//
// Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "factorctl/flag_set.h"

namespace factord {

inline constexpr char kCompleteCommand[] = "__complete";
// Instead of a candidate: the names of files are to be offered.
inline constexpr char kCompleteFiles[] = ":files";

struct CompletableCommand {
  std::string name;
  std::string arguments;  // as in Command::Info
  std::string summary;
  std::vector<FlagSet::Info> flags;
};

// The candidates for the last of `words`, which may be empty: each a line, the word itself, then,
// perhaps, a tab and what it means. `words` are what stands after "factorctl"; "--flag=value" may
// be one word or, as bash has it, three.
std::vector<std::string> Complete(const std::vector<CompletableCommand>& commands,
                                  const std::vector<FlagSet::Info>& leading_flags,
                                  const std::vector<std::string>& words);

}  // namespace factord
