// What a load has done while it was being measured: how much, and how long each part of it took.
//
//   Meter meter;
//   CallLoad load(channels, {...}, &meter);
//   meter.Start();
//   std::this_thread::sleep_for(std::chrono::seconds(4));
//   meter.Stop();
//   ... meter.rate(), meter.latencies().Percentile(99) ...
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "base/status.h"

namespace factord {

using Clock = std::chrono::steady_clock;

// A histogram of durations whose buckets are 1/64 wide of what they hold. Thread-safe.
class Latencies {
 public:
  void Add(Clock::duration duration) {
    const auto nanos = static_cast<uint64_t>(std::max<Clock::rep>(duration.count(), 0));
    counts_[BucketOf(nanos)].fetch_add(1, std::memory_order_relaxed);
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  int64_t count() const { return count_.load(std::memory_order_relaxed); }
  // In microseconds: so many percent took no longer. 0 when there is none.
  double Percentile(double percent) const;

 private:
  static constexpr int kExactBits = 7;  // so many bits of a duration are kept
  static constexpr size_t kHalf = size_t{1} << (kExactBits - 1);
  static constexpr size_t kBuckets = (64 - kExactBits + 2) * kHalf;

  static size_t BucketOf(uint64_t nanos) {
    const int dropped = std::max(0, static_cast<int>(std::bit_width(nanos)) - kExactBits);
    return static_cast<size_t>(dropped) * kHalf + static_cast<size_t>(nanos >> dropped);
  }
  // The middle of a bucket, in nanoseconds.
  static double MiddleOf(size_t bucket);

  std::array<std::atomic<int64_t>, kBuckets> counts_ = {};
  std::atomic<int64_t> count_{0};
};

// Thread-safe, except that one thread at a time calls Start and Stop.
class Meter {
 public:
  // What is done from now on is counted, in addition to what was before the last Stop.
  void Start() {
    stop_ = Clock::duration::max().count();
    start_ = Clock::now().time_since_epoch().count();
  }
  void Stop() {
    stop_ = Clock::now().time_since_epoch().count();
    measured_ += stop_ - start_;
  }

  // Loads call it: something that was begun, or was to begin, at `since` is done at `now`. `units`
  // are calls or events; `bytes` came back. It counts if it is done while the meter runs. Its
  // duration counts if it was begun while it ran, however late that is known.
  void Done(Clock::time_point since, Clock::time_point now, int64_t units, int64_t bytes) {
    if (IsWithin(since)) latencies_.Add(now - since);
    if (!IsWithin(now)) return;
    units_.fetch_add(units, std::memory_order_relaxed);
    replies_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  // Loads call it: the server had no room (RESOURCE_EXHAUSTED) for something that is done with at
  // `now`.
  void Refused(Clock::time_point now) {
    if (IsWithin(now)) refused_.fetch_add(1, std::memory_order_relaxed);
  }
  // Loads call it. The first failure is kept.
  void Fail(const absl::Status& status) {
    MutexLock lock(&mu_);
    failure_.Update(status);
  }

  int64_t units() const { return units_.load(std::memory_order_relaxed); }
  int64_t refused() const { return refused_.load(std::memory_order_relaxed); }
  // Units a second. REQUIRES: stopped.
  double rate() const {
    return static_cast<double>(units()) /
           std::chrono::duration<double>(Clock::duration(measured_)).count();
  }
  double mean_bytes() const {
    return static_cast<double>(bytes_.load()) / static_cast<double>(replies_.load());
  }
  const Latencies& latencies() const { return latencies_; }
  absl::Status status() const {
    MutexLock lock(&mu_);
    return failure_;
  }

 private:
  bool IsWithin(Clock::time_point time) const {
    const Clock::rep at = time.time_since_epoch().count();
    return at >= start_.load(std::memory_order_relaxed) &&
           at < stop_.load(std::memory_order_relaxed);
  }

  std::atomic<Clock::rep> start_{Clock::duration::max().count()};
  std::atomic<Clock::rep> stop_{Clock::duration::max().count()};
  Clock::rep measured_ = 0;
  Latencies latencies_;
  std::atomic<int64_t> units_{0};
  std::atomic<int64_t> refused_{0};
  std::atomic<int64_t> replies_{0};
  std::atomic<int64_t> bytes_{0};

  mutable Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
