// What is a target: HOST:PORT, or a name that gRPC resolves by its scheme (dns:///, ipv4:, unix:).
// Thread-safe.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace factord {

// What is wrong with `target` ("must be HOST:PORT, ..."); empty: nothing. gRPC would take any text,
// and only fail to connect.
std::string CheckTarget(absl::string_view target);

// True where no address of `target`, as gRPC understands it, can leave this machine: "localhost",
// 127.0.0.0/8, [::1] and Unix sockets.
bool IsLoopback(absl::string_view target);

}  // namespace factord
