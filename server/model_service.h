// factord.v1.ModelService: what the model is and holds.
#pragma once

#include "factord/v1/model_service.grpc.pb.h"
#include "server/engine_holder.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

// Stateless. Thread-safe.
class ModelService final : public v1::ModelService::CallbackService {
 public:
  // `engines` and `workers`, which reads many rows, must outlive it.
  ModelService(const EngineHolder* engines, const Limits& limits, WorkerPool* workers)
      : engines_(engines), limits_(limits), workers_(workers) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;

  grpc::ServerUnaryReactor* ListTopics(grpc::CallbackServerContext* context,
                                       const v1::ListTopicsRequest* request,
                                       v1::ListTopicsResponse* response) override;

  grpc::ServerUnaryReactor* GetFactors(grpc::CallbackServerContext* context,
                                       const v1::GetFactorsRequest* request,
                                       v1::GetFactorsResponse* response) override;

 private:
  const EngineHolder* const engines_;
  const Limits limits_;
  WorkerPool* const workers_;
};

}  // namespace factord
