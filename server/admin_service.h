// factord.v1.AdminService: operations. Most block, so they run one after another on a thread of
// their own.
#pragma once

#include "factord/v1/admin_service.grpc.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/unary_call.h"
#include "server/worker_pool.h"

namespace factord {

using RawAdminService = v1::AdminService::WithRawCallbackMethod_CreateSnapshot<
    v1::AdminService::WithRawCallbackMethod_ComputeHash<
        v1::AdminService::WithRawCallbackMethod_Backup<
            v1::AdminService::WithRawCallbackMethod_StartPasses<
                v1::AdminService::WithRawCallbackMethod_GetPasses<
                    v1::AdminService::WithRawCallbackMethod_StopPasses<
                        v1::AdminService::Service>>>>>>;

// Stateless. Thread-safe.
class AdminService final : public RawAdminService {
 public:
  // All pointers must outlive it.
  AdminService(const EngineHolder* engines, CallGate* gate, WorkerPool* worker)
      : engines_(engines), gate_(gate), worker_(worker) {}

  grpc::ServerUnaryReactor* CreateSnapshot(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;

  grpc::ServerUnaryReactor* ComputeHash(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;

  grpc::ServerUnaryReactor* Backup(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;

  grpc::ServerUnaryReactor* StartPasses(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;

  grpc::ServerUnaryReactor* GetPasses(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request,
                                      grpc::ByteBuffer* response) override;

  grpc::ServerUnaryReactor* StopPasses(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;

 private:
  template <typename Request, typename Response>
  using Operation = absl::Status (*)(Engine*, const Request&, Response*);

  enum class Where { kOnWorker, kAtOnce };

  // Finishes the call with what `operation` returns. What blocks runs on the worker, unless the
  // caller is gone by then.
  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Run(Rpc rpc, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request, grpc::ByteBuffer* response,
                                Where where, Operation<Request, Response> operation);

  const EngineHolder* const engines_;
  CallGate* const gate_;
  WorkerPool* const worker_;
};

}  // namespace factord
