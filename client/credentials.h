// What secures the channels of a client: TLS, the client's own certificate, and its bearer token.
//
// Certificates and keys are read again while the program runs. What is missing or bad, or a key
// that does not fit its certificate, changes nothing: the last good ones stay. A token file is
// looked at before each call; while it holds no token, the last good one is sent.
//
// The token goes with every call as `authorization: Bearer TOKEN`. gRPC itself sends it only over
// TLS, or over a connection whose own end is a loopback address.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/client.h"
#include "grpcpp/security/credentials.h"

namespace factord {

// What the files of the tls_ options hold; empty where there is none.
struct TlsMaterial {
  std::string ca;
  std::string cert_chain;
  std::string key;

  bool operator==(const TlsMaterial&) const = default;
};

// Appends to *bad what is wrong with the tls_ and token options, as "option: what is wrong": files
// that cannot be read or hold something else, a key that does not fit its certificate, a token that
// would go over the network in plain text.
void CheckCredentials(const Client::Options& options, std::vector<std::string>* bad);

// Thread-compatible.
class Credentials {
 public:
  // REQUIRES: CheckCredentials has found nothing. INVALID_ARGUMENT if the files are bad since.
  static absl::StatusOr<Credentials> Create(const Client::Options& options);

  // What a new channel shall use: the same object until the files have changed. They are looked at
  // every Client::Options::tls_reload_interval, if this is called so often; that may block.
  const std::shared_ptr<grpc::ChannelCredentials>& Current();

 private:
  using Clock = std::chrono::steady_clock;

  Credentials(const Client::Options& options, TlsMaterial material);

  void MakeCurrent();

  Client::Options options_;
  TlsMaterial material_;
  std::shared_ptr<grpc::CallCredentials> token_;  // null: no token
  std::shared_ptr<grpc::ChannelCredentials> current_;
  Clock::time_point last_look_ = Clock::now();
};

}  // namespace factord
