// One event's update in cache, and the products in it. ./update_benchmark
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "model/item_matrix.h"
#include "model/kernels.h"
#include "model/next_item.h"
#include "model/row.h"
#include "model/update.h"

namespace factord {
namespace {

// 64 rows a side: they stay in the first-level cache up to rank 64.
constexpr size_t kRows = 64;

// The rows of one side.
struct StartedRows {
  StartedRows(const ModelConfig& config, int side)
      : stride(RowStride(static_cast<size_t>(config.rank))),
        factors(kRows * stride),
        states(kRows) {
    for (size_t i = 0; i < kRows; ++i) {
      StartRow(config, side, std::to_string(i), stride, &factors[i * stride], &states[i]);
    }
  }
  size_t stride;
  std::vector<float> factors;
  std::vector<RowState> states;
};

void BM_Learn(benchmark::State& state, Variant variant, Solver solver) {
  ModelConfig config;
  config.rank = static_cast<int32_t>(state.range(0));
  config.variant = variant;
  config.solver = solver;
  StartedRows users(config, 0), items(config, 1);
  ModelGlobals globals;
  int64_t sequence = 0;
  for (auto _ : state) {
    ++sequence;
    const auto number = static_cast<size_t>(sequence);
    const size_t user = number % kRows, item = number * 7 % kRows;
    const float rating = static_cast<float>(sequence * 5 % 11) * 0.5f;
    benchmark::DoNotOptimize(
        Learn(config, rating, sequence, &globals,
              {&users.factors[user * users.stride], &items.factors[item * items.stride],
               &users.states[user], &items.states[item], users.stride}));
  }
  state.SetLabel(ActiveKernels().name);
}
BENCHMARK_CAPTURE(BM_Learn, adaptive, Variant::kAdaptive, Solver::kApproximate)->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Learn, pa1_approximate, Variant::kPaI, Solver::kApproximate)->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Learn, pa1_exact, Variant::kPaI, Solver::kExact)->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Learn, pa2_exact, Variant::kPaII, Solver::kExact)->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Learn, pa2_bisection, Variant::kPaII, Solver::kBisection)->Arg(32)->Arg(64);

// What the ranking adds to an event.
void BM_LearnNextItem(benchmark::State& state) {
  ModelConfig config;
  config.rank = static_cast<int32_t>(state.range(0));
  ItemMatrix items(static_cast<size_t>(config.rank), /*has_ranking=*/true);
  RecentItems recent;
  for (uint32_t i = 0; i < kRows; ++i) {
    const ItemRow row = items.Add();
    StartRankingRow(config, std::to_string(i), items.stride(), items.MutableRanking(i));
    row.state->count = 20;
    recent.Add(i);
  }
  uint64_t event = 0;
  for (auto _ : state) {
    ++event;
    const auto place = [&event](uint64_t n) {
      return static_cast<uint32_t>((event * 7 + n) % kRows);
    };
    const uint32_t context[] = {place(1), place(12), place(23), place(34)};
    LearnNextItem(
        {.item = place(0), .context = context, .stream = event * 8}, recent, [](uint32_t) {},
        &items);
    benchmark::DoNotOptimize(items);
  }
  state.SetLabel(ActiveKernels().name);
}
BENCHMARK(BM_LearnNextItem)->Arg(32)->Arg(64);

void BM_Dot(benchmark::State& state, const char* name) {
  const absl::StatusOr<const Kernels*> kernels = KernelsByName(name);
  if (!kernels.ok()) {
    state.SkipWithError("not on this CPU");
    return;
  }
  ModelConfig config;
  config.rank = static_cast<int32_t>(state.range(0));
  const StartedRows users(config, 0), items(config, 1);
  const size_t stride = users.stride;
  size_t i = 0;
  for (auto _ : state) {
    ++i;
    benchmark::DoNotOptimize((*kernels)->dot(&users.factors[i % kRows * stride],
                                             &items.factors[i * 7 % kRows * stride], stride));
  }
}
BENCHMARK_CAPTURE(BM_Dot, scalar, "scalar")->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Dot, sse2, "sse2")->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Dot, avx2, "avx2")->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Dot, avx512, "avx512")->Arg(32)->Arg(64);

void BM_StartRow(benchmark::State& state) {
  ModelConfig config;
  config.rank = static_cast<int32_t>(state.range(0));
  std::vector<float> row(RowStride(config.rank));
  for (auto _ : state) {
    RowState row_state;
    StartRow(config, 0, "a user's id", row.size(), row.data(), &row_state);
    benchmark::DoNotOptimize(row.data());
  }
}
BENCHMARK(BM_StartRow)->Arg(32)->Arg(64);

}  // namespace
}  // namespace factord
