// Looking ids up and adding them. ./id_map_benchmark
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "model/id_map.h"

namespace factord {
namespace {

std::vector<std::string> Ids(int64_t n) {
  std::vector<std::string> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back("u" + std::to_string(10'000'000 + i));
  return ids;
}

// Argument: ids in the map. Those looked up come in random order.
struct FilledMap {
  explicit FilledMap(int64_t n) : ids(Ids(n)) {
    for (const std::string& id : ids) map.Add(id);
    std::minstd_rand random(1);
    for (size_t& at : order) at = random() % ids.size();
  }
  IdMap map;
  std::vector<std::string> ids;
  std::vector<size_t> order = std::vector<size_t>(1 << 16);
};

void BM_FindAsWriter(benchmark::State& state) {
  const FilledMap filled(state.range(0));
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        filled.map.FindAsWriter(filled.ids[filled.order[i++ % filled.order.size()]]));
  }
}
BENCHMARK(BM_FindAsWriter)->Arg(10'000)->Arg(100'000)->Arg(1'000'000);

// Asked for eight ids ahead, as the writer does.
void BM_FindAsWriterAhead(benchmark::State& state) {
  constexpr size_t kAhead = 8;
  const FilledMap filled(state.range(0));
  IdMap::Probe probes[kAhead];
  size_t i = 0;
  for (auto _ : state) {
    IdMap::Probe& probe = probes[i % kAhead];
    benchmark::DoNotOptimize(filled.map.FindAsWriter(probe));
    probe = filled.map.PrefetchAsWriter(filled.ids[filled.order[i++ % filled.order.size()]]);
  }
}
BENCHMARK(BM_FindAsWriterAhead)->Arg(10'000)->Arg(100'000)->Arg(1'000'000);

void BM_Find(benchmark::State& state) {
  const FilledMap filled(state.range(0));
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(filled.map.Find(filled.ids[filled.order[i++ % filled.order.size()]]));
  }
}
BENCHMARK(BM_Find)->Arg(10'000)->Arg(1'000'000);

// Argument: ids added to an empty map; time is that of one.
void BM_Add(benchmark::State& state) {
  const std::vector<std::string> ids = Ids(state.range(0));
  while (state.KeepRunningBatch(state.range(0))) {
    IdMap map;
    for (const std::string& id : ids) map.Add(id);
  }
}
BENCHMARK(BM_Add)->Arg(10'000)->Arg(1'000'000);

}  // namespace
}  // namespace factord
