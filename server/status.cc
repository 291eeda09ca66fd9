#include "server/status.h"

#include <algorithm>
#include <string>

#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace factord {
namespace {

// Together they stay below the 8 KiB of metadata that a gRPC client accepts by default: the message
// goes once as text and once inside the details, which travel as base64 (4 bytes for 3).
constexpr size_t kMaxMessageBytes = 1'000;
constexpr size_t kMaxBadRequestBytes = 3'000;

constexpr char kTypePrefix[] = "type.googleapis.com/";
constexpr char kBadRequestType[] = "type.googleapis.com/google.rpc.BadRequest";

constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";
// As gRPC has it: a negative one forbids to try again.
constexpr std::chrono::milliseconds kDoNotRetry{-1};

// A message may repeat what the client sent; a name of a megabyte would not reach it.
constexpr size_t kMaxTextBytes = 2'000;

std::string Shortened(absl::string_view text) {
  if (text.size() <= kMaxTextBytes) return std::string(text);
  size_t end = kMaxTextBytes;
  while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not within a character
  return absl::StrCat(text.substr(0, end), "...");
}

// Details travel only where there is something to tell beyond code and message.
std::string Details(const absl::Status& status) {
  google::rpc::Status details;
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& payload) {
    if (type_url.substr(0, sizeof(kTypePrefix) - 1) != kTypePrefix) return;
    google::protobuf::Any* any = details.add_details();
    any->set_type_url(std::string(type_url));
    any->set_value(std::string(payload));
  });
  if (details.details().empty()) return "";
  details.set_code(status.raw_code());
  details.set_message(std::string(status.message()));
  return details.SerializeAsString();
}

}  // namespace

absl::Status BadRequest(const Violations& violations) {
  google::rpc::BadRequest bad_request;
  std::string message;
  size_t told = 0;
  for (const Violation& violation : violations) {
    const std::string text = absl::StrCat(violation.field, ": ", violation.rule);
    if (told > 0 && message.size() + text.size() > kMaxMessageBytes) break;
    absl::StrAppend(&message, told == 0 ? "" : "; ", text);
    ++told;
  }
  if (told < violations.size()) {
    absl::StrAppend(&message, "; and ", violations.size() - told, " more");
  }
  size_t bytes = 0;
  for (const Violation& violation : violations) {
    bytes += violation.field.size() + violation.rule.size() + 6;  // tags and lengths
    if (bytes > kMaxBadRequestBytes && bad_request.field_violations_size() > 0) break;
    auto* field_violation = bad_request.add_field_violations();
    field_violation->set_field(violation.field);
    field_violation->set_description(violation.rule);
  }
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kBadRequestType, absl::Cord(bad_request.SerializeAsString()));
  return status;
}

grpc::Status ToGrpc(grpc::CallbackServerContext* context, const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  if (status.code() == absl::StatusCode::kResourceExhausted) {
    const auto wait = RetryAfterOf(status).value_or(kDoNotRetry);
    context->AddTrailingMetadata(kPushbackKey, absl::StrCat(wait.count()));
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()), Shortened(status.message()),
                      Details(status));
}

}  // namespace factord
