// Reads that wait for a sequence to become visible.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"

namespace factord {

// Thread-safe.
class SequenceWaiters {
 public:
  using Clock = std::chrono::steady_clock;

  SequenceWaiters();
  // Everybody who still waits gets UNAVAILABLE.
  ~SequenceWaiters();

  // `done` is called once, on a thread of this object: OK after Advance(>= sequence), UNAVAILABLE
  // at `deadline`.
  void Add(int64_t sequence, Clock::time_point deadline, std::function<void(absl::Status)> done);

  // `visible` has become visible. Costs one atomic load when nobody waits.
  void Advance(int64_t visible);

 private:
  struct Waiter {
    Clock::time_point deadline;
    std::function<void(absl::Status)> done;
  };

  void Loop();

  std::atomic<int64_t> waiting_{0};
  std::atomic<int64_t> visible_{0};
  Mutex mu_;
  CondVar changed_;
  std::multimap<int64_t, Waiter> waiters_ ABSL_GUARDED_BY(mu_);  // by sequence
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace factord
