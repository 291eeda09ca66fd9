#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/event_list.h"
#include "benchmarks/rating_stream.h"
#include "benchmarks/row.h"
#include "engine/engine.h"

namespace factord {
namespace {

// Events a second through the engine, durable and visible: requests of `group` events, a few of
// them on their way at once.
absl::StatusOr<double> EngineRate(const BenchOptions& options, const std::vector<Event>& events,
                                  size_t group) {
  constexpr int kOnTheirWay = 4;
  const std::string folder = options.scratch_dir + "/ingest";
  std::filesystem::remove_all(folder);
  EngineOptions engine_options;
  engine_options.data_dir = folder;
  engine_options.config = BenchConfig();
  FACTORD_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(engine_options));
  std::counting_semaphore<> room(kOnTheirWay);
  std::atomic<int64_t> failed{0};
  const auto start = Clock::now();
  for (size_t first = 0; first < events.size(); first += group) {
    RecordRequest request;
    const size_t last = std::min(events.size(), first + group);
    request.events.assign(events.begin() + static_cast<ptrdiff_t>(first),
                          events.begin() + static_cast<ptrdiff_t>(last));
    request.done = [&](const RecordResult& result) {
      if (!result.status.ok()) ++failed;
      room.release();
    };
    room.acquire();
    engine->Record(std::move(request));
  }
  for (int i = 0; i < kOnTheirWay; ++i) room.acquire();
  const double rate = static_cast<double>(events.size()) / Seconds(start);
  FACTORD_RETURN_IF_ERROR(engine->Close());
  std::filesystem::remove_all(folder);
  if (failed > 0) return absl::InternalError(absl::StrCat(failed.load(), " requests failed"));
  return rate;
}

}  // namespace

absl::Status BenchIngest(const BenchOptions& options, std::vector<Measurement>* results) {
  constexpr size_t kGroup = 1'000;
  const uint64_t count = options.smoke ? 20'000 : 2'000'000;
  const std::pair<const char*, RatingShape> shapes[] = {{"ingest", MovieLens10M()},
                                                        {"ingest/netflix-shape", Netflix()},
                                                        {"ingest/web-shape", WebScale()}};
  for (const auto& [name, shape] : shapes) {
    const EventList list(shape, options.seed, count);
    double apply = 0, engine = 0;
    // In turn, so that a busy moment of the machine does not decide; the best of each.
    for (int round = 0; round < (options.smoke ? 1 : 3); ++round) {
      apply = std::max(apply, ApplyRate(list.events()));
      FACTORD_ASSIGN_OR_RETURN(const double rate, EngineRate(options, list.events(), kGroup));
      engine = std::max(engine, rate);
    }
    results->push_back({.name = name,
                        .value = engine,
                        .unit = "events/s",
                        .reference = "applying alone",
                        .reference_value = apply,
                        .at_least = 0.5});
  }
  results->push_back({.name = "ingest/absolute",
                      .value = results->front().value,
                      .unit = "events/s",
                      .reference = "1 M events/s",
                      .reference_value = 1e6,
                      .at_least = 1});
  return absl::OkStatus();
}

}  // namespace factord
