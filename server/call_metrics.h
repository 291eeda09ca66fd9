// What is counted of calls, for /metrics.
#pragma once

#include <grpcpp/support/status_code_enum.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/histogram.h"
#include "server/rpc.h"

namespace factord {

// Why the gate refused a call, or cancelled it.
enum class Refusal {
  kCalls,
  kOverload,
  kStreams,
  kUnreadAnswers,
  kProducers,
  kRateLimit,
  kAuthMissing,
  kAuthUnknown,
  kAuthScope,
  kNoRequest,       // admitted, and its request did not come in time
  kUnreadRefusals,  // refused, and cancelled since too many others waited to be told so
};
inline constexpr size_t kRefusals = 11;

// Thread-safe.
class CallMetrics {
 public:
  static constexpr int kCodes = grpc::StatusCode::UNAUTHENTICATED + 1;

  CallMetrics() {
    for (size_t i = 0; i < kRpcs * kCodes; ++i) {
      durations_.push_back(std::make_unique<Histogram>(kSecondsBounds));
    }
  }

  // From the request's arrival until the status was decided; 0 where none was waited for.
  Histogram& durations(Rpc rpc, int code) const {
    return *durations_[static_cast<size_t>(rpc) * kCodes +
                       static_cast<size_t>(std::clamp(code, 0, kCodes - 1))];
  }
  // Of a StreamRatings batch, from its arrival until its events were settled.
  Histogram& stream_batches() { return stream_batches_; }
  const Histogram& stream_batches() const { return stream_batches_; }

  void CountRefusal(Refusal refusal) {
    refusals_[static_cast<size_t>(refusal)].fetch_add(1, std::memory_order_relaxed);
  }
  int64_t refusals(Refusal refusal) const {
    return refusals_[static_cast<size_t>(refusal)].load(std::memory_order_relaxed);
  }

  // Events that broke a rule of the API and were left out of their request.
  void CountRejectedEvents(int64_t events) {
    rejected_events_.fetch_add(events, std::memory_order_relaxed);
  }
  int64_t rejected_events() const { return rejected_events_.load(std::memory_order_relaxed); }

 private:
  std::vector<std::unique_ptr<Histogram>> durations_;
  Histogram stream_batches_{kSecondsBounds};
  std::array<std::atomic<int64_t>, kRefusals> refusals_ = {};
  std::atomic<int64_t> rejected_events_{0};
};

}  // namespace factord
