// What the rows that put load on a server have in common.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "benchmarks/load.h"
#include "benchmarks/meter.h"
#include "benchmarks/requests.h"
#include "benchmarks/row.h"
#include "benchmarks/server_under_load.h"

namespace factord {

// Connections that a load is spread over: with one, all calls wait for each other in its transport.
inline constexpr int kConnections = 4;

// How often and how long something is measured, in turn with what it is held against.
struct Rounds {
  int count;
  std::chrono::milliseconds warm_up;
  std::chrono::milliseconds measured;
};
inline Rounds RoundsOf(const BenchOptions& options) {
  using std::chrono::milliseconds;
  return options.smoke ? Rounds{1, milliseconds(20), milliseconds(80)}
                       : Rounds{3, milliseconds(500), milliseconds(4'000)};
}

// What one side has reached in all rounds.
class Reached {
 public:
  void Add(const Meter& meter);
  // The best: a busy moment of the machine only takes away.
  double rate() const;
  // The median of the rounds' percentiles, in microseconds.
  double Latency(double percent) const;
  double mean_bytes() const { return mean_bytes_; }
  // In all rounds.
  int64_t units() const { return units_; }
  int64_t refused() const { return refused_; }

 private:
  std::vector<double> rates_;
  std::vector<std::vector<double>> latencies_;  // as kPercents has them
  double mean_bytes_ = 0;
  int64_t units_ = 0;
  int64_t refused_ = 0;
};

// Lets the load that `start` makes run on `server`, measures it once it has warmed up, and adds
// what it reached. The error of the first call that failed.
template <typename StartLoad>
absl::Status MeasureRound(const Rounds& rounds, const StartLoad& start, Reached* reached) {
  Meter meter;
  {
    const auto load = start(&meter);
    std::this_thread::sleep_for(rounds.warm_up);
    meter.Start();
    std::this_thread::sleep_for(rounds.measured);
    // A machine that is busy with something else may not have got to one in a smoke run's while.
    while (meter.units() == 0 && meter.status().ok()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    meter.Stop();
  }
  FACTORD_RETURN_IF_ERROR(meter.status());
  reached->Add(meter);
  return absl::OkStatus();
}

// Records `events` ratings and waits for them.
absl::Status Learn(const ServerUnderLoad& server, int64_t events, RatingRequests* requests);

}  // namespace factord
