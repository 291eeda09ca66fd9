// factord.v1.ModelService: what the model is and holds.
#pragma once

#include "factord/v1/model_service.grpc.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/unary_call.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

using RawModelService = v1::ModelService::WithRawCallbackMethod_GetModel<
    v1::ModelService::WithRawCallbackMethod_ListTopics<
        v1::ModelService::WithRawCallbackMethod_GetFactors<v1::ModelService::Service>>>;

// Stateless. Thread-safe.
class ModelService final : public RawModelService {
 public:
  // All pointers must outlive it. `workers` reads many rows.
  ModelService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
               WorkerPool* workers)
      : engines_(engines), gate_(gate), limits_(limits), workers_(workers) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override {
    return ModelCall::Start(gate_, Rpc::kGetModel, context, request, response,
                            [this](ModelCall* call) { return ReadModel(call); });
  }

  grpc::ServerUnaryReactor* ListTopics(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    return TopicsCall::Start(gate_, Rpc::kListTopics, context, request, response,
                             [this](TopicsCall* call) { return ReadTopics(call); });
  }

  grpc::ServerUnaryReactor* GetFactors(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override {
    return FactorsCall::Start(gate_, Rpc::kGetFactors, context, request, response,
                              [this](FactorsCall* call) { return ReadFactors(call); });
  }

 private:
  using ModelCall = UnaryCall<v1::GetModelRequest, v1::GetModelResponse>;
  using TopicsCall = UnaryCall<v1::ListTopicsRequest, v1::ListTopicsResponse>;
  using FactorsCall = UnaryCall<v1::GetFactorsRequest, v1::GetFactorsResponse>;

  absl::Status ReadModel(ModelCall* call) const;
  absl::Status ReadTopics(TopicsCall* call) const;
  absl::Status ReadFactors(FactorsCall* call) const;

  const EngineHolder* const engines_;
  CallGate* const gate_;
  const Limits limits_;
  WorkerPool* const workers_;
};

}  // namespace factord
