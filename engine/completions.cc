#include "engine/completions.h"

#include <iterator>
#include <utility>

namespace factord {

Completions::Completions() : thread_([this] { Loop(); }) {}

Completions::~Completions() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  changed_.NotifyOne();
  thread_.join();
}

void Completions::Run(std::vector<std::function<void()>> callbacks) {
  if (callbacks.empty()) return;
  {
    MutexLock lock(&mu_);
    if (queue_.empty()) {
      queue_ = std::move(callbacks);
    } else {
      queue_.insert(queue_.end(), std::make_move_iterator(callbacks.begin()),
                    std::make_move_iterator(callbacks.end()));
    }
  }
  changed_.NotifyOne();
}

void Completions::Loop() {
  std::vector<std::function<void()>> batch;
  while (true) {
    {
      MutexLock lock(&mu_);
      while (queue_.empty() && !stop_) changed_.Wait(&mu_);
      if (queue_.empty()) return;
      batch.swap(queue_);
    }
    for (const std::function<void()>& callback : batch) callback();
    batch.clear();
  }
}

}  // namespace factord
