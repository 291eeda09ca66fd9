// The configuration of `factord`: its flags, what they mean together, and the reference of them.
//
// Where values come from: server/flag_sources.h. All mistakes are reported at once. The help texts
// in flags.cc are the reference; docs/configuration.md is made from them (factord --help=markdown).
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "server/flag_sources.h"
#include "server/log.h"
#include "server/server.h"

namespace factord {

struct CommandLine {
  // Not empty: print it and exit (--help, --help=markdown, --version).
  std::string text;
  ServerOptions server;  // open_engine is set
  std::string data_dir;
  log::Level log_level = log::Level::kInfo;
  log::Format log_format = log::Format::kText;
  // FACTORD_ variables of the environment that are no flags.
  std::vector<std::string> unknown_variables;
};

// INVALID_ARGUMENT: one line of the message for each mistake. `arguments` without the program's
// name. Sets the global flags; not thread-safe.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments,
                                             const Environment& environment);

// Every flag with its default and meaning, by section.
std::string HelpText();
// The same as a page of documentation.
std::string HelpMarkdown();

}  // namespace factord
