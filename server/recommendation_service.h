// factord.v1.RecommendationService: top-k and predicted ratings.
//
// Scoring runs on gRPC's threads, for it takes no lock and less time than a change of threads is
// worth. A read that has to wait for its min_sequence goes on in `waiters`, never on the engine's
// thread that wakes it.
#pragma once

#include <chrono>

#include "factord/v1/recommendation_service.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/unary_call.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

// Stateless. Thread-safe.
class RecommendationService final : public UnaryService {
 public:
  // All pointers must outlive it. `max_sequence_wait`: how long a read waits for its min_sequence.
  RecommendationService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                        std::chrono::milliseconds max_sequence_wait, WorkerPool* waiters);

 private:
  using RecommendCall = UnaryCall<v1::RecommendItemsRequest, v1::RecommendItemsResponse>;
  using PredictCall = UnaryCall<v1::PredictRatingsRequest, v1::PredictRatingsResponse>;

  absl::Status Recommend(RecommendCall* call) const;
  absl::Status Predict(PredictCall* call) const;
  // Finishes `call` with what `read`, an absl::Status(), returns once the request's min_sequence is
  // visible; or with why it is not.
  template <typename Call, typename Read>
  void ReadAtSequence(Engine* engine, Call* call, Read read) const;

  const EngineHolder* const engines_;
  const Limits limits_;
  const std::chrono::milliseconds max_sequence_wait_;
  WorkerPool* const waiters_;
};

}  // namespace factord
