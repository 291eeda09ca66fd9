// One unary call, from the gate and the request's bytes to the status.
//
//   grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
//                                      const grpc::ByteBuffer* request,
//                                      grpc::ByteBuffer* response) override {
//     return GetModelCall::Start(gate_, Rpc::kGetModel, context, request, response,
//                                [this](GetModelCall* call) { return GetModel(call); });
//   }
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <optional>

#include "server/call_gate.h"
#include "server/message.h"
#include "server/status.h"

namespace factord {

// Owns the request and the response. Lives until gRPC has sent the status, so at least until
// Finish.
template <typename Request, typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // Admits the call, parses the request, whose list, if it has one, is `list`, and runs `handler`
  // on it, an absl::Status(UnaryCall*). If it returns an error, that ends the call. If it returns
  // OK, it has called Finish, or somebody will.
  template <typename Handler>
  static grpc::ServerUnaryReactor* Start(CallGate* gate, Rpc rpc,
                                         grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response, const Handler& handler,
                                         const ListRule& list = {}) {
    auto* const call = new UnaryCall(gate, rpc, context, response);  // OnDone deletes it
    absl::Status status = call->admission_.Admit();
    if (status.ok()) status = ParseRequest(*request, list, &*call->request_);
    // gRPC would keep the bytes until the answer is sent; it looks at them no more.
    const_cast<grpc::ByteBuffer*>(request)->Clear();
    if (status.ok()) status = handler(call);
    if (!status.ok()) call->Finish(status);
    return call;
  }

  // Both until Finish.
  const Request& request() const { return *request_; }
  Response* response() { return &*response_; }
  // Whether nobody waits for the answer any more.
  bool IsCancelled() const { return context_->IsCancelled(); }
  std::chrono::system_clock::time_point deadline() const { return context_->deadline(); }
  CallGate::Call& admission() { return admission_; }

  // Ends the call: with the response if `status` is OK. To be called once, from any thread; the
  // call may be gone when it returns.
  void Finish(absl::Status status) {
    if (status.ok()) status = Serialize(*response_, response_bytes_);
    // It may take a while until the client reads: only the bytes of the answer stay.
    request_.reset();
    response_.reset();
    if (status.ok()) status = admission_.HoldAnswer(response_bytes_->Length());
    if (!status.ok()) response_bytes_->Clear();
    admission_.Answered(status.raw_code());
    grpc::ServerUnaryReactor::Finish(ToGrpc(context_, status));
  }

 private:
  UnaryCall(CallGate* gate, Rpc rpc, grpc::CallbackServerContext* context,
            grpc::ByteBuffer* response)
      : admission_(gate, rpc, context), context_(context), response_bytes_(response) {}

  void OnDone() override { delete this; }

  CallGate::Call admission_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_bytes_;  // gRPC's
  std::optional<Request> request_{std::in_place};
  std::optional<Response> response_{std::in_place};
};

}  // namespace factord
