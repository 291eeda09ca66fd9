#include "benchmarks/row.h"

namespace factord {

const std::vector<NamedRow>& AllRows() {
  static const auto* const rows = new std::vector<NamedRow>{
      {"kernel", "the update of both rows, against its plainest loop", BenchKernel},
      {"ingest", "the engine in groups of 1,000, against applying alone", BenchIngest},
      {"topk-1m", "exact top-10 of a million trained items, against a scan, faiss and hnswlib",
       BenchTopK},
      {"topk-1m-uniform", "the same of random rows, all about as long", BenchTopKUniform},
  };
  return *rows;
}

}  // namespace factord
