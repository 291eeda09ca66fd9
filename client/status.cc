#include "client/status.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace factord {
namespace {

// The violations within grpc-status-details-bin that `message` does not mention.
std::vector<std::string> UnmentionedViolations(const std::string& details,
                                               absl::string_view message) {
  std::vector<std::string> violations;
  google::rpc::Status status;
  if (!status.ParseFromString(details)) return violations;
  for (const google::protobuf::Any& detail : status.details()) {
    google::rpc::BadRequest bad_request;
    if (!detail.Is<google::rpc::BadRequest>() || !detail.UnpackTo(&bad_request)) continue;
    for (const auto& violation : bad_request.field_violations()) {
      std::string text = absl::StrCat(violation.field(), ": ", violation.description());
      if (!absl::StrContains(message, text)) violations.push_back(std::move(text));
    }
  }
  return violations;
}

// gRPC says how a connection failed, which is not what to do about it.
absl::string_view ConnectionAdvice(absl::string_view message) {
  if (absl::StrContains(message, "is not in peer certificate")) {
    return "; the server's certificate is for another name: connect to a name that it holds, or "
           "give that name as tls_server_name";
  }
  if (absl::StrContains(message, "certificate verify failed")) {
    return "; the server's certificate has expired or does not come from a CA in tls_ca_file "
           "(without that, the system's)";
  }
  if (absl::StrContains(message, "empty address list")) {
    return "; TLS does not take the files of tls_ca_file, tls_cert_file or tls_key_file (a key "
           "that "
           "is too short?), there are no CAs of the system, or the target has no address";
  }
  if (absl::StrContains(message, "wrong version number")) {
    return "; the server does not speak TLS on this port";
  }
  if (absl::StrContains(message, "failed to connect") &&
      absl::StrContains(message, "Socket closed")) {
    return "; the server hung up: if it goes on, it may want TLS, or a client certificate "
           "(tls_cert_file) that it knows";
  }
  return "";
}

constexpr char kUnknownTokenAdvice[] =
    "; it is not in the server's --token_file (`factorctl token` makes a token and its line), or "
    "the server has not read that file again yet (--reload_interval)";

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string message = status.error_message();
  const std::vector<std::string> violations =
      UnmentionedViolations(status.error_details(), message);
  if (!violations.empty()) {
    absl::StrAppend(&message, message.empty() ? "" : ": ", absl::StrJoin(violations, "; "));
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    absl::StrAppend(&message, ConnectionAdvice(message));
  }
  if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED && message == "unknown token") {
    absl::StrAppend(&message, kUnknownTokenAdvice);
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
}

}  // namespace factord
