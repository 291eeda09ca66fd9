// The progress of an import, shown while it runs: how far, how fast, how long still, and how well
// the model predicts what is being sent.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/client.h"
#include "factorctl/status_line.h"

namespace factord {

// What one state of the line shows.
struct ProgressState {
  std::optional<int64_t> total;  // ratings of the import, where known
  int64_t acknowledged = 0;
  double per_second = 0;  // acknowledged, lately
  int64_t reconnects = 0;
  // The model's, or empty while the server does not answer.
  std::optional<v1::PrequentialError> error;
};

// "[=====>    ]  52%  52,000/100,004  1,667/s  ETA 0:29  MAE 0.7423 (lately 0.7011)  reconnects 1"
std::string RenderProgress(const ProgressState& state);

// Shows the progress of `stream` from construction until Stop, on a thread of its own. Everything
// borrowed must outlive it. Thread-compatible.
class Progress {
 public:
  Progress(StatusLine* line, const RatingStream* stream, Client* client, std::string model,
           std::optional<int64_t> total);
  ~Progress() { Stop(); }

  // Shows the last state and ends.
  void Stop();

 private:
  void Run();
  ProgressState Look();

  StatusLine* const line_;
  const RatingStream* const stream_;
  Client* const client_;
  const std::string model_;
  const std::optional<int64_t> total_;

  // What was acknowledged when, over the last seconds. Of the thread.
  std::deque<std::pair<absl::Time, int64_t>> samples_;

  Mutex mu_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace factord
