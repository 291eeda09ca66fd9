#include "engine/sequence_waiters.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace factord {

SequenceWaiters::SequenceWaiters() : thread_([this] { Loop(); }) {}

SequenceWaiters::~SequenceWaiters() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  changed_.NotifyOne();
  thread_.join();
}

void SequenceWaiters::Add(int64_t sequence, Clock::time_point deadline,
                          std::function<void(absl::Status)> done) {
  // Notifies under the lock: once `done` is called all this may be gone.
  MutexLock lock(&mu_);
  waiters_.emplace(sequence, Waiter{deadline, std::move(done)});
  waiting_.fetch_add(1);
  // The thread looks at visible_ after this, so an Advance that missed the waiter is not lost.
  changed_.NotifyOne();
}

void SequenceWaiters::Advance(int64_t visible) {
  visible_.store(visible);
  if (waiting_.load() == 0) return;
  { MutexLock lock(&mu_); }  // the thread is either before its look at visible_, or waiting
  changed_.NotifyOne();
}

void SequenceWaiters::Loop() {
  while (true) {
    std::vector<std::pair<std::function<void(absl::Status)>, absl::Status>> ready;
    bool stopped;
    {
      MutexLock lock(&mu_);
      const int64_t visible = visible_.load();
      const Clock::time_point now = Clock::now();
      Clock::time_point next = Clock::time_point::max();
      for (auto it = waiters_.begin(); it != waiters_.end();) {
        const bool reached = it->first <= visible;
        if (reached || stop_ || it->second.deadline <= now) {
          ready.emplace_back(
              std::move(it->second.done),
              reached ? absl::OkStatus()
                      : absl::UnavailableError(absl::StrCat(
                            "sequence ", it->first, " is not visible yet (at ", visible, ")")));
          it = waiters_.erase(it);
          waiting_.fetch_sub(1);
        } else {
          next = std::min(next, it->second.deadline);
          ++it;
        }
      }
      stopped = stop_;
      if (ready.empty() && !stopped) {
        if (waiters_.empty()) {
          changed_.Wait(&mu_);
        } else {
          changed_.WaitUntil(&mu_, next);
        }
      }
    }
    for (auto& [done, status] : ready) done(status);
    if (stopped) return;
  }
}

}  // namespace factord
