#include "server/admin_service.h"

#include <utility>

#include "server/status.h"
#include "server/validation.h"

namespace factord {

grpc::ServerUnaryReactor* AdminService::Run(grpc::CallbackServerContext* context,
                                            const std::string& model,
                                            std::function<absl::Status(Engine*)> operation) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto serving = engines_->Get(model);
  if (!serving.ok()) {
    reactor->Finish(ToGrpc(context, serving.status()));
    return reactor;
  }
  worker_->Run([context, reactor, engine = (*serving)->engine, operation = std::move(operation)] {
    reactor->Finish(
        ToGrpc(context, context->IsCancelled() ? absl::CancelledError("") : operation(engine)));
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::CreateSnapshot(grpc::CallbackServerContext* context,
                                                       const v1::CreateSnapshotRequest* request,
                                                       v1::CreateSnapshotResponse* response) {
  return Run(context, request->model(), [response](Engine* engine) {
    FACTORD_ASSIGN_OR_RETURN(const SnapshotInfo snapshot, engine->CreateSnapshot());
    response->set_sequence(snapshot.sequence);
    response->set_hash(snapshot.hash.ToHex());
    response->set_rows_written(snapshot.rows_written);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::ComputeHash(grpc::CallbackServerContext* context,
                                                    const v1::ComputeHashRequest* request,
                                                    v1::ComputeHashResponse* response) {
  return Run(context, request->model(), [response](Engine* engine) {
    FACTORD_ASSIGN_OR_RETURN(const StateHash state, engine->ComputeHash());
    response->set_sequence(state.sequence);
    response->set_hash(state.hash.ToHex());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdminService::Backup(grpc::CallbackServerContext* context,
                                               const v1::BackupRequest* request,
                                               v1::BackupResponse* response) {
  return Run(context, request->model(), [request, response](Engine* engine) {
    const Violations violations = ValidateBackup(*request);
    if (!violations.empty()) return BadRequest(violations);
    FACTORD_ASSIGN_OR_RETURN(const BackupInfo backup, engine->Backup(request->name()));
    response->set_path(backup.path);
    response->set_sequence(backup.sequence);
    response->set_hash(backup.hash.ToHex());
    return absl::OkStatus();
  });
}

}  // namespace factord
