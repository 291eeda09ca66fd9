// How far an engine's recovery has come, for another thread while Engine::Open blocks.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace factord {

// Thread-safe: recovery writes, anybody reads.
class RecoveryProgress {
 public:
  // Rows of the snapshot and events after it that are in, of those there are. The total is 0 until
  // the folder has been opened.
  int64_t done() const { return done_.load(std::memory_order_relaxed); }
  int64_t total() const { return total_.load(std::memory_order_relaxed); }
  // From 0 to 1; 1 only when recovery has succeeded. The file checks before the first row count
  // for nothing.
  double fraction() const {
    if (is_finished_.load(std::memory_order_relaxed)) return 1;
    const int64_t total = this->total();
    // The last step to 1 is Finish.
    return total == 0 ? 0
                      : std::min(0.999, static_cast<double>(done()) / static_cast<double>(total));
  }

  // Recovery's part. It may begin a second time.
  void Begin(int64_t total) {
    done_.store(0, std::memory_order_relaxed);
    total_.store(total, std::memory_order_relaxed);
  }
  void Advance(int64_t n) { done_.fetch_add(n, std::memory_order_relaxed); }
  void Finish() { is_finished_.store(true, std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> done_{0};
  std::atomic<int64_t> total_{0};
  std::atomic<bool> is_finished_{false};
};

}  // namespace factord
