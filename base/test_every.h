// For test programs that try a sample of very many cases, and with --every=N each Nth of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace factord {

// The program's main: *every is N, and stays as it is without the flag.
template <typename Integer>
int RunTestsOfEvery(int argc, char** argv, Integer* every) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--every=") && absl::SimpleAtoi(argument, every) &&
        *every > 0) {
      continue;
    }
    std::fprintf(stderr, "unknown argument: %s\n", argv[i]);
    return 2;
  }
  return RUN_ALL_TESTS();
}

}  // namespace factord
