// Calls of methods that no service has: UNIMPLEMENTED, by the gate as any other. gRPC's own answer
// to them has no bound where clients do not read it.
#pragma once

#include <grpcpp/generic/async_generic_service.h>

#include "server/call_gate.h"
#include "server/status.h"

namespace factord {

// Thread-safe.
class UnknownCalls final : public grpc::CallbackGenericService {
 public:
  // `gate` must outlive it.
  explicit UnknownCalls(CallGate* gate) : gate_(gate) {}

 private:
  class Call final : public grpc::ServerGenericBidiReactor {
   public:
    Call(CallGate* gate, grpc::CallbackServerContext* context)
        : admission_(gate, Rpc::kUnknown, context) {
      const absl::Status status = admission_.Admit();
      admission_.Answered(status.raw_code());
      Finish(ToGrpc(context, status));
    }

   private:
    void OnDone() override { delete this; }

    CallGate::Call admission_;
  };

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return new Call(gate_, context);  // OnDone deletes it
  }

  CallGate* const gate_;
};

}  // namespace factord
