// factord.v1.ModelService: what the model is and holds.
#pragma once

#include "factord/v1/model_service.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/unary_call.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

// Stateless. Thread-safe.
class ModelService final : public UnaryService {
 public:
  // All pointers must outlive it. `workers` reads many rows.
  ModelService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
               WorkerPool* workers);

 private:
  using ModelCall = UnaryCall<v1::GetModelRequest, v1::GetModelResponse>;
  using TopicsCall = UnaryCall<v1::ListTopicsRequest, v1::ListTopicsResponse>;
  using FactorsCall = UnaryCall<v1::GetFactorsRequest, v1::GetFactorsResponse>;

  absl::Status ReadModel(ModelCall* call) const;
  absl::Status ReadTopics(TopicsCall* call) const;
  absl::Status ReadFactors(FactorsCall* call) const;

  const EngineHolder* const engines_;
  const Limits limits_;
  WorkerPool* const workers_;
};

}  // namespace factord
