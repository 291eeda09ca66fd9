#include "client/client.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/channel.h"
#include "client/credentials.h"
#include "client/request_check.h"
#include "client/retrier.h"
#include "client/status.h"
#include "client/target.h"
#include "grpcpp/client_context.h"

namespace factord {
namespace {

absl::Duration OrDefault(absl::Duration timeout, absl::Duration fallback) {
  return timeout == absl::ZeroDuration() ? fallback : timeout;
}

// docs/consistency.md: after these a write may have happened.
bool HasUnknownOutcome(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status);
}

// False only for a call that no connection was found for: its peer is then the target, as it was
// given, instead of an address.
bool WasSent(const grpc::ClientContext& context, const std::string& target) {
  return context.peer() != target || absl::StartsWith(target, "ip") ||
         absl::StartsWith(target, "unix");
}

}  // namespace

absl::Status Client::Options::Validate() const {
  std::vector<std::string> bad;
  const std::string bad_target = CheckTarget(target);
  if (!bad_target.empty()) bad.push_back(absl::StrCat("target: ", bad_target));
  if (read_timeout <= absl::ZeroDuration()) bad.push_back("read_timeout: must be above 0");
  if (write_timeout <= absl::ZeroDuration()) bad.push_back("write_timeout: must be above 0");
  if (admin_timeout <= absl::ZeroDuration()) bad.push_back("admin_timeout: must be above 0");
  if (max_response_bytes <= 0) bad.push_back("max_response_bytes: must be above 0");
  CheckCredentials(*this, &bad);
  if (bad.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(bad, "; "));
}

absl::StatusOr<std::unique_ptr<Client>> Client::Create(Options options) {
  FACTORD_RETURN_IF_ERROR(options.Validate());
  FACTORD_ASSIGN_OR_RETURN(std::shared_ptr<Channels> channels, Channels::Create(options));
  return std::unique_ptr<Client>(new Client(std::move(options), std::move(channels)));
}

Client::Client(Options options, std::shared_ptr<Channels> channels)
    : options_(std::move(options)), channels_(std::move(channels)) {}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Call(Method<Stub, Request, Response> method,
                                      const Request& request, absl::Duration timeout, Repeat repeat,
                                      bool* maybe_done) {
  FACTORD_RETURN_IF_ERROR(CheckText(request));
  if (timeout < absl::ZeroDuration()) {
    return absl::DeadlineExceededError(absl::StrCat(
        "not sent: the timeout, ", absl::FormatDuration(timeout), ", is over before the call"));
  }
  const absl::Time deadline = absl::Now() + timeout;
  Retrier retrier(deadline);
  absl::Status last_error;
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    Response response;
    const std::shared_ptr<grpc::Channel> channel = channels_->Current();
    Stub stub(channel);
    const absl::Status status = FromGrpcStatus((stub.*method)(&context, request, &response));
    if (status.ok()) return response;
    if (maybe_done != nullptr && HasUnknownOutcome(status) && WasSent(context, options_.target)) {
      *maybe_done = true;
    }
    if (absl::IsDeadlineExceeded(status)) {
      return NoAnswer(channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY, timeout,
                      retrier.attempts(), last_error);
    }
    last_error = status;
    if (repeat == Repeat::kUntilDeadline && retrier.WaitToRetry(channel.get(), context, status)) {
      continue;
    }
    if (retrier.attempts() == 1) return status;
    return absl::Status(status.code(),
                        absl::StrCat(status.message(), "; gave up after ", retrier.attempts(),
                                     " attempts in ", absl::FormatDuration(timeout)));
  }
}

// gRPC's "Deadline Exceeded" does not say whether there is a server at all.
absl::Status Client::NoAnswer(bool is_connected, absl::Duration timeout, int attempts,
                              const absl::Status& last_error) const {
  return absl::DeadlineExceededError(absl::StrCat(
      is_connected ? "no answer from " : "no connection to ", options_.target, " within ",
      absl::FormatDuration(timeout),
      attempts == 1 ? "" : absl::StrCat(", in ", attempts, " attempts"),
      last_error.ok() ? "" : absl::StrCat("; the last error: ", last_error.message())));
}

void Client::StampEventIds(v1::RecordRatingsRequest* request) {
  factord::StampEventIds(&event_ids_, request);
}

absl::StatusOr<v1::RecordRatingsResponse> Client::RecordRatings(v1::RecordRatingsRequest request,
                                                                absl::Duration timeout) {
  StampEventIds(&request);
  bool maybe_recorded = false;
  auto response =
      Call<v1::RatingService::Stub, v1::RecordRatingsRequest, v1::RecordRatingsResponse>(
          &v1::RatingService::Stub::RecordRatings, request,
          OrDefault(timeout, options_.write_timeout), Repeat::kUntilDeadline, &maybe_recorded);
  if (response.ok() || !maybe_recorded) return response;
  return absl::Status(
      response.status().code(),
      absl::StrCat(response.status().message(),
                   "; whether the ratings were recorded is unknown: send them again with the same "
                   "event ids"));
}

absl::StatusOr<v1::RecommendItemsResponse> Client::RecommendItems(
    const v1::RecommendItemsRequest& request, absl::Duration timeout) {
  return Call<v1::RecommendationService::Stub, v1::RecommendItemsRequest,
              v1::RecommendItemsResponse>(&v1::RecommendationService::Stub::RecommendItems, request,
                                          OrDefault(timeout, options_.read_timeout),
                                          Repeat::kUntilDeadline);
}

absl::StatusOr<v1::PredictRatingsResponse> Client::PredictRatings(
    const v1::PredictRatingsRequest& request, absl::Duration timeout) {
  return Call<v1::RecommendationService::Stub, v1::PredictRatingsRequest,
              v1::PredictRatingsResponse>(&v1::RecommendationService::Stub::PredictRatings, request,
                                          OrDefault(timeout, options_.read_timeout),
                                          Repeat::kUntilDeadline);
}

absl::StatusOr<v1::GetModelResponse> Client::GetModel(const v1::GetModelRequest& request,
                                                      absl::Duration timeout) {
  return Call<v1::ModelService::Stub, v1::GetModelRequest, v1::GetModelResponse>(
      &v1::ModelService::Stub::GetModel, request, OrDefault(timeout, options_.read_timeout),
      Repeat::kUntilDeadline);
}

absl::StatusOr<v1::ListTopicsResponse> Client::ListTopics(const v1::ListTopicsRequest& request,
                                                          absl::Duration timeout) {
  return Call<v1::ModelService::Stub, v1::ListTopicsRequest, v1::ListTopicsResponse>(
      &v1::ModelService::Stub::ListTopics, request, OrDefault(timeout, options_.read_timeout),
      Repeat::kUntilDeadline);
}

absl::StatusOr<v1::GetFactorsResponse> Client::GetFactors(const v1::GetFactorsRequest& request,
                                                          absl::Duration timeout) {
  return Call<v1::ModelService::Stub, v1::GetFactorsRequest, v1::GetFactorsResponse>(
      &v1::ModelService::Stub::GetFactors, request, OrDefault(timeout, options_.read_timeout),
      Repeat::kUntilDeadline);
}

absl::StatusOr<v1::CreateSnapshotResponse> Client::CreateSnapshot(
    const v1::CreateSnapshotRequest& request, absl::Duration timeout) {
  return Call<v1::AdminService::Stub, v1::CreateSnapshotRequest, v1::CreateSnapshotResponse>(
      &v1::AdminService::Stub::CreateSnapshot, request, OrDefault(timeout, options_.admin_timeout),
      Repeat::kNever);
}

absl::StatusOr<v1::ComputeHashResponse> Client::ComputeHash(const v1::ComputeHashRequest& request,
                                                            absl::Duration timeout) {
  return Call<v1::AdminService::Stub, v1::ComputeHashRequest, v1::ComputeHashResponse>(
      &v1::AdminService::Stub::ComputeHash, request, OrDefault(timeout, options_.admin_timeout),
      Repeat::kUntilDeadline);
}

absl::StatusOr<v1::BackupResponse> Client::Backup(const v1::BackupRequest& request,
                                                  absl::Duration timeout) {
  return Call<v1::AdminService::Stub, v1::BackupRequest, v1::BackupResponse>(
      &v1::AdminService::Stub::Backup, request, OrDefault(timeout, options_.admin_timeout),
      Repeat::kNever);
}

absl::StatusOr<v1::StartPassesResponse> Client::StartPasses(const v1::StartPassesRequest& request,
                                                            absl::Duration timeout) {
  return Call<v1::AdminService::Stub, v1::StartPassesRequest, v1::StartPassesResponse>(
      &v1::AdminService::Stub::StartPasses, request, OrDefault(timeout, options_.write_timeout),
      Repeat::kNever);
}

absl::StatusOr<v1::GetPassesResponse> Client::GetPasses(const v1::GetPassesRequest& request,
                                                        absl::Duration timeout) {
  return Call<v1::AdminService::Stub, v1::GetPassesRequest, v1::GetPassesResponse>(
      &v1::AdminService::Stub::GetPasses, request, OrDefault(timeout, options_.read_timeout),
      Repeat::kUntilDeadline);
}

absl::StatusOr<v1::StopPassesResponse> Client::StopPasses(const v1::StopPassesRequest& request,
                                                          absl::Duration timeout) {
  return Call<v1::AdminService::Stub, v1::StopPassesRequest, v1::StopPassesResponse>(
      &v1::AdminService::Stub::StopPasses, request, OrDefault(timeout, options_.admin_timeout),
      Repeat::kUntilDeadline);
}

absl::StatusOr<grpc::health::v1::HealthCheckResponse> Client::CheckHealth(
    const std::string& service, absl::Duration timeout) {
  using grpc::health::v1::Health;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  return Call<Health::Stub, grpc::health::v1::HealthCheckRequest,
              grpc::health::v1::HealthCheckResponse>(
      &Health::Stub::Check, request, OrDefault(timeout, options_.read_timeout), Repeat::kNever);
}

void Client::WaitOrConnect(absl::Time end) { WaitOrReconnect(channels_->Current().get(), end); }

absl::StatusOr<std::unique_ptr<RatingStream>> Client::StreamRatings(RatingStream::Options options) {
  return RatingStream::Create([channels = channels_] { return channels->Current(); },
                              std::move(options));
}

}  // namespace factord
