// factord.v1.AdminService: operations. Most block, so they run one after another on a thread of
// their own.
#pragma once

#include "factord/v1/admin_service.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/unary_call.h"
#include "server/worker_pool.h"

namespace factord {

// Stateless. Thread-safe.
class AdminService final : public UnaryService {
 public:
  // All pointers must outlive it.
  AdminService(const EngineHolder* engines, CallGate* gate, WorkerPool* worker);

 private:
  template <typename Request, typename Response>
  using Operation = absl::Status (*)(Engine*, const Request&, Response*);

  enum class Where { kOnWorker, kAtOnce };

  // Each call of `rpc` is answered with what `operation` returns. What blocks runs on the worker,
  // unless the caller is gone by then.
  template <typename Request, typename Response>
  void AddOperation(CallGate* gate, Rpc rpc, Where where, Operation<Request, Response> operation);

  const EngineHolder* const engines_;
  WorkerPool* const worker_;
};

}  // namespace factord
