// factord-misses USERS ITEMS EVENTS: learns events, once every user and item is there. For
// tools/count_misses.sh, which runs it under callgrind.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "benchmarks/growth.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: factord-misses USERS ITEMS EVENTS\n", stderr);
    return 2;
  }
  const auto number = [argv](int i) {
    return static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10));
  };
  const factord::RatingShape shape = factord::Scaled(factord::MovieLens10M(), number(1), number(2));
  factord::LearnNanos(shape, /*seed=*/1, number(3));
  return 0;
}
