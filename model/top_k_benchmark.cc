// A whole query's scan. The ceiling is memory: bytes_per_second against what the machine reads.
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "model/config.h"
#include "model/top_k.h"
#include "model/update.h"

namespace factord {
namespace {

struct Catalogue {
  ItemMatrix items;
  IdMap ids;
  std::vector<float> user;

  Catalogue(int32_t rank, uint32_t rows) : items(rank) {
    ModelConfig config;
    config.rank = rank;
    for (uint32_t i = 0; i < rows; ++i) {
      const std::string id = std::to_string(i);
      ids.Add(id);
      const ItemRow row = items.Add();
      StartRow(config, 1, id, items.stride(), row.factors, row.state);
    }
    items.Publish(1);
    user.resize(items.stride());
    RowState state;
    StartRow(config, 0, "user", items.stride(), user.data(), &state);
  }
};

// Arguments: rank, items, k.
void BM_TopK(benchmark::State& state) {
  const Catalogue catalogue(static_cast<int32_t>(state.range(0)),
                            static_cast<uint32_t>(state.range(1)));
  const std::vector<uint32_t> rated = {1, 2, 3, 500, 600, 7000};
  for (auto _ : state) {
    benchmark::DoNotOptimize(TopK(catalogue.items.Pin(), catalogue.ids, catalogue.user.data(),
                                  rated, static_cast<size_t>(state.range(2)), {}));
  }
  state.SetBytesProcessed(state.iterations() * state.range(1) * catalogue.items.stride() *
                          sizeof(float));
}
BENCHMARK(BM_TopK)
    ->ArgNames({"rank", "items", "k"})
    ->ArgsProduct({{32, 64}, {10'000, 1'000'000}, {10}})
    ->Args({64, 1'000'000, 1000})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace factord
