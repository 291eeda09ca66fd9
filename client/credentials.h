// What secures a channel of the client: TLS, the client's own certificate, and its bearer token.
//
// Certificates and keys are read again while the program runs: a new connection uses what the files
// held at the last look (Client::Options::tls_reload_interval), an open one stays as it is. While
// files are missing or bad, or key and certificate do not fit each other, no new connection comes
// about, and it does again once they are good. A token file is looked at before each call; while it
// holds no token, the last good one is sent.
//
// The token goes with every call as `authorization: Bearer TOKEN`. gRPC itself sends it only over
// TLS, or over a connection whose own end is a loopback address.
//
// Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/client.h"
#include "grpcpp/security/credentials.h"

namespace factord {

// Appends to *bad what is wrong with the tls_ and token options, as "option: what is wrong": files
// that cannot be read or hold something else, a key that does not fit its certificate, a token that
// would go over the network in plain text.
void CheckCredentials(const Client::Options& options, std::vector<std::string>* bad);

// REQUIRES: CheckCredentials has found nothing.
std::shared_ptr<grpc::ChannelCredentials> MakeChannelCredentials(const Client::Options& options);

}  // namespace factord
