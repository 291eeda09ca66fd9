// How fast each client may go: a token bucket a client.
//
// A client may take while its bucket is not empty, and may take more than is in it: then it waits
// until the debt is paid. So one large request is never refused for its size, and the rate holds
// over time. A bucket holds one second's worth.
#pragma once

#include <chrono>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"

namespace factord {

// Thread-safe.
class RateLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  // `per_second` 0: no limit.
  explicit RateLimiter(double per_second) : per_second_(per_second) {}

  bool is_on() const { return per_second_ > 0; }
  // How many are remembered.
  size_t clients() const {
    MutexLock lock(&mu_);
    return buckets_.size();
  }

  // Takes `amount` if the client may; zero. Otherwise takes nothing, and tells how long it has to
  // wait.
  Clock::duration TryTake(absl::string_view client, double amount, Clock::time_point now);
  // Takes `amount` in any case, and tells how long it has to wait before it may take more.
  Clock::duration Take(absl::string_view client, double amount, Clock::time_point now);

 private:
  // Enough for the clients of a large site; beyond, those that are the least in debt are forgotten.
  static constexpr size_t kMaxClients = 100'000;

  struct Bucket {
    double level = 0;
    Clock::time_point filled;  // when `level` was right
  };

  Bucket& FillLocked(absl::string_view client, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EvictLocked(Clock::time_point now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Until the bucket is no longer empty.
  Clock::duration Wait(const Bucket& bucket) const;

  const double per_second_;
  mutable Mutex mu_;
  absl::flat_hash_map<std::string, Bucket> buckets_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
