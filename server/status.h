// The one place where absl::Status turns into grpc::Status.
//
//   if (!violations.empty()) return BadRequest(violations);
//   ...
//   reactor->Finish(ToGrpc(context, status));
//
// Codes are the same on both sides. INVALID_ARGUMENT for bad fields carries google.rpc.BadRequest
// in the trailing metadata grpc-status-details-bin; RESOURCE_EXHAUSTED carries
// grpc-retry-pushback-ms, which tells clients how long to wait before they try again, or, as -1,
// that it would not help (RetryAfter in base/status.h).
//
// Thread-safe.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "base/status.h"
#include "server/validation.h"

namespace factord {

// INVALID_ARGUMENT that names the fields in its message and, as google.rpc.BadRequest, in a
// payload. Clients refuse trailing metadata above 8 KiB, so a long list is cut: the message then
// ends "and 123 more". REQUIRES: not empty.
absl::Status BadRequest(const Violations& violations);

// Adds to the trailing metadata of `context` what goes with the status: call it once a call, before
// Finish.
grpc::Status ToGrpc(grpc::CallbackServerContext* context, const absl::Status& status);

}  // namespace factord
