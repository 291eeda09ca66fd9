// factord.v1.AdminService: operations. They block, so they run one after another on a thread of
// their own.
#pragma once

#include <functional>

#include "factord/v1/admin_service.grpc.pb.h"
#include "server/engine_holder.h"
#include "server/worker_pool.h"

namespace factord {

// Stateless. Thread-safe.
class AdminService final : public v1::AdminService::CallbackService {
 public:
  // `engines` and `worker` must outlive it.
  AdminService(const EngineHolder* engines, WorkerPool* worker)
      : engines_(engines), worker_(worker) {}

  grpc::ServerUnaryReactor* CreateSnapshot(grpc::CallbackServerContext* context,
                                           const v1::CreateSnapshotRequest* request,
                                           v1::CreateSnapshotResponse* response) override;

  grpc::ServerUnaryReactor* ComputeHash(grpc::CallbackServerContext* context,
                                        const v1::ComputeHashRequest* request,
                                        v1::ComputeHashResponse* response) override;

  grpc::ServerUnaryReactor* Backup(grpc::CallbackServerContext* context,
                                   const v1::BackupRequest* request,
                                   v1::BackupResponse* response) override;

 private:
  // Finishes the call with what `operation` returns; it runs on the worker, unless the caller is
  // gone by then.
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, const std::string& model,
                                std::function<absl::Status(Engine*)> operation);

  const EngineHolder* const engines_;
  WorkerPool* const worker_;
};

}  // namespace factord
