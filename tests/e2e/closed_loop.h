// A caller that the tests expect to see served all the time.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "tests/e2e/server_process.h"

namespace factord {

// Makes one call after another, each of which must succeed, until it is destroyed.
class ClosedLoop {
 public:
  // `call` is given 1, 2, 3, ...
  ClosedLoop(std::string name, std::function<absl::Status(int64_t)> call)
      : name_(std::move(name)), thread_([this, call = std::move(call)] {
          Clock::time_point last = Clock::now();
          for (int64_t number = 1; !stop_; ++number) {
            const absl::Status status = call(number);
            ASSERT_TRUE(status.ok()) << name_ << ": " << status;
            const Clock::time_point now = Clock::now();
            longest_gap_ = std::max(longest_gap_.load(), now - last);
            last = now;
            ++calls_;
          }
        }) {}
  ~ClosedLoop() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Waits for `more` calls; false: in vain.
  bool WaitForCalls(int64_t more) const {
    const int64_t target = calls_ + more;
    const Clock::time_point end = Clock::now() + kPatience;
    while (calls_ < target && Clock::now() < end) std::this_thread::yield();
    return calls_ >= target;
  }
  int64_t calls() const { return calls_; }
  // Between the ends of two successive calls, in seconds.
  double longest_gap() const { return std::chrono::duration<double>(longest_gap_.load()).count(); }

 private:
  using Clock = std::chrono::steady_clock;

  const std::string name_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> calls_{0};
  std::atomic<Clock::duration> longest_gap_{Clock::duration::zero()};
  std::thread thread_;
};

}  // namespace factord
