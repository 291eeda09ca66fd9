// More calls than a server can answer: it refuses the rest, and answers those it takes as if there
// were none. The server has a core of its own, and so has the load.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/row.h"
#include "benchmarks/server_rows.h"

namespace factord {
namespace {

// As many as keep the core busy, and how many may run. Without such a limit calls wait for each
// other instead of being refused, up to ten thousand of them.
constexpr int kInFlight = 32;
constexpr int kCallsAtOnce = 64;
constexpr int kBatch = 100;

// Calls of one kind: at capacity, at half of it, at twice, and at half again.
absl::Status Overload(const BenchOptions& options, const ServerUnderLoad& server,
                      const std::string& name, const std::string& method,
                      const std::function<grpc::ByteBuffer()>& make_request,
                      std::vector<Measurement>* results) {
  const auto measure = [&](std::optional<double> per_second, Reached* reached) {
    return MeasureRound(
        RoundsOf(options),
        [&](Meter* meter) {
          return std::make_unique<CallLoad>(server.Connect(kConnections),
                                            CallLoad::Options{.method = method,
                                                              .make_request = make_request,
                                                              .in_flight = kInFlight,
                                                              .per_second = per_second,
                                                              .may_be_refused = true},
                                            meter);
        },
        reached);
  };
  Reached capacity, half, overload, after;
  FACTORD_RETURN_IF_ERROR(measure(std::nullopt, &capacity));
  FACTORD_RETURN_IF_ERROR(measure(capacity.rate() / 2, &half));
  FACTORD_RETURN_IF_ERROR(measure(2 * capacity.rate(), &overload));
  FACTORD_RETURN_IF_ERROR(measure(capacity.rate() / 2, &after));

  results->push_back({.name = name + "-p99",
                      .value = overload.Latency(99),
                      .unit = "us",
                      .reference = "at capacity",
                      .reference_value = capacity.Latency(99),
                      .at_most = 3});
  results->push_back({.name = name + "/answered",
                      .value = overload.rate(),
                      .unit = "calls/s",
                      .reference = "capacity",
                      .reference_value = capacity.rate()});
  if (!options.smoke) {  // which need not overload anything
    results->push_back({.name = name + "/refused",
                        .value = static_cast<double>(overload.refused()),
                        .unit = "calls",
                        .reference = "answered",
                        .reference_value = static_cast<double>(overload.units())});
  }
  results->push_back({.name = name + "/after-p99",
                      .value = after.Latency(99),
                      .unit = "us",
                      .reference = "at half, before",
                      .reference_value = half.Latency(99),
                      .at_most = 1.5});
  return absl::OkStatus();
}

}  // namespace

absl::Status BenchOverload(const BenchOptions& options, std::vector<Measurement>* results) {
  RatingRequests requests(MovieLens10M(), options.seed, options.smoke ? 20'000 : 2'000'000);
  FACTORD_ASSIGN_OR_RETURN(
      const auto server,
      ServerUnderLoad::StartFactord(options.scratch_dir + "/overload",
                                    {absl::StrCat("--max_concurrent_calls=", kCallsAtOnce),
                                     // Or calls would wait in their clients.
                                     "--max_calls_per_connection=10000"}));
  FACTORD_RETURN_IF_ERROR(server->PinApart());
  FACTORD_RETURN_IF_ERROR(Learn(*server, options.smoke ? 10'000 : 500'000, &requests));
  FACTORD_RETURN_IF_ERROR(Overload(
      options, *server, "overload", kRecommendItems, [&] { return requests.Recommend(); },
      results));
  return Overload(
      options, *server, "overload-batch", kRecordRatings, [&] { return requests.Record(kBatch); },
      results);
}

}  // namespace factord
