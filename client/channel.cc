#include "client/channel.h"

#include <utility>

#include "client/target.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace factord {
namespace {

// How long the channel waits before it connects anew, at first and at the most. gRPC's own maximum
// of two minutes would leave a server that is back up unseen for as long.
constexpr int kFirstReconnectMillis = 100;
constexpr int kLastReconnectMillis = 1'000;

std::shared_ptr<grpc::Channel> MakeChannel(
    const Client::Options& options, const Keepalive& keepalive,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  const auto millis = [](absl::Duration time) {
    return static_cast<int>(absl::ToInt64Milliseconds(time));
  };
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMillis);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLastReconnectMillis);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, millis(keepalive.time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, millis(keepalive.timeout));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Or else gRPC asks twice, and then no more until something is sent.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(options.max_response_bytes);
  // A proxy of the environment does not find this machine. And a token in plain text, which may go
  // to this machine alone, must not go to a proxy.
  if (IsLoopback(options.target)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!options.tls_server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls_server_name);
  }
  return grpc::CreateCustomChannel(options.target, credentials, arguments);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Channels>> Channels::Create(const Client::Options& options,
                                                           const Keepalive& keepalive) {
  FACTORD_ASSIGN_OR_RETURN(Credentials credentials, Credentials::Create(options));
  return std::shared_ptr<Channels>(new Channels(options, keepalive, std::move(credentials)));
}

Channels::Channels(const Client::Options& options, const Keepalive& keepalive,
                   Credentials credentials)
    : options_(options), keepalive_(keepalive), credentials_(std::move(credentials)) {}

std::shared_ptr<grpc::Channel> Channels::Current() {
  MutexLock lock(&mu_);
  const std::shared_ptr<grpc::ChannelCredentials>& credentials = credentials_.Current();
  if (used_ != credentials) {
    channel_ = MakeChannel(options_, keepalive_, credentials);
    used_ = credentials;
  }
  return channel_;
}

}  // namespace factord
