// What the store costs: appending by size of the group, reading the log back, encoding and decoding
// rows, writing a snapshot. Run on the file system the data will lie on (TMPDIR chooses it). Held
// against: for appends RocksDB's own synced write, for reading what the model applies a second.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "benchmark/benchmark.h"
#include "storage/records.h"
#include "storage/store.h"
#include "storage/store_test_util.h"

namespace factord {
namespace {

// A folder with an open store, empty at first. A failure ends the program: there is nothing to
// measure.
class OpenStore {
 public:
  explicit OpenStore(Durability durability) {
    Store::Options options = TestOptions(folder_ / "data");
    options.durability = durability;
    options.snapshot_bytes_per_second = 0;
    store_ = OpenOrCreate(options);
    if (store_ == nullptr) std::abort();
  }
  Store* operator->() const { return store_.get(); }
  Store* get() const { return store_.get(); }

 private:
  const TempFolder folder_;
  std::unique_ptr<Store> store_;
};

void Check(const absl::Status& status) {
  if (!status.ok()) {
    std::cerr << status << std::endl;
    std::abort();
  }
}

// Arguments: events a group; 1 for synced.
void BM_Append(benchmark::State& state) {
  const int64_t group = state.range(0);
  const OpenStore store(state.range(1) ? Durability::kSync : Durability::kAsync);
  TestEvents events(1, group);
  for (auto _ : state) {
    Check(store->log()->Append(events));
    events.Shift(group);
  }
  state.SetItemsProcessed(state.iterations() * group);
}
BENCHMARK(BM_Append)
    ->ArgNames({"group", "sync"})
    ->ArgsProduct({{1, 10, 100, 1000, 10000}, {0, 1}})
    ->UseRealTime();

void BM_ReadLog(benchmark::State& state) {
  constexpr int64_t kEvents = 200'000;
  const OpenStore store(Durability::kAsync);
  for (int64_t i = 0; i < kEvents; i += 1000) Check(AppendTestEvents(store.get(), 1000));
  for (auto _ : state) {
    const auto cursor = store->log()->ReadFrom(1);
    Check(cursor.status());
    int64_t read = 0;
    while (true) {
      const auto events = (*cursor)->Next();
      Check(events.status());
      if (events->empty()) break;
      read += static_cast<int64_t>(events->size());
    }
    if (read != kEvents) std::abort();
  }
  state.SetItemsProcessed(state.iterations() * kEvents);
}
BENCHMARK(BM_ReadLog)->UseRealTime();

void BM_EncodeLogRecord(benchmark::State& state) {
  const TestEvents events(1, 1000);
  std::string payload;
  for (auto _ : state) {
    payload.clear();
    EncodeLogRecord(events, &payload);
    benchmark::DoNotOptimize(payload.data());
  }
  state.SetItemsProcessed(state.iterations() * 1000);
  state.counters["bytes_an_event"] = static_cast<double>(payload.size()) / 1000;
}
BENCHMARK(BM_EncodeLogRecord);

void BM_DecodeLogRecord(benchmark::State& state) {
  std::string payload;
  EncodeLogRecord(TestEvents(1, 1000), &payload);
  std::vector<Event> events;
  for (auto _ : state) {
    events.clear();
    Check(DecodeLogRecord(payload, 1, &events));
    benchmark::DoNotOptimize(events.data());
  }
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(BM_DecodeLogRecord);

// A row of `rank` factors and a history of 100 ratings.
struct BenchmarkRow {
  explicit BenchmarkRow(int64_t rank)
      : factors(static_cast<size_t>(rank), 0.5f), history_items(100, 3), history_ratings(100, 4) {
    ref.id = "user-123456";
    ref.count = 100;
    ref.factors = factors;
    ref.history_items = history_items;
    ref.history_ratings = history_ratings;
  }
  std::vector<float> factors;
  std::vector<uint32_t> history_items;
  std::vector<float> history_ratings;
  RowRef ref;
};

void BM_EncodeAndSealRow(benchmark::State& state) {
  const BenchmarkRow row(state.range(0));
  std::string payload;
  for (auto _ : state) {
    payload.clear();
    EncodeRow(row.ref, &payload);
    Seal("U1234", &payload);
    benchmark::DoNotOptimize(payload.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(payload.size()));
}
BENCHMARK(BM_EncodeAndSealRow)->ArgName("rank")->Arg(32)->Arg(64)->Arg(256);

void BM_UnsealAndDecodeRow(benchmark::State& state) {
  std::string payload;
  EncodeRow(BenchmarkRow(state.range(0)).ref, &payload);
  Seal("U1234", &payload);
  Row row;
  for (auto _ : state) {
    const auto unsealed = Unseal("U1234", payload);
    Check(unsealed.status());
    Check(DecodeRow(*unsealed, 1, &row));
    benchmark::DoNotOptimize(row.factors.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(payload.size()));
}
BENCHMARK(BM_UnsealAndDecodeRow)->ArgName("rank")->Arg(32)->Arg(64)->Arg(256);

// Time a row of a snapshot of 100,000 rows of rank 64 with 100 ratings, without a limit of its
// rate.
void BM_WriteSnapshot(benchmark::State& state) {
  constexpr uint32_t kRows = 100'000;
  const OpenStore store(Durability::kSync);
  Check(AppendTestEvents(store.get(), 1));
  const BenchmarkRow row(64);
  std::string payload;
  for (auto _ : state) {
    auto writer = store->NewSnapshot();
    Check(writer.status());
    for (uint32_t i = 0; i < kRows; ++i) {
      payload.clear();
      EncodeRow(row.ref, &payload);
      Check((*writer)->AddRow(Side::kUser, i, payload));
    }
    SnapshotMeta meta;
    meta.sequence = 1;
    meta.users = kRows;
    Check((*writer)->Commit(meta));
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK(BM_WriteSnapshot)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(5);

void BM_ReadRows(benchmark::State& state) {
  constexpr uint32_t kRows = 100'000;
  const OpenStore store(Durability::kSync);
  Check(AppendTestEvents(store.get(), 1));
  const BenchmarkRow row(64);
  {
    auto writer = store->NewSnapshot();
    Check(writer.status());
    std::string payload;
    EncodeRow(row.ref, &payload);
    for (uint32_t i = 0; i < kRows; ++i) Check((*writer)->AddRow(Side::kUser, i, payload));
    SnapshotMeta meta;
    meta.sequence = 1;
    meta.users = kRows;
    Check((*writer)->Commit(meta));
  }
  for (auto _ : state) {
    Check(store->ReadRows(Side::kUser, [](const Row&) { return absl::OkStatus(); }));
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK(BM_ReadRows)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace factord
