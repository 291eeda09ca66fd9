// factord.v1.RecommendationService: top-k and predicted ratings.
//
// Scoring runs on gRPC's threads, for it takes no lock and less time than a change of threads is
// worth. A read that has to wait for its min_sequence goes on in `waiters`, never on the engine's
// thread that wakes it.
#pragma once

#include <chrono>

#include "factord/v1/recommendation_service.grpc.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/unary_call.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

using RawRecommendationService = v1::RecommendationService::WithRawCallbackMethod_RecommendItems<
    v1::RecommendationService::WithRawCallbackMethod_PredictRatings<
        v1::RecommendationService::Service>>;

// Stateless. Thread-safe.
class RecommendationService final : public RawRecommendationService {
 public:
  // All pointers must outlive it. `max_sequence_wait`: how long a read waits for its min_sequence.
  RecommendationService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                        std::chrono::milliseconds max_sequence_wait, WorkerPool* waiters)
      : engines_(engines),
        gate_(gate),
        limits_(limits),
        max_sequence_wait_(max_sequence_wait),
        waiters_(waiters) {}

  grpc::ServerUnaryReactor* RecommendItems(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override {
    return RecommendCall::Start(
        gate_, Rpc::kRecommendItems, context, request, response,
        [this](RecommendCall* call) { return Recommend(call); }, limits_.deny_item_ids());
  }

  grpc::ServerUnaryReactor* PredictRatings(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override {
    return PredictCall::Start(
        gate_, Rpc::kPredictRatings, context, request, response,
        [this](PredictCall* call) { return Predict(call); }, limits_.pairs());
  }

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
  CallGate* const gate_;
  const Limits limits_;
  const std::chrono::milliseconds max_sequence_wait_;
  WorkerPool* const waiters_;
};

}  // namespace factord
