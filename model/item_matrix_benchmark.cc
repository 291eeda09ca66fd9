// The writer's cost of views: changing a group of rows and publishing; and a reader's pin.
#include <random>

#include "benchmark/benchmark.h"
#include "model/item_matrix.h"

namespace factord {
namespace {

void AddRows(ItemMatrix* items, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) items->Add();
  items->Publish(1);
}

// Arguments: rows, events in a group. Time is that of an event.
void BM_ChangeAndPublish(benchmark::State& state) {
  constexpr int kRankingRows = 6;  // that an event changes
  ItemMatrix items(64, /*has_ranking=*/true);
  AddRows(&items, state.range(0));
  const int64_t group = state.range(1);
  std::minstd_rand random(1);
  int64_t sequence = 1;
  while (state.KeepRunningBatch(group)) {
    for (int64_t n = 0; n < group; ++n) {
      items.Mutable(random() % items.size()).factors[0] += 1;
      for (int i = 0; i < kRankingRows; ++i) {
        items.MutableRanking(random() % items.size())[0] += 1;
      }
    }
    items.Publish(++sequence);
  }
}
BENCHMARK(BM_ChangeAndPublish)
    ->ArgNames({"rows", "group"})
    ->ArgsProduct({{10'000, 100'000, 1'000'000}, {1, 1000}});

void BM_Pin(benchmark::State& state) {
  ItemMatrix items(64);
  AddRows(&items, 1000);
  for (auto _ : state) {
    benchmark::DoNotOptimize(items.Pin().sequence());
  }
}
BENCHMARK(BM_Pin);

}  // namespace
}  // namespace factord
