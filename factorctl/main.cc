// The command line of factord: "factorctl help".
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "factorctl/factorctl.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // What gRPC has to say is in the status of the call.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return static_cast<int>(factord::RunFactorctl({argv + 1, argv + argc}, std::cout, std::cerr,
                                                isatty(STDERR_FILENO) == 1));
}
