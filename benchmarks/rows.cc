#include "benchmarks/row.h"

namespace factord {

const std::vector<NamedRow>& AllRows() {
  static const auto* const rows = new std::vector<NamedRow>{
      {"kernel", "the update of both rows, against its plainest loop", BenchKernel},
      {"ingest", "the engine in groups of 1,000, against applying alone", BenchIngest},
  };
  return *rows;
}

}  // namespace factord
