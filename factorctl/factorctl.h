// factorctl: the command line of factord.
//
//   factorctl [--server HOST:PORT] [--json] COMMAND [FLAGS] [ARGUMENTS]
//
// RunFactorctl is the whole program but for main(): it finds the command, parses its flags, runs it
// and turns its status into the exit code.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace factord {

enum class CtlExit : int {
  kOk = 0,
  kFailed = 1,  // the server, a file or a check said no; the message on standard error says why
  kUsage = 2,   // unknown command or flag, missing or malformed argument
};

// `arguments` without the program's name.
CtlExit RunFactorctl(const std::vector<std::string>& arguments, std::ostream& out,
                     std::ostream& err, bool err_is_terminal);

}  // namespace factord
