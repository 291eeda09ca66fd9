#include "server/rate_limiter.h"

#include <algorithm>
#include <vector>

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

// All buckets that are full, which are as good as new ones, and the fullest of the others: a tenth
// at least, so that not every new client looks at all of them.
void RateLimiter::EvictLocked(Clock::time_point now) {
  const auto room_in = [&](const Bucket& bucket) {
    const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
    return per_second_ - bucket.level - seconds * per_second_;
  };
  std::vector<double> rooms;
  rooms.reserve(buckets_.size());
  for (const auto& [client, bucket] : buckets_) rooms.push_back(room_in(bucket));
  const auto last = rooms.begin() + kMaxClients / 10 - 1;
  std::nth_element(rooms.begin(), last, rooms.end());
  const double most = *last;
  auto as_full = std::count(rooms.begin(), last + 1, most);  // how many of those with `most` go
  absl::erase_if(buckets_, [&](const auto& entry) {
    const double room = room_in(entry.second);
    return room <= 0 || room < most || (room == most && as_full-- > 0);
  });
}

RateLimiter::Clock::duration RateLimiter::Wait(const Bucket& bucket) const {
  if (bucket.level > 0) return Clock::duration::zero();
  // A thousandth of a unit more than the debt, so that the bucket is not just empty then.
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(std::min(kMaxWait, (1e-3 - bucket.level) / per_second_)));
}

}  // namespace factord
