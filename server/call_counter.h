// How many calls run, so that a drain can wait for their end.
//
//   CallCounter::Call call(&counter);        // a member of whatever lives as long as the call
//   ...
//   counter.WaitUntilNone(deadline);
//
// gRPC's own Shutdown waits for more than that: for every connection to be closed, which a client
// that does nothing may put off for seconds.
#pragma once

#include <chrono>

#include "base/mutex.h"

namespace factord {

// Thread-safe.
class CallCounter {
 public:
  // One call, counted for as long as it lives.
  class Call {
   public:
    explicit Call(CallCounter* counter) : counter_(counter) {
      MutexLock lock(&counter_->mu_);
      ++counter_->calls_;
    }
    ~Call() {
      MutexLock lock(&counter_->mu_);
      if (--counter_->calls_ == 0) counter_->none_.NotifyAll();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    CallCounter* const counter_;
  };

  // Whether there was a moment without a call before `deadline`.
  bool WaitUntilNone(std::chrono::steady_clock::time_point deadline) {
    MutexLock lock(&mu_);
    while (calls_ > 0) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      none_.WaitUntil(&mu_, deadline);
    }
    return true;
  }

 private:
  Mutex mu_;
  CondVar none_;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace factord
