// Decides, for one call that is safe to repeat, whether and when it is tried again.
//
//   Retrier retrier(deadline);
//   do {
//     grpc::ClientContext context;
//     status = ...;
//   } while (!status.ok() && retrier.WaitToRetry(channel, context, status));
//
// UNAVAILABLE is tried again: the server is starting, stopping or away. RESOURCE_EXHAUSTED is where
// the server says how long to wait (grpc-retry-pushback-ms); without that it is no matter of load,
// but a message that is too large, say. Every other error would only come back.
//
// gRPC's own retries would end after five attempts, sooner than many a restart. What is left to
// gRPC is to repeat a call that has provably not reached the server.
//
// Thread-compatible.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "base/status.h"
#include "client/backoff.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace factord {

// How long the server asks to wait (grpc-retry-pushback-ms), if it does. Negative: for ever. To be
// called when the call has ended.
std::optional<absl::Duration> Pushback(const grpc::ClientContext& context);

// Waits until `end`, or until a connection that is lost is there again. To sleep instead would keep
// it from coming back: gRPC goes on with a connection only while some thread waits within it, or
// else every five seconds.
void WaitOrReconnect(grpc::Channel* channel, absl::Time end);

class Retrier {
 public:
  explicit Retrier(absl::Time deadline);

  // Whether to try again what ended so on this channel; if so, returns when the time has come.
  bool WaitToRetry(grpc::Channel* channel, const grpc::ClientContext& context,
                   const absl::Status& status);

  int attempts() const { return attempts_; }

 private:
  const absl::Time deadline_;
  int attempts_ = 1;
  Backoff backoff_;
};

}  // namespace factord
