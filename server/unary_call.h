// One unary call, from the request's bytes to the status.
//
//   grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
//                                      const grpc::ByteBuffer* request,
//                                      grpc::ByteBuffer* response) override {
//     return GetModelCall::Start(context, request, response, calls_,
//                                [this](GetModelCall* call) { return GetModel(call); });
//   }
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>

#include "server/call_counter.h"
#include "server/message.h"
#include "server/status.h"

namespace factord {

// Owns the request and the response. Lives until gRPC has sent the status, so at least until
// Finish.
template <typename Request, typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // Parses the request and runs `handler` on it, an absl::Status(UnaryCall*). If it returns an
  // error, that ends the call. If it returns OK, it has called Finish, or somebody will.
  template <typename Handler>
  static grpc::ServerUnaryReactor* Start(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response, CallCounter* calls,
                                         const Handler& handler) {
    auto* const call = new UnaryCall(context, response, calls);  // OnDone deletes it
    absl::Status status = Parse(*request, &call->request_);
    if (status.ok()) status = handler(call);
    if (!status.ok()) call->Finish(status);
    return call;
  }

  const Request& request() const { return request_; }
  Response* response() { return &response_; }
  // Whether nobody waits for the answer any more.
  bool IsCancelled() const { return context_->IsCancelled(); }
  std::chrono::system_clock::time_point deadline() const { return context_->deadline(); }

  // Ends the call: with the response if `status` is OK. To be called once, from any thread; the
  // call may be gone when it returns.
  void Finish(absl::Status status) {
    if (status.ok()) status = Serialize(response_, response_bytes_);
    grpc::ServerUnaryReactor::Finish(ToGrpc(context_, status));
  }

 private:
  UnaryCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response, CallCounter* calls)
      : counted_(calls), context_(context), response_bytes_(response) {}

  void OnDone() override { delete this; }

  const CallCounter::Call counted_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_bytes_;  // gRPC's
  Request request_;
  Response response_;
};

}  // namespace factord
