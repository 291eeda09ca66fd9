// factord.v1.RecommendationService: top-k and predicted ratings.
//
// Scoring runs on gRPC's threads, for it takes no lock and less time than a change of threads is
// worth. A read that has to wait for its min_sequence goes on in `waiters`, never on the engine's
// thread that wakes it.
#pragma once

#include <chrono>
#include <functional>

#include "factord/v1/recommendation_service.grpc.pb.h"
#include "server/engine_holder.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

// Stateless. Thread-safe.
class RecommendationService final : public v1::RecommendationService::CallbackService {
 public:
  // `engines` and `waiters` must outlive it. `max_sequence_wait`: how long a read waits for its
  // min_sequence.
  RecommendationService(const EngineHolder* engines, const Limits& limits,
                        std::chrono::milliseconds max_sequence_wait, WorkerPool* waiters)
      : engines_(engines),
        limits_(limits),
        max_sequence_wait_(max_sequence_wait),
        waiters_(waiters) {}

  grpc::ServerUnaryReactor* RecommendItems(grpc::CallbackServerContext* context,
                                           const v1::RecommendItemsRequest* request,
                                           v1::RecommendItemsResponse* response) override;

  grpc::ServerUnaryReactor* PredictRatings(grpc::CallbackServerContext* context,
                                           const v1::PredictRatingsRequest* request,
                                           v1::PredictRatingsResponse* response) override;

 private:
  // Finishes `reactor` with what `read` returns, once `sequence` is visible; or with why it is not.
  void ReadAt(int64_t sequence, Engine* engine, grpc::CallbackServerContext* context,
              grpc::ServerUnaryReactor* reactor, std::function<absl::Status()> read) const;

  const EngineHolder* const engines_;
  const Limits limits_;
  const std::chrono::milliseconds max_sequence_wait_;
  WorkerPool* const waiters_;
};

}  // namespace factord
