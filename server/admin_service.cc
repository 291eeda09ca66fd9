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

absl::Status RunStartPasses(Engine* engine, const v1::StartPassesRequest& request,
                            v1::StartPassesResponse*) {
  const Violations violations = ValidateStartPasses(request);
  if (!violations.empty()) return BadRequest(violations);
  return engine->StartPasses(request.passes());
}

void Convert(const HistoryError& error, v1::HistoryError* out) {
  out->set_ratings(error.ratings);
  out->set_mae(error.mae);
  out->set_rmse(error.rmse);
}

void Convert(const PassesProgress& progress, v1::PassesProgress* out) {
  // The numbers of both enums are the same.
  static_assert(static_cast<int>(PassesProgress::State::kRunning) ==
                v1::PassesProgress::STATE_RUNNING);
  static_assert(static_cast<int>(PassesProgress::State::kFailed) ==
                v1::PassesProgress::STATE_FAILED);
  out->set_state(static_cast<v1::PassesProgress::State>(progress.state));
  out->set_passes(progress.passes);
  out->set_events_done(progress.events_done);
  out->set_events_total(progress.events_total);
  if (progress.events_total > 0) Convert(progress.before, out->mutable_before());
  if (progress.after.has_value()) Convert(*progress.after, out->mutable_after());
  out->set_failure(std::string(progress.failure.message()));
}

absl::Status RunGetPasses(Engine* engine, const v1::GetPassesRequest&,
                          v1::GetPassesResponse* response) {
  Convert(engine->Passes(), response->mutable_progress());
  return absl::OkStatus();
}

absl::Status RunStopPasses(Engine* engine, const v1::StopPassesRequest&,
                           v1::StopPassesResponse* response) {
  engine->StopPasses();
  Convert(engine->Passes(), response->mutable_progress());
  return absl::OkStatus();
}

}  // namespace

template <typename Request, typename Response>
void AdminService::AddOperation(CallGate* gate, Rpc rpc, Where where,
                                Operation<Request, Response> operation) {
  using Call = UnaryCall<Request, Response>;
  AddUnary<Request, Response>(gate, rpc, [this, where, operation](Call* call) -> absl::Status {
    FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving,
                             engines_->Get(call->request().model()));
    const auto run = [call, operation, engine = serving->engine] {
      call->Finish(call->IsCancelled() ? absl::CancelledError("")
                                       : operation(engine, call->request(), call->response()));
    };
    if (where == Where::kOnWorker) {
      worker_->Run(run);
    } else {
      run();
    }
    return absl::OkStatus();
  });
}

AdminService::AdminService(const EngineHolder* engines, CallGate* gate, WorkerPool* worker)
    : engines_(engines), worker_(worker) {
  AddOperation(gate, Rpc::kCreateSnapshot, Where::kOnWorker, RunCreateSnapshot);
  AddOperation(gate, Rpc::kComputeHash, Where::kOnWorker, RunComputeHash);
  AddOperation(gate, Rpc::kBackup, Where::kOnWorker, RunBackup);
  AddOperation(gate, Rpc::kStartPasses, Where::kAtOnce, RunStartPasses);
  AddOperation(gate, Rpc::kGetPasses, Where::kAtOnce, RunGetPasses);
  AddOperation(gate, Rpc::kStopPasses, Where::kOnWorker, RunStopPasses);
}

}  // namespace factord
