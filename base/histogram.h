// Counts of observed values in fixed buckets, and their sum: what a Prometheus histogram is made
// of.
//
//   Histogram durations(kSecondsBounds);
//   durations.Observe(0.0031);
//   HistogramSnapshot now = durations.Snapshot();
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"

namespace factord {

// Seconds, from 50 us to 10 s.
inline constexpr double kSecondsBounds[] = {50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3,
                                            5e-3,  10e-3,  25e-3,  50e-3,  0.1,  0.25,
                                            0.5,   1,      2.5,    5,      10};
// Seconds of longer work, from 10 ms to half an hour.
inline constexpr double kLongSecondsBounds[] = {0.01, 0.05, 0.1, 0.5, 1,   5,   10,
                                                30,   60,   120, 300, 600, 1800};
// How many of something.
inline constexpr double kSizeBounds[] = {1, 4, 16, 64, 256, 1024, 4096, 16384};

struct HistogramSnapshot {
  // Ascending upper bounds, which belong to their buckets.
  std::vector<double> bounds;
  // Of each bucket alone, not cumulative; the last one, behind all bounds, has no bound.
  std::vector<int64_t> counts;
  double sum = 0;
  // The sum of `counts`.
  int64_t count = 0;
};

// Thread-safe, without a lock. A snapshot that is taken beside an Observe may have its value in the
// counts and not yet in the sum.
class Histogram {
 public:
  // `bounds` ascend.
  explicit Histogram(absl::Span<const double> bounds)
      : bounds_(bounds.begin(), bounds.end()),
        counts_(std::make_unique<std::atomic<int64_t>[]>(bounds.size() + 1)) {}

  void Observe(double value) {
    const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
    counts_[static_cast<size_t>(bound - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  HistogramSnapshot Snapshot() const {
    HistogramSnapshot snapshot;
    snapshot.bounds = bounds_;
    snapshot.sum = sum_.load(std::memory_order_relaxed);
    for (size_t i = 0; i <= bounds_.size(); ++i) {
      snapshot.counts.push_back(counts_[i].load(std::memory_order_relaxed));
      snapshot.count += snapshot.counts.back();
    }
    return snapshot;
  }

 private:
  const std::vector<double> bounds_;
  const std::unique_ptr<std::atomic<int64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

}  // namespace factord
