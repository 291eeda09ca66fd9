// One unary call, from the gate and the request's bytes to the status.
//
//   ModelService::ModelService(...) {
//     AddUnary(gate, Rpc::kGetModel, this, &ModelService::GetModel);
//   }
#pragma once

#include <grpcpp/server_context.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "server/call_gate.h"
#include "server/call_service.h"
#include "server/message.h"
#include "server/status.h"

namespace factord {

// Owns the request and the response. Lives until gRPC has sent the status, so at least until
// Finish.
template <typename Request, typename Response>
class UnaryCall final : public CallService::Reactor {
 public:
  // What all calls of one RPC share.
  struct Method {
    CallGate* gate;
    Rpc rpc;
    // If it returns an error, that ends the call. If it returns OK, it has called Finish, or
    // somebody will.
    std::function<absl::Status(UnaryCall*)> handler;
    ListRule list;  // of the request, if it has one
  };

  // Admits the call, waits for the request, parses it and runs the handler on it. `method` outlives
  // it.
  UnaryCall(const Method* method, grpc::CallbackServerContext* context)
      : method_(method), context_(context), admission_(method->gate, method->rpc, context) {
    const absl::Status status = admission_.Admit();
    if (status.ok()) {
      StartRead(&bytes_);
    } else {
      Finish(status);
    }
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
    bytes_.Clear();
    if (status.ok()) status = Serialize(*response_, &bytes_);
    // It may take a while until the client reads: only the bytes of the answer stay.
    request_.reset();
    response_.reset();
    if (status.ok()) status = admission_.HoldAnswer(bytes_.Length());
    if (!status.ok()) bytes_.Clear();
    admission_.Answered(status.raw_code());
    const grpc::Status sent = ToGrpc(context_, status);
    if (sent.ok()) {
      StartWriteAndFinish(&bytes_, grpc::WriteOptions(), sent);
    } else {
      CallService::Reactor::Finish(sent);
    }
  }

 private:
  void OnReadDone(bool ok) override {
    const absl::Status status = ok ? Run() : NoRequest();
    if (!status.ok()) Finish(status);
  }
  void OnDone() override { delete this; }

  absl::Status Run() {
    admission_.Received(bytes_.Length());
    request_.emplace();
    FACTORD_RETURN_IF_ERROR(ParseRequest(bytes_, method_->list, &*request_));
    bytes_.Clear();  // gRPC would keep them until the answer is sent
    response_.emplace();
    return method_->handler(this);
  }
  absl::Status NoRequest() const {
    if (IsCancelled()) return absl::CancelledError("");
    // gRPC itself tells the client of one that is too large.
    return absl::InvalidArgumentError("the request: there is none, or not all of it");
  }

  const Method* const method_;
  grpc::CallbackServerContext* const context_;
  CallGate::Call admission_;
  grpc::ByteBuffer bytes_;  // of the request, then of the response
  std::optional<Request> request_;
  std::optional<Response> response_;
};

// A service of such calls.
class UnaryService : public CallService {
 protected:
  // Each as Add (server/call_service.h). `gate` and `service` outlive the service's calls; `list`
  // is the one of the request, if it has one.
  template <typename Request, typename Response>
  void AddUnary(CallGate* gate, Rpc rpc,
                std::function<absl::Status(UnaryCall<Request, Response>*)> handler,
                const ListRule& list = {}) {
    using Call = UnaryCall<Request, Response>;
    auto method = std::make_shared<const typename Call::Method>(
        typename Call::Method{gate, rpc, std::move(handler), list});
    Add(rpc, [method = std::move(method)](grpc::CallbackServerContext* context) {
      return new Call(method.get(), context);  // OnDone deletes it
    });
  }
  template <typename Service, typename Request, typename Response>
  void AddUnary(CallGate* gate, Rpc rpc, const Service* service,
                absl::Status (Service::*handler)(UnaryCall<Request, Response>*) const,
                const ListRule& list = {}) {
    AddUnary<Request, Response>(
        gate, rpc,
        [service, handler](UnaryCall<Request, Response>* call) {
          return (service->*handler)(call);
        },
        list);
  }
  void Add(Rpc rpc, std::function<Reactor*(grpc::CallbackServerContext*)> open) {
    CallService::Add(InfoOf(rpc).service, InfoOf(rpc).method, std::move(open));
  }
};

}  // namespace factord
