// The channel of a client: its credentials, and how its connections are made and watched.
#pragma once

#include <memory>

#include "absl/time/time.h"
#include "client/client.h"
#include "grpcpp/channel.h"

namespace factord {

// A connection on which nothing came for `time` is asked whether it is alive, with calls on it or
// without, and is closed when it has not answered after `timeout`. Without this, one whose packets
// are lost would take every call for as long as the system repeats them. The server wants to be
// asked no more often than every 10 s (--min_client_ping_interval).
struct Keepalive {
  absl::Duration time = absl::Seconds(20);
  absl::Duration timeout = absl::Seconds(10);
};

// Does not connect yet. REQUIRES: options.Validate() has found nothing.
std::shared_ptr<grpc::Channel> MakeChannel(const Client::Options& options,
                                           const Keepalive& keepalive = {});

}  // namespace factord
