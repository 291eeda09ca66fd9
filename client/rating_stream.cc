#include "client/rating_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/utf8.h"
#include "client/request_check.h"
#include "client/retrier.h"
#include "client/status.h"

namespace factord {
namespace {

// Below every default for a message's size, the least of which is 4 MiB; --max_message_bytes can be
// less. A thousand ratings have less by far, unless all their ids are as long as can be.
constexpr size_t kMaxBatchBytes = size_t{1} << 20;

// The tag and the length of a rating within a batch.
constexpr size_t kFrameBytes = 4;

// The connection may work again, or another one will. Everything else would only fail again.
bool IsWorthAReconnect(const grpc::ClientContext& context, const absl::Status& status) {
  if (!absl::IsResourceExhausted(status)) {
    return absl::IsUnavailable(status) || absl::IsCancelled(status);
  }
  // Too much for now: the server says when to come back, or gRPC itself, short of memory, has reset
  // the stream. Everything else will be too much again.
  const std::optional<absl::Duration> pushback = Pushback(context);
  if (pushback.has_value()) return *pushback >= absl::ZeroDuration();
  return absl::StrContains(status.message(), "RST_STREAM");
}

absl::Status WithRemedy(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status) ||
      !absl::StrContains(status.message(), "larger than max")) {
    return status;
  }
  return absl::ResourceExhaustedError(
      absl::StrCat(status.message(),
                   "; a batch is too large for the server: lower max_batch_events, or raise the "
                   "server's --max_message_bytes"));
}

}  // namespace

absl::Status RatingStream::Options::Validate() const {
  std::vector<std::string> bad;
  // Without one, what was on its way when a connection broke could be applied twice.
  if (producer_id.empty()) bad.push_back("producer_id: must not be empty");
  if (!IsValidUtf8(producer_id)) bad.push_back("producer_id: is not valid UTF-8");
  if (!IsValidUtf8(model)) bad.push_back("model: is not valid UTF-8");
  if (max_batch_events < 1) bad.push_back("max_batch_events: must be at least 1");
  if (max_unacknowledged < 1) bad.push_back("max_unacknowledged: must be at least 1");
  if (ack_timeout.count() < 1) bad.push_back("ack_timeout: must be above 0");
  if (give_up_after.count() < 0) bad.push_back("give_up_after: must not be negative");
  if (initial_backoff.count() < 1) bad.push_back("initial_backoff: must be above 0");
  if (max_backoff < initial_backoff) bad.push_back("max_backoff: must be at least initial_backoff");
  if (bad.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(bad, "; "));
}

absl::StatusOr<std::unique_ptr<RatingStream>> RatingStream::Create(ChannelSource channel,
                                                                   Options options) {
  FACTORD_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<RatingStream>(new RatingStream(std::move(channel), std::move(options)));
}

RatingStream::RatingStream(ChannelSource channel, Options options)
    : options_(std::move(options)),
      channel_(std::move(channel)),
      backoff_(absl::FromChrono(options_.initial_backoff), absl::FromChrono(options_.max_backoff)) {
  thread_ = std::thread([this] { Run(); });
}

RatingStream::~RatingStream() {
  {
    MutexLock lock(&mu_);
    abandoned_ = true;
    if (context_ != nullptr) context_->TryCancel();
    changed_.NotifyAll();
  }
  thread_.join();
}

// --- The caller's side ---

absl::Status RatingStream::Write(int64_t number, v1::Rating rating) {
  FACTORD_RETURN_IF_ERROR(CheckRating(rating));
  MutexLock lock(&mu_);
  if (number < 1 || number <= last_written_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "number ", number, " must be at least 1 and larger than the one before, ", last_written_));
  }
  return WriteLocked(number, std::move(rating));
}

absl::Status RatingStream::Write(v1::Rating rating) {
  FACTORD_RETURN_IF_ERROR(CheckRating(rating));
  MutexLock lock(&mu_);
  // Only the server knows where this producer stopped.
  while (window_ == 0 && !finished_) WaitForChange();
  const int64_t last = std::max(last_written_, stats_.last_acknowledged_number);
  return WriteLocked(last + 1, std::move(rating));
}

absl::Status RatingStream::WriteLocked(int64_t number, v1::Rating rating) {
  while (pending_.size() >= Capacity() && !finished_) WaitForChange();
  if (!final_status_.ok()) return final_status_;
  if (closing_) return absl::FailedPreconditionError("the stream is closed");
  last_written_ = number;
  ++stats_.written;
  if (number <= stats_.last_acknowledged_number) {
    ++stats_.resumed;
    ++stats_.acknowledged;
    return absl::OkStatus();
  }
  pending_.push_back({number, std::move(rating)});
  changed_.NotifyAll();
  return absl::OkStatus();
}

// 0 until the first handshake: until then nothing says how much the server wants.
size_t RatingStream::Capacity() const {
  return static_cast<size_t>(std::min<int64_t>(options_.max_unacknowledged, window_));
}

absl::Status RatingStream::Flush() {
  MutexLock lock(&mu_);
  const int64_t target = last_written_;
  while (!pending_.empty() && pending_.front().number <= target && !finished_) WaitForChange();
  return final_status_;
}

absl::Status RatingStream::Close() {
  MutexLock lock(&mu_);
  closing_ = true;
  changed_.NotifyAll();
  while (!finished_) WaitForChange();
  return final_status_;
}

RatingStream::Stats RatingStream::stats() const {
  MutexLock lock(&mu_);
  return stats_;
}

void RatingStream::WaitForChange() {
  const Clock::time_point now = Clock::now();
  // Whoever waits also watches: the background threads may be blocked within gRPC.
  const bool expects_answer = context_ != nullptr && (!started_ || sent_ > 0 || closing_);
  Clock::time_point check = now + options_.ack_timeout;
  if (expects_answer) {
    check = last_progress_ + options_.ack_timeout;
    if (now >= check) {
      context_->TryCancel();
      check = now + std::chrono::milliseconds(10);  // until the cancellation arrives
    }
  }
  changed_.WaitUntil(&mu_, check);
}

// --- The background thread ---

void RatingStream::Run() {
  while (const auto delay = PrepareReconnect(ServeConnection())) {
    if (!Pause(*delay)) break;
  }
  MutexLock lock(&mu_);
  finished_ = true;
  changed_.NotifyAll();
}

std::optional<RatingStream::Clock::duration> RatingStream::PrepareReconnect(const End& end) {
  MutexLock lock(&mu_);
  if (HasNothingLeftToDo()) return std::nullopt;
  if (end.is_final) {
    final_status_ = end.status;
    return std::nullopt;
  }
  const Clock::time_point now = Clock::now();
  if (!trouble_since_.has_value()) trouble_since_ = now;
  const Clock::duration delay = absl::ToChronoNanoseconds(backoff_.Next());
  if (now + delay - *trouble_since_ > options_.give_up_after) {
    final_status_ = absl::UnavailableError(absl::StrCat(
        "gave up after ", absl::FormatDuration(absl::FromChrono(options_.give_up_after)),
        " without progress; the last error: ", end.status.ToString()));
    return std::nullopt;
  }
  return delay;
}

bool RatingStream::Pause(Clock::duration delay) {
  // Nothing interrupts gRPC while it waits for a connection, so it does that bit by bit.
  constexpr std::chrono::milliseconds kBit(20);
  const Clock::time_point end = Clock::now() + delay;
  while (Clock::now() < end) {
    const std::shared_ptr<grpc::Channel> channel = channel_();
    const bool is_lost = channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY;
    if (is_lost && channel->WaitForConnected(std::chrono::system_clock::now() + kBit)) break;
    MutexLock lock(&mu_);
    if (HasNothingLeftToDo()) return false;
    if (!is_lost) changed_.WaitUntil(&mu_, end);
  }
  return true;
}

RatingStream::End RatingStream::ServeConnection() {
  grpc::ClientContext context;
  {
    MutexLock lock(&mu_);
    if (abandoned_) return {absl::CancelledError("abandoned")};
    context_ = &context;
    last_progress_ = Clock::now();
    sent_ = 0;
  }
  const absl::Status status = ServeStream(&context);
  MutexLock lock(&mu_);
  context_ = nullptr;
  // A server may end a stream with OK only when it was asked to.
  if (status.ok() && !HasNothingLeftToDo()) {
    return {absl::UnavailableError("the server ended the stream")};
  }
  return {WithRemedy(status), /*is_final=*/!IsWorthAReconnect(context, status)};
}

absl::Status RatingStream::ServeStream(grpc::ClientContext* context) {
  auto stream = v1::RatingService::NewStub(channel_())->StreamRatings(context);
  absl::StatusOr<bool> started = Handshake(stream.get());
  absl::Status broken_protocol = started.status();
  if (started.ok() && *started) {
    std::thread reader([&] { broken_protocol = ReadAcks(stream.get()); });
    SendBatches(stream.get());
    reader.join();
  }
  if (!broken_protocol.ok()) context->TryCancel();
  const grpc::Status end = stream->Finish();
  return broken_protocol.ok() ? FromGrpcStatus(end) : broken_protocol;
}

absl::StatusOr<bool> RatingStream::Handshake(GrpcStream* stream) {
  v1::StreamRatingsRequest request;
  request.mutable_start()->set_model(options_.model);
  request.mutable_start()->set_producer_id(options_.producer_id);
  v1::StreamRatingsResponse response;
  if (!stream->Write(request) || !stream->Read(&response)) return false;
  if (!response.has_started()) {
    return absl::InternalError("the server's first message does not answer the start");
  }
  FACTORD_RETURN_IF_ERROR(HandleStarted(response.started()));
  return true;
}

absl::Status RatingStream::HandleStarted(const v1::StreamStarted& started) {
  if (started.window_events() < 1) {
    return absl::InternalError(
        absl::StrCat("the server advertises a window of ", started.window_events()));
  }
  MutexLock lock(&mu_);
  if (started.last_number() < durable_number_) {
    return absl::DataLossError(absl::StrCat("the server has acknowledged number ", durable_number_,
                                            " of producer '", options_.producer_id,
                                            "' and now knows only ", started.last_number(),
                                            ": it runs on another or an older data folder"));
  }
  if (window_ != 0) ++stats_.reconnects;
  window_ = started.window_events();
  durable_number_ = started.last_number();
  if (pending_.empty()) {
    SettleThrough(started.last_number());
  } else {
    // Some of these the server may have rejected. It says so again when it gets them again.
    resent_through_ = started.last_number();
  }
  if (pending_.empty()) trouble_since_.reset();
  started_ = true;
  last_progress_ = Clock::now();
  changed_.NotifyAll();
  return absl::OkStatus();
}

void RatingStream::SendBatches(GrpcStream* stream) {
  v1::StreamRatingsRequest request;
  while (NextBatch(request.mutable_batch())) {
    if (!stream->Write(request)) return;  // the reader notices the end, too
  }
  stream->WritesDone();
}

bool RatingStream::NextBatch(v1::StreamBatch* batch) {
  MutexLock lock(&mu_);
  const auto sendable = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return sent_ < pending_.size() && sent_ < static_cast<size_t>(window_);
  };
  while (started_ && !HasNothingLeftToDo() && !sendable()) changed_.Wait(&mu_);
  if (!started_ || HasNothingLeftToDo()) return false;
  if (sent_ == 0) last_progress_ = Clock::now();  // from now on an answer is due
  batch->Clear();
  batch->set_first_number(pending_[sent_].number);
  // A gap in the numbers ends the batch.
  size_t bytes = 0;
  while (sendable() && batch->events_size() < options_.max_batch_events &&
         pending_[sent_].number == batch->first_number() + batch->events_size()) {
    const v1::Rating& rating = pending_[sent_].rating;
    bytes += rating.ByteSizeLong() + kFrameBytes;
    if (bytes > kMaxBatchBytes && batch->events_size() > 0) break;
    *batch->add_events() = rating;
    ++sent_;
  }
  return true;
}

absl::Status RatingStream::ReadAcks(GrpcStream* stream) {
  v1::StreamRatingsResponse response;
  absl::Status status;
  while (status.ok() && stream->Read(&response)) {
    status = response.has_ack()
                 ? HandleAck(response.ack())
                 : absl::InternalError("the server sent something else than an acknowledgement");
  }
  MutexLock lock(&mu_);
  started_ = false;  // ends SendBatches
  if (!status.ok()) context_->TryCancel();
  changed_.NotifyAll();
  return status;
}

absl::Status RatingStream::HandleAck(const v1::StreamAck& ack) {
  ReportRejected(ack);
  MutexLock lock(&mu_);
  const int64_t newest = sent_ == 0 ? stats_.last_acknowledged_number : pending_[sent_ - 1].number;
  if (ack.last_number() < stats_.last_acknowledged_number || ack.last_number() > newest) {
    return absl::InternalError(absl::StrCat("the server acknowledges number ", ack.last_number(),
                                            " where it must be ", stats_.last_acknowledged_number,
                                            " to ", newest));
  }
  int64_t recovered = 0, last_taken = 0;
  int rejected = 0;
  for (const Pending& pending : pending_) {
    if (pending.number > ack.last_number()) break;
    if (rejected < ack.rejected_size() && ack.rejected(rejected).number() == pending.number) {
      ++rejected;
    } else {
      last_taken = pending.number;
      recovered += pending.number <= resent_through_;
    }
  }
  // The number of a duplicate by event_id is not remembered, and the acknowledgement does not say
  // which ones those are.
  if (ack.duplicates() == recovered) durable_number_ = std::max(durable_number_, last_taken);
  const int64_t settled = SettleThrough(ack.last_number());
  stats_.rejected += ack.rejected_size();
  stats_.recovered += recovered;
  stats_.duplicates += ack.duplicates() - recovered;
  stats_.applied += settled - ack.rejected_size() - ack.duplicates();
  stats_.last_sequence = std::max(stats_.last_sequence, ack.last_sequence());
  last_progress_ = Clock::now();
  changed_.NotifyAll();
  return absl::OkStatus();
}

// Before the numbers are settled, so that who comes back from Flush has heard of every rejection.
void RatingStream::ReportRejected(const v1::StreamAck& ack) {
  if (!options_.on_rejected) return;
  for (const v1::RejectedEvent& event : ack.rejected()) {
    v1::Rating rating;
    {
      MutexLock lock(&mu_);
      const auto it = std::lower_bound(
          pending_.begin(), pending_.end(), event.number(),
          [](const Pending& pending, int64_t number) { return pending.number < number; });
      if (it != pending_.end() && it->number == event.number()) rating = it->rating;
    }
    const auto code = event.code() == 0 ? absl::StatusCode::kUnknown
                                        : static_cast<absl::StatusCode>(event.code());
    options_.on_rejected(event.number(), rating, absl::Status(code, event.reason()));
  }
}

int64_t RatingStream::SettleThrough(int64_t number) {
  int64_t settled = 0;
  while (!pending_.empty() && pending_.front().number <= number) {
    pending_.pop_front();
    ++settled;
  }
  sent_ -= std::min(sent_, static_cast<size_t>(settled));
  stats_.acknowledged += settled;
  stats_.last_acknowledged_number = std::max(stats_.last_acknowledged_number, number);
  if (settled > 0) {
    trouble_since_.reset();
    backoff_.Reset();
  }
  return settled;
}

}  // namespace factord
