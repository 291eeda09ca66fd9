#include <fcntl.h>
#include <rocksdb/db.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/event_list.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "benchmarks/server_under_load.h"
#include "engine/engine.h"
#include "engine/recovery.h"
#include "model/config.h"
#include "storage/store.h"

namespace factord {
namespace {

// Takes the folder's files out of the page cache.
void DropFromCache(const std::string& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const int file = open(entry.path().c_str(), O_RDONLY);
    if (file < 0) continue;
    fdatasync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
}

absl::Status FromRocks(const rocksdb::Status& status) {
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.ToString());
}

// Seconds for reading every record of the database, with RocksDB alone.
absl::StatusOr<double> IterationSeconds(const std::string& path) {
  DropFromCache(path);
  const auto start = Clock::now();
  std::vector<std::string> names;
  FACTORD_RETURN_IF_ERROR(
      FromRocks(rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), path, &names)));
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  FACTORD_RETURN_IF_ERROR(FromRocks(
      rocksdb::DB::OpenForReadOnly(rocksdb::DBOptions(), path, families, &handles, &opened)));
  const std::unique_ptr<rocksdb::DB> db(opened);
  rocksdb::ReadOptions read;
  read.readahead_size = size_t{2} << 20;
  size_t bytes = 0;
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    {
      const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read, handle));
      for (it->SeekToFirst(); it->Valid(); it->Next()) bytes += it->value().size();
      FACTORD_RETURN_IF_ERROR(FromRocks(it->status()));
    }
    db->DestroyColumnFamilyHandle(handle);
  }
  const double seconds = Seconds(start);
  if (bytes == 0) return absl::InternalError("nothing was read");
  return seconds;
}

// As many rows: nearly all of them users, each with a rating.
absl::Status WriteRows(const EngineOptions& options, uint32_t rows) {
  const uint32_t items = rows / 20, users = rows - items;
  FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(options));
  constexpr uint32_t kGroup = 5'000;
  for (uint32_t first = 0; first < users; first += kGroup) {
    std::vector<std::string> ids;
    RecordRequest request;
    const uint32_t last = std::min(users, first + kGroup);
    ids.reserve(size_t{3} * kGroup);
    for (uint32_t i = first; i < last; ++i) {
      Event event;
      event.user_id = ids.emplace_back(UserId(i));
      event.item_id = ids.emplace_back(ItemId(i % items));
      event.event_id = ids.emplace_back(absl::StrCat("event-", i));
      event.rating = static_cast<float>(1 + i % 5);
      event.time_micros = 1'700'000'000'000'000;
      request.events.push_back(event);
    }
    std::promise<absl::Status> settled;
    request.done = [&settled](const RecordResult& result) { settled.set_value(result.status); };
    engine->Record(std::move(request));
    FACTORD_RETURN_IF_ERROR(settled.get_future().get());
  }
  return engine->Close();
}

absl::Status BenchServing(const BenchOptions& options, std::vector<Measurement>* results) {
  const std::string folder = options.scratch_dir + "/restart";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  EngineOptions engine_options;
  engine_options.data_dir = ServerUnderLoad::DataFolder(folder);
  engine_options.config = BenchConfig();
  FACTORD_RETURN_IF_ERROR(WriteRows(engine_options, options.smoke ? 20'000 : 2'000'000));
  double iteration = 0, serving = 0;
  for (int round = 0; round < (options.smoke ? 1 : 3); ++round) {
    FACTORD_ASSIGN_OR_RETURN(const double seconds,
                             IterationSeconds(engine_options.data_dir + "/db"));
    iteration = round == 0 ? seconds : std::min(iteration, seconds);
    DropFromCache(engine_options.data_dir);
    const auto start = Clock::now();
    FACTORD_ASSIGN_OR_RETURN(const auto server, ServerUnderLoad::Restart(folder));
    serving = round == 0 ? Seconds(start) : std::min(serving, Seconds(start));
  }
  std::filesystem::remove_all(folder);
  results->push_back({.name = "restart",
                      .value = serving,
                      .unit = "s",
                      .reference = "RocksDB iterated",
                      .reference_value = iteration,
                      .at_most = 3});
  return absl::OkStatus();
}

absl::Status BenchReplay(const BenchOptions& options, std::vector<Measurement>* results) {
  const EventList list(MovieLens10M(), options.seed, options.smoke ? 20'000 : 2'000'000);
  const absl::Span<const Event> events(list.events());
  const std::string folder = options.scratch_dir + "/replay";
  std::filesystem::remove_all(folder);
  FACTORD_RETURN_IF_ERROR(Store::Create(folder, ToFields(BenchConfig())));
  FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open({.path = folder}));
  constexpr size_t kGroup = 1'000;
  for (size_t i = 0; i < events.size(); i += kGroup) {
    FACTORD_RETURN_IF_ERROR(store->log()->Append(events.subspan(i, kGroup)));
  }
  double apply = 0, replay = 0;
  for (int round = 0; round < (options.smoke ? 1 : 3); ++round) {
    apply = std::max(apply, ApplyRate(list.events()));
    DropFromCache(folder);
    ModelState state(BenchConfig());
    const auto start = Clock::now();
    FACTORD_RETURN_IF_ERROR(Replay(*store->log(), store->log()->range().last, state));
    replay = std::max(replay, static_cast<double>(events.size()) / Seconds(start));
  }
  results->push_back({.name = "restart/replay",
                      .value = replay,
                      .unit = "events/s",
                      .reference = "applying alone",
                      .reference_value = apply,
                      .at_least = 0.5});
  std::filesystem::remove_all(folder);
  return absl::OkStatus();
}

}  // namespace

absl::Status BenchRestart(const BenchOptions& options, std::vector<Measurement>* results) {
  FACTORD_RETURN_IF_ERROR(BenchServing(options, results));
  return BenchReplay(options, results);
}

}  // namespace factord
