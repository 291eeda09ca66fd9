// The command line of `factord`.
//
// Every flag is written --name=value or --name value. All mistakes are reported at once. The help
// texts in flags.cc are the configuration reference.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "server/server.h"

namespace factord {

struct CommandLine {
  bool help = false;     // --help: print HelpText() and exit
  bool version = false;  // --version
  ServerOptions server;  // open_engine is set
  std::string data_dir;
  std::string log_level;
};

// INVALID_ARGUMENT: one line of the message for each mistake. `arguments` without the program's
// name. Sets the global flags; not thread-safe.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);

// Every flag with its default and meaning, by name.
std::string HelpText();

}  // namespace factord
