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

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string message = status.error_message();
  const std::vector<std::string> violations =
      UnmentionedViolations(status.error_details(), message);
  if (!violations.empty()) {
    absl::StrAppend(&message, message.empty() ? "" : ": ", absl::StrJoin(violations, "; "));
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
}

}  // namespace factord
