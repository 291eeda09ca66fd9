// Reads beside writes and beside snapshots; writes beside snapshots.
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "benchmarks/row.h"
#include "benchmarks/server_rows.h"
#include "factord/v1/admin_service.grpc.pb.h"

namespace factord {
namespace {

// A poll wakes a core that the server may want.
constexpr std::chrono::milliseconds kPollInterval(10);

class Mixed {
 public:
  Mixed(const BenchOptions& options, RatingRequests* requests)
      : options_(options),
        rounds_(RoundsOf(options)),
        folder_(options.scratch_dir + "/mixed"),
        requests_(requests) {}

  absl::Status Reads(std::vector<Measurement>* results);
  absl::Status Writes(std::vector<Measurement>* results);

 private:
  static constexpr double kEventsPerSecond = 100'000;
  static constexpr int64_t kCalls = 100'000;

  // Starts a server that knows all items and most users.
  absl::Status Start(const std::vector<std::string>& flags) {
    FACTORD_ASSIGN_OR_RETURN(server_, ServerUnderLoad::StartFactord(folder_, flags));
    admin_ = v1::AdminService::NewStub(server_->Connect(1)[0]);
    return Learn(*server_, learned(), requests_);
  }
  int64_t learned() const { return options_.smoke ? 20'000 : 1'000'000; }

  // `meter` runs for as long as a snapshot does.
  absl::Status SnapshotWith(Meter* meter) {
    grpc::ClientContext context;
    v1::CreateSnapshotResponse response;
    meter->Start();
    const grpc::Status status = admin_->CreateSnapshot(&context, {}, &response);
    meter->Stop();
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    return absl::OkStatus();
  }

  // One call at a time, until `calls` more were measured, fewer in a smoke run: `measure` some of
  // them, up to `end` units.
  absl::Status Read(int64_t calls, Meter* meter,
                    const std::function<absl::Status(int64_t end)>& measure) {
    const int64_t end = meter->units() + (options_.smoke ? 200 : calls / rounds_.count + 1);
    const CallLoad load(
        server_->Connect(1),
        {.method = kRecommendItems, .make_request = [this] { return requests_->Recommend(); }},
        meter);
    std::this_thread::sleep_for(rounds_.warm_up);
    while (meter->units() < end && meter->status().ok()) FACTORD_RETURN_IF_ERROR(measure(end));
    return meter->status();
  }
  absl::Status ReadAlone(Meter* meter) {
    return Read(kCalls, meter, [meter](int64_t end) {
      meter->Start();
      while (meter->units() < end && meter->status().ok()) {
        std::this_thread::sleep_for(kPollInterval);
      }
      meter->Stop();
      return absl::OkStatus();
    });
  }
  absl::Status ReadBesideWrites(Meter* meter, Meter* writes) {
    const StreamLoad load(server_->Connect(1), {.events_per_second = kEventsPerSecond}, requests_,
                          writes);
    std::this_thread::sleep_for(rounds_.warm_up);
    writes->Start();
    const absl::Status status = ReadAlone(meter);
    writes->Stop();
    return status;
  }
  absl::Status ReadBesideSnapshots(Meter* meter) {
    return Read(kCalls, meter, [meter, this](int64_t) {
      // So that there is something to write: between two snapshots, and not measured.
      FACTORD_RETURN_IF_ERROR(Learn(*server_, learned() / 5, requests_));
      return SnapshotWith(meter);
    });
  }

  const BenchOptions options_;
  const Rounds rounds_;
  const std::string folder_;
  RatingRequests* const requests_;
  std::unique_ptr<ServerUnderLoad> server_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
};

absl::Status Mixed::Reads(std::vector<Measurement>* results) {
  FACTORD_RETURN_IF_ERROR(Start({}));
  Meter idle, beside_writes, beside_snapshots, writes;
  for (int round = 0; round < rounds_.count; ++round) {
    FACTORD_RETURN_IF_ERROR(ReadAlone(&idle));
    FACTORD_RETURN_IF_ERROR(ReadBesideWrites(&beside_writes, &writes));
    FACTORD_RETURN_IF_ERROR(ReadBesideSnapshots(&beside_snapshots));
  }
  FACTORD_RETURN_IF_ERROR(writes.status());
  const auto add = [&](const std::string& name, const Meter& meter) {
    for (const double percent : {50.0, 99.0, 99.9}) {
      results->push_back({.name = absl::StrCat("mixed/", name, "-p", percent),
                          .value = meter.latencies().Percentile(percent),
                          .unit = "us",
                          .reference = "idle",
                          .reference_value = idle.latencies().Percentile(percent),
                          .at_most = percent == 99 ? std::optional(1.5) : std::nullopt});
    }
  };
  add("beside-writes", beside_writes);
  add("beside-snapshots", beside_snapshots);
  results->push_back({.name = "mixed/writes",
                      .value = writes.rate(),
                      .unit = "events/s",
                      .reference = "what was sent",
                      .reference_value = kEventsPerSecond,
                      .at_least = 0.99});
  results->push_back(
      {.name = "mixed/writes-p99", .value = writes.latencies().Percentile(99), .unit = "us"});
  return absl::OkStatus();
}

absl::Status Mixed::Writes(std::vector<Measurement>* results) {
  // No snapshot but those that are asked for: else there would be some in what is the reference.
  FACTORD_RETURN_IF_ERROR(Start({"--snapshot_interval=0s", "--snapshot_log_bytes=0"}));
  Meter without, beside_snapshots;
  const auto measure = [&](Meter* meter, const std::function<absl::Status()>& measure_some) {
    const StreamLoad load(server_->Connect(kConnections), {.streams = kConnections}, requests_,
                          meter);
    std::this_thread::sleep_for(rounds_.warm_up);
    const Clock::time_point end = Clock::now() + rounds_.measured;
    while (Clock::now() < end && meter->status().ok()) FACTORD_RETURN_IF_ERROR(measure_some());
    return meter->status();
  };
  for (int round = 0; round < rounds_.count; ++round) {
    FACTORD_RETURN_IF_ERROR(measure(&without, [&] {
      without.Start();
      std::this_thread::sleep_for(rounds_.measured);
      without.Stop();
      return absl::OkStatus();
    }));
    FACTORD_RETURN_IF_ERROR(
        measure(&beside_snapshots, [&] { return SnapshotWith(&beside_snapshots); }));
  }
  results->push_back({.name = "mixed/writes-beside-snapshots",
                      .value = beside_snapshots.rate(),
                      .unit = "events/s",
                      .reference = "without",
                      .reference_value = without.rate(),
                      .at_least = 0.8});
  return absl::OkStatus();
}

}  // namespace

absl::Status BenchMixed(const BenchOptions& options, std::vector<Measurement>* results) {
  RatingRequests requests(MovieLens10M(), options.seed, options.smoke ? 20'000 : 4'000'000);
  FACTORD_RETURN_IF_ERROR(Mixed(options, &requests).Reads(results));
  return Mixed(options, &requests).Writes(results);
}

}  // namespace factord
