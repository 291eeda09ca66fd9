#include "client/retrier.h"

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"

namespace factord {
namespace {

// The first is short for a call; the last bounds how late a call notices that the server is back.
// Calls that fail for want of a connection cost the server nothing.
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);
constexpr absl::Duration kLastBackoff = absl::Milliseconds(500);

}  // namespace

std::optional<absl::Duration> Pushback(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto it = metadata.find("grpc-retry-pushback-ms");
  if (it == metadata.end()) return std::nullopt;
  int64_t millis = 0;
  // As gRPC has it: what is no number forbids to try again.
  if (!absl::SimpleAtoi(absl::string_view(it->second.data(), it->second.size()), &millis)) {
    millis = -1;
  }
  return absl::Milliseconds(millis);
}

void WaitOrReconnect(grpc::Channel* channel, absl::Time end) {
  if (channel->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY) {
    absl::SleepFor(end - absl::Now());
  } else {
    channel->WaitForConnected(absl::ToChronoTime(end));
  }
}

Retrier::Retrier(absl::Time deadline)
    : deadline_(deadline), backoff_(kFirstBackoff, kLastBackoff) {}

bool Retrier::WaitToRetry(grpc::Channel* channel, const grpc::ClientContext& context,
                          const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) return false;
  const std::optional<absl::Duration> pushback = Pushback(context);
  if (absl::IsResourceExhausted(status) && !pushback.has_value()) return false;
  const absl::Duration asked = pushback.value_or(absl::ZeroDuration());
  if (asked < absl::ZeroDuration()) return false;
  const absl::Time next = absl::Now() + asked + backoff_.Next();
  if (next >= deadline_) return false;
  WaitOrReconnect(channel, next);
  ++attempts_;
  return true;
}

}  // namespace factord
