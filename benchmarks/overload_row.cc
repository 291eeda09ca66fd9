// More calls than a server can answer: it refuses the rest, and answers those it takes as if there
// were none. The server has a core of its own, and so has the load.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/row.h"
#include "benchmarks/server_rows.h"
#include "benchmarks/wire_load.h"

namespace factord {
namespace {

constexpr int kInFlight = 32;  // as many as keep the core busy
constexpr int kBatch = 100;

struct Kind {
  std::string name;
  std::string method;
  std::function<grpc::ByteBuffer()> make_request;
  // How many there may be at once: as many as are worth waiting for. Without such a limit calls
  // would wait for each other before any is refused, up to ten thousand of them.
  int at_once;
};

// Calls of one kind: at capacity, at half of it, at twice, and at half again.
absl::Status Overload(const BenchOptions& options, const Kind& kind, RatingRequests* requests,
                      std::vector<Measurement>* results) {
  FACTORD_ASSIGN_OR_RETURN(
      const auto server,
      ServerUnderLoad::StartFactord(options.scratch_dir + "/overload",
                                    {absl::StrCat("--max_concurrent_calls=", kind.at_once),
                                     // Or calls would wait in their clients.
                                     "--max_calls_per_connection=10000"}));
  FACTORD_RETURN_IF_ERROR(server->PinApart());
  FACTORD_RETURN_IF_ERROR(Learn(*server, options.smoke ? 10'000 : 500'000, requests));
  const auto measure = [&](std::optional<double> per_second, Reached* reached) {
    return MeasureRound(
        RoundsOf(options),
        [&](Meter* meter) {
          return std::make_unique<WireLoad>(WireLoad::Options{.port = server->port(),
                                                              .connections = kConnections,
                                                              .method = kind.method,
                                                              .make_request = kind.make_request,
                                                              .in_flight = kInFlight,
                                                              .per_second = per_second},
                                            meter);
        },
        reached);
  };
  Reached capacity, half, overload, after;
  FACTORD_RETURN_IF_ERROR(measure(std::nullopt, &capacity));
  FACTORD_RETURN_IF_ERROR(measure(capacity.rate() / 2, &half));
  FACTORD_RETURN_IF_ERROR(measure(2 * capacity.rate(), &overload));
  FACTORD_RETURN_IF_ERROR(measure(capacity.rate() / 2, &after));

  results->push_back({.name = kind.name + "-p99",
                      .value = overload.Latency(99),
                      .unit = "us",
                      .reference = "at capacity",
                      .reference_value = capacity.Latency(99),
                      .at_most = 3});
  results->push_back({.name = kind.name + "/answered",
                      .value = overload.rate(),
                      .unit = "calls/s",
                      .reference = "capacity",
                      .reference_value = capacity.rate()});
  if (!options.smoke) {  // which need not overload anything
    results->push_back({.name = kind.name + "/refused",
                        .value = static_cast<double>(overload.refused()),
                        .unit = "calls",
                        .reference = "answered",
                        .reference_value = static_cast<double>(overload.units())});
  }
  results->push_back({.name = kind.name + "/after-p99",
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
  const std::vector<Kind> kinds = {
      {"overload", kRecommendItems, [&] { return requests.Recommend(); }, 256},
      {"overload-batch", kRecordRatings, [&] { return requests.Record(kBatch); }, 64},
  };
  for (const Kind& kind : kinds) {
    FACTORD_RETURN_IF_ERROR(Overload(options, kind, &requests, results));
  }
  return absl::OkStatus();
}

}  // namespace factord
