// A service that gRPC tells of a call when its headers have come, and that reads the message
// itself. What gRPC generates hears of a unary call only with its message: whoever begins calls and
// sends no message would pass by every limit, and by tokens.
//
//   ModelService::ModelService(...) {
//     Add("factord.v1.ModelService", "GetModel", [](grpc::CallbackServerContext* context) {
//       return new GetModelCall(context);  // whose OnDone deletes it
//     });
//   }
#pragma once

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/rpc_method.h>
#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace factord {

class CallService : public grpc::Service {
 public:
  // One call. On the wire, a unary call is a stream with one message each way.
  template <typename Request, typename Response>
  using ReactorOf = grpc::ServerBidiReactor<Request, Response>;
  using Reactor = ReactorOf<grpc::ByteBuffer, grpc::ByteBuffer>;

 protected:
  // For each method, before the service is registered. `open`, called from any thread, makes the
  // reactor of a new call, which may start its operations at once.
  template <typename Request = grpc::ByteBuffer, typename Response = grpc::ByteBuffer>
  void Add(absl::string_view service, absl::string_view method,
           std::function<ReactorOf<Request, Response>*(grpc::CallbackServerContext*)> open) {
    const auto number = static_cast<int>(paths_.size());
    paths_.push_back(absl::StrCat("/", service, "/", method));
    AddMethod(new grpc::internal::RpcServiceMethod(paths_.back().c_str(),
                                                   grpc::internal::RpcMethod::BIDI_STREAMING,
                                                   /*handler=*/nullptr));
    MarkMethodCallback(number,
                       new grpc::internal::CallbackBidiHandler<Request, Response>(std::move(open)));
  }

 private:
  std::deque<std::string> paths_;  // whose characters gRPC keeps pointers to
};

}  // namespace factord
