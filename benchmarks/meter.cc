#include "benchmarks/meter.h"

#include <cmath>

namespace factord {

double Latencies::MiddleOf(size_t bucket) {
  if (bucket < 2 * kHalf) return static_cast<double>(bucket);
  const size_t dropped = bucket / kHalf - 1;
  const double width = std::ldexp(1, static_cast<int>(dropped));
  return (static_cast<double>(bucket - dropped * kHalf) + 0.5) * width;
}

double Latencies::Percentile(double percent) const {
  const double wanted = static_cast<double>(count()) * percent / 100;
  double seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    const auto here = static_cast<double>(counts_[bucket].load(std::memory_order_relaxed));
    seen += here;
    if (here > 0 && seen >= wanted) return MiddleOf(bucket) / 1e3;
  }
  return 0;
}

}  // namespace factord
