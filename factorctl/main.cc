// The command line of factord: "factorctl help".
#include <unistd.h>

#include <iostream>

#include "factorctl/factorctl.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  return static_cast<int>(factord::RunFactorctl({argv + 1, argv + argc}, std::cout, std::cerr,
                                                isatty(STDERR_FILENO) == 1));
}
