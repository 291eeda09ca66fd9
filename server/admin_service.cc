#include "server/admin_service.h"

#include "server/validation.h"

namespace factord {
namespace {

absl::Status RunCreateSnapshot(Engine* engine, const v1::CreateSnapshotRequest&,
                               v1::CreateSnapshotResponse* response) {
  FACTORD_ASSIGN_OR_RETURN(const SnapshotInfo snapshot, engine->CreateSnapshot());
  response->set_sequence(snapshot.sequence);
  response->set_hash(snapshot.hash.ToHex());
  response->set_rows_written(snapshot.rows_written);
  return absl::OkStatus();
}

absl::Status RunComputeHash(Engine* engine, const v1::ComputeHashRequest&,
                            v1::ComputeHashResponse* response) {
  FACTORD_ASSIGN_OR_RETURN(const StateHash state, engine->ComputeHash());
  response->set_sequence(state.sequence);
  response->set_hash(state.hash.ToHex());
  return absl::OkStatus();
}

absl::Status RunBackup(Engine* engine, const v1::BackupRequest& request,
                       v1::BackupResponse* response) {
  const Violations violations = ValidateBackup(request);
  if (!violations.empty()) return BadRequest(violations);
  FACTORD_ASSIGN_OR_RETURN(const BackupInfo backup, engine->Backup(request.name()));
  response->set_path(backup.path);
  response->set_sequence(backup.sequence);
  response->set_hash(backup.hash.ToHex());
  return absl::OkStatus();
}

}  // namespace

template <typename Request, typename Response>
grpc::ServerUnaryReactor* AdminService::Run(
    Rpc rpc, grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response, absl::Status (*operation)(Engine*, const Request&, Response*)) {
  using Call = UnaryCall<Request, Response>;
  return Call::Start(
      gate_, rpc, context, request, response, [this, operation](Call* call) -> absl::Status {
        FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving,
                                 engines_->Get(call->request().model()));
        worker_->Run([call, operation, engine = serving->engine] {
          call->Finish(call->IsCancelled() ? absl::CancelledError("")
                                           : operation(engine, call->request(), call->response()));
        });
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::CreateSnapshot(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request,
                                                       grpc::ByteBuffer* response) {
  return Run(Rpc::kCreateSnapshot, context, request, response, RunCreateSnapshot);
}

grpc::ServerUnaryReactor* AdminService::ComputeHash(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request,
                                                    grpc::ByteBuffer* response) {
  return Run(Rpc::kComputeHash, context, request, response, RunComputeHash);
}

grpc::ServerUnaryReactor* AdminService::Backup(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return Run(Rpc::kBackup, context, request, response, RunBackup);
}

}  // namespace factord
