// One event's update in cache, and the products in it. ./update_benchmark
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "model/kernels.h"
#include "model/row.h"
#include "model/update.h"

namespace factord {
namespace {

// 64 rows a side: they stay in the first-level cache up to rank 64.
constexpr size_t kRows = 64;

std::vector<float> StartedRows(const ModelConfig& config, int side) {
  const size_t stride = RowStride(config.rank);
  std::vector<float> rows(kRows * stride);
  for (size_t i = 0; i < kRows; ++i) {
    StartRow(config, side, std::to_string(i), stride, rows.data() + i * stride);
  }
  return rows;
}

void BM_Update(benchmark::State& state, Variant variant, Solver solver) {
  ModelConfig config;
  config.rank = static_cast<int32_t>(state.range(0));
  config.variant = variant;
  config.solver = solver;
  const size_t stride = RowStride(config.rank);
  std::vector<float> users = StartedRows(config, 0), items = StartedRows(config, 1);
  int64_t sequence = 0;
  for (auto _ : state) {
    ++sequence;
    const size_t user = sequence % kRows, item = sequence * 7 % kRows;
    const float rating = static_cast<float>(sequence * 5 % 11) * 0.5f;
    benchmark::DoNotOptimize(
        UpdatePair(config, rating, sequence, stride, &users[user * stride], &items[item * stride]));
  }
  state.SetLabel(ActiveKernels().name);
}
BENCHMARK_CAPTURE(BM_Update, pa1_approximate, Variant::kPaI, Solver::kApproximate)
    ->Arg(32)
    ->Arg(64);
BENCHMARK_CAPTURE(BM_Update, pa1_exact, Variant::kPaI, Solver::kExact)->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Update, pa2_exact, Variant::kPaII, Solver::kExact)->Arg(32)->Arg(64);
BENCHMARK_CAPTURE(BM_Update, pa2_bisection, Variant::kPaII, Solver::kBisection)->Arg(32)->Arg(64);

void BM_Dot(benchmark::State& state, const char* name) {
  const absl::StatusOr<const Kernels*> kernels = KernelsByName(name);
  if (!kernels.ok()) {
    state.SkipWithError("not on this CPU");
    return;
  }
  ModelConfig config;
  config.rank = static_cast<int32_t>(state.range(0));
  const size_t stride = RowStride(config.rank);
  const std::vector<float> users = StartedRows(config, 0), items = StartedRows(config, 1);
  size_t i = 0;
  for (auto _ : state) {
    ++i;
    benchmark::DoNotOptimize(
        (*kernels)->dot(&users[i % kRows * stride], &items[i * 7 % kRows * stride], stride));
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
    StartRow(config, 0, "a user's id", row.size(), row.data());
    benchmark::DoNotOptimize(row.data());
  }
}
BENCHMARK(BM_StartRow)->Arg(32)->Arg(64);

}  // namespace
}  // namespace factord
