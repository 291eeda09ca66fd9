#include "server/rate_limiter.h"

#include <algorithm>

namespace factord {
namespace {

// Seconds. A rate may be tiny, and a duration has an end.
constexpr double kMaxWait = 3600;

}  // namespace

RateLimiter::Clock::duration RateLimiter::TryTake(absl::string_view client, double amount,
                                                  Clock::time_point now) {
  if (!is_on()) return Clock::duration::zero();
  MutexLock lock(&mu_);
  Bucket& bucket = FillLocked(client, now);
  const Clock::duration wait = Wait(bucket);
  if (wait == Clock::duration::zero()) bucket.level -= amount;
  return wait;
}

RateLimiter::Clock::duration RateLimiter::Take(absl::string_view client, double amount,
                                               Clock::time_point now) {
  if (!is_on()) return Clock::duration::zero();
  MutexLock lock(&mu_);
  Bucket& bucket = FillLocked(client, now);
  bucket.level -= amount;
  return Wait(bucket);
}

RateLimiter::Bucket& RateLimiter::FillLocked(absl::string_view client, Clock::time_point now) {
  auto found = buckets_.find(client);
  if (found == buckets_.end()) {
    if (buckets_.size() >= kMaxClients) EvictLocked(now);
    found = buckets_.emplace(client, Bucket{per_second_, now}).first;
  }
  Bucket& bucket = found->second;
  const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
  if (seconds > 0) {
    bucket.level = std::min(per_second_, bucket.level + seconds * per_second_);
    bucket.filled = now;
  }
  return bucket;
}

// A full bucket is as good as a new one. If none is full, an attacker with very many addresses is
// at work: all start anew.
void RateLimiter::EvictLocked(Clock::time_point now) {
  absl::erase_if(buckets_, [&](const auto& entry) {
    const double seconds = std::chrono::duration<double>(now - entry.second.filled).count();
    return entry.second.level + seconds * per_second_ >= per_second_;
  });
  if (buckets_.size() >= kMaxClients) buckets_.clear();
}

RateLimiter::Clock::duration RateLimiter::Wait(const Bucket& bucket) const {
  if (bucket.level > 0) return Clock::duration::zero();
  // A thousandth of a unit more than the debt, so that the bucket is not just empty then.
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(std::min(kMaxWait, (1e-3 - bucket.level) / per_second_)));
}

}  // namespace factord
