#include "benchmarks/row.h"

namespace factord {

const std::vector<NamedRow>& AllRows() {
  static const auto* const rows = new std::vector<NamedRow>{
      {"kernel", "the update of both rows, against its plainest loop", BenchKernel},
      {"ingest", "the engine in groups of 1,000, against applying alone", BenchIngest},
      {"stream", "StreamRatings, 100 events a message, against an echo", BenchStream},
      {"unary", "RecordRatings, an event each, against an echo", BenchUnary},
      {"recommend", "RecommendItems, 10 of 10,677 items, against an echo", BenchRecommend},
      {"mixed",
       "RecommendItems beside writes and beside snapshots, against idle; writes beside snapshots",
       BenchMixed},
      {"overload",
       "RecommendItems, and batches of ratings, at twice what a core can answer, against at "
       "capacity",
       BenchOverload},
      {"topk-1m",
       "exact top-10 of a million trained items, and that for 64 users, against scans, faiss and "
       "hnswlib",
       BenchTopK},
      {"topk-1m-uniform", "the same of random rows, all about as long", BenchTopKUniform},
      {"restart", "opening two million rows, and replaying the log, with cold files", BenchRestart},
      {"memory", "five million users with a rating each, against what must be kept", BenchMemory},
      {"growth", "an event and a search, with ever more users and items", BenchGrowth},
  };
  return *rows;
}

}  // namespace factord
