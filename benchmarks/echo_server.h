// A bare gRPC server of factord.v1: parses the requests that factord would, and replies with as
// many bytes, made up. What no server of this API over gRPC can beat.
//
// It knows RecordRatings, StreamRatings, RecommendItems, and gRPC's health check. The callback API
// on raw bytes, which lets it parse into messages that it has already: faster than gRPC's own.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"

namespace factord {

// Serves until the process ends. Listens on `address`, HOST:PORT with any port, and writes the one
// that it got to `port_file`, as factord does. Returns only to say why it cannot.
absl::Status RunEchoServer(const std::string& address, const std::string& port_file);

}  // namespace factord
