// The channels of a client: their credentials, and how connections are made and watched.
#pragma once

#include <memory>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/status.h"
#include "client/client.h"
#include "client/credentials.h"
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

// Thread-safe.
class Channels {
 public:
  // Does not connect yet. REQUIRES: options.Validate() has found nothing. INVALID_ARGUMENT if the
  // files are bad since.
  static absl::StatusOr<std::shared_ptr<Channels>> Create(const Client::Options& options,
                                                          const Keepalive& keepalive = {});

  // The channel for a call that begins now: another one when certificates have changed, for gRPC
  // reads them once a channel. What is under way on a former one goes on there. Reads the files now
  // and then, and may block on them.
  std::shared_ptr<grpc::Channel> Current();

 private:
  Channels(const Client::Options& options, const Keepalive& keepalive, Credentials credentials);

  const Client::Options options_;
  const Keepalive keepalive_;
  Mutex mu_;
  Credentials credentials_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<grpc::ChannelCredentials> used_ ABSL_GUARDED_BY(mu_);  // by channel_
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
