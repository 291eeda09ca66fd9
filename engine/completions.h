// A thread that runs callbacks, so that answering clients does not hold up the writer.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace factord {

// Runs what it is given in order. The destructor runs what is left. Thread-safe.
class Completions {
 public:
  Completions();
  ~Completions();

  void Run(std::vector<std::function<void()>> callbacks);

 private:
  void Loop();

  Mutex mu_;
  CondVar changed_;
  std::vector<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace factord
