// factord-misses USERS ITEMS EVENTS: learns events, once every user and item is there and the
// caches are full. For tools/count_misses.sh, which runs it under callgrind with
// --instr-atstart=no.
#include <valgrind/callgrind.h>

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
  factord::GrownModel model(factord::Scaled(factord::MovieLens10M(), number(1), number(2)),
                            /*seed=*/1);
  CALLGRIND_START_INSTRUMENTATION;
  model.Learn(2 * uint64_t{number(3)});
  CALLGRIND_ZERO_STATS;
  model.Learn(number(3));
  CALLGRIND_STOP_INSTRUMENTATION;
  return 0;
}
