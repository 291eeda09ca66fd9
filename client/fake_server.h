// A server for the client's tests: the generated service classes over real gRPC on a loopback port,
// with a memory instead of a model and with faults on demand.
//
//   FakeServer server;
//   server.on_batch = [](const v1::StreamBatch&) { return FakeServer::BatchFate::kApplyAndBreak; };
//   ... a client on server.target() ...
//   server.Stop(); server.Start();   // the same port, the same memory: a restart
//
// Thread-safe; the hooks are set before the first call.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "factord/v1/admin_service.grpc.pb.h"
#include "factord/v1/model_service.grpc.pb.h"
#include "factord/v1/rating_service.grpc.pb.h"
#include "factord/v1/recommendation_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_context.h"

namespace factord {

class FakeServer {
 public:
  // What becomes of a batch of a stream.
  enum class BatchFate {
    kApplyAndAck,
    kApplyAndHold,   // acknowledged with a later batch
    kApplyAndBreak,  // applied, but the stream breaks before the acknowledgement
    kBreak,          // lost: the stream breaks before it is applied
    kAckTooMuch,     // acknowledges more than was sent
    kHang,           // reads no further and answers nothing until the client goes away
  };
  struct Applied {
    std::string producer;
    int64_t number = 0;
    v1::Rating rating;
  };

  // Starts at once, on any free port of 127.0.0.1.
  explicit FakeServer(
      std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials());
  ~FakeServer();

  std::string target() const;
  // Ends all calls; the port refuses connections until Start.
  void Stop();
  void Start();

  // Unary calls: asked before each of them, with the method's name ("GetModel"); not OK: the
  // answer.
  std::function<grpc::Status(const std::string& method)> on_call;
  // What RESOURCE_EXHAUSTED of on_call, on_start and break_status comes with, in milliseconds;
  // empty: nothing.
  std::string pushback = "1";
  std::function<BatchFate(const v1::StreamBatch& batch)> on_batch;
  // OK: the rating is good.
  std::function<absl::Status(const v1::Rating& rating)> reject;
  // Not OK: how a stream ends instead of answering its start.
  std::function<grpc::Status()> on_start;
  // How kBreak and kApplyAndBreak end a stream.
  grpc::Status break_status{grpc::StatusCode::UNAVAILABLE, "injected"};
  // How a stream ends when the client has sent everything.
  grpc::Status end_status;
  std::atomic<int32_t> window{100};
  std::atomic<bool> answer_start{true};
  // Larger messages are refused, from the next Start on.
  int max_message_bytes = 4 << 20;

  // --- What has been seen ---
  std::vector<Applied> applied() const;
  std::vector<v1::RecordRatingsRequest> record_requests() const;
  std::vector<v1::StreamStart> starts() const;
  std::vector<std::string> calls() const;  // methods, in order
  int64_t most_unacknowledged() const;     // of any stream, ever
  int64_t largest_batch() const;
  // The memory of another data folder.
  void ForgetProducers();

  // From now on a call (but health) without this token is UNAUTHENTICATED. Empty: none is asked
  // for.
  void RequireToken(const std::string& token);
  // From the next Start on.
  void SetCredentials(std::shared_ptr<grpc::ServerCredentials> credentials) {
    credentials_ = std::move(credentials);
  }

 private:
  class Ratings;
  class Recommendations;
  class Models;
  class Admin;
  class Health;

  grpc::Status NoteCall(grpc::ServerContext* context, const std::string& method);
  grpc::Status CheckToken(const grpc::ServerContext& context);
  // Tells the client what `pushback` says, if `status` is one to come back from; returns it.
  grpc::Status WithPushback(grpc::ServerContext* context, const grpc::Status& status) const;

  mutable Mutex mu_;
  std::vector<Applied> applied_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int64_t> producers_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::RecordRatingsRequest> record_requests_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::StreamStart> starts_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mu_);
  std::string token_ ABSL_GUARDED_BY(mu_);
  int64_t most_unacknowledged_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t largest_batch_ ABSL_GUARDED_BY(mu_) = 0;

  const std::unique_ptr<Ratings> ratings_;
  const std::unique_ptr<Recommendations> recommendations_;
  const std::unique_ptr<Models> models_;
  const std::unique_ptr<Admin> admin_;
  const std::unique_ptr<Health> health_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace factord
