// Where flags get their values: the command line before the environment, the environment before a
// flag file, that before the default.
//
//   factord --rank=64               --name=value or --name value; a switch also --name alone
//   FACTORD_RANK=64 factord         FACTORD_ and the name in capitals
//   factord --flagfile=/etc/factord.conf
//     # a comment
//     rank=64                       a flag a line, with or without the dashes
//
// A mistake is reported even where a value of higher precedence hides it. A FACTORD_ variable that
// is no flag of ours is no mistake (Kubernetes makes some for a service of that name), only noted.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/flags/commandlineflag.h"

namespace factord {

using FlagsByName = std::map<std::string, absl::CommandLineFlag*>;
using Environment = std::map<std::string, std::string>;

// The process's own.
Environment ProcessEnvironment();

struct FlagSources {
  // Switches of the command line that are no flags: they only say what to print.
  bool help = false;
  bool help_markdown = false;
  bool version = false;
  // Messages that name the flag, and the variable or the file and line it came from.
  std::vector<std::string> mistakes;
  // FACTORD_ variables without a meaning.
  std::vector<std::string> unknown_variables;
};

// Sets `flags`. `arguments` without the program's name. The flag "flagfile" names the file. Not
// thread-safe.
FlagSources SetFlags(const FlagsByName& flags, const std::vector<std::string>& arguments,
                     const Environment& environment);

}  // namespace factord
