// The one place where a gRPC status becomes an absl::Status.
#pragma once

#include "base/status.h"
#include "grpcpp/support/status.h"

namespace factord {

// The codes are the same in both worlds. The message names every bad field: what
// google.rpc.BadRequest details hold and the message does not say yet is put behind it ("field:
// rule; field: rule"). An UNAVAILABLE for want of a secure connection, and an UNAUTHENTICATED for
// an unknown token, say what to do.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace factord
