#include "server/rating_stream.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "server/event_conversion.h"
#include "server/message.h"
#include "server/status.h"

namespace factord {
namespace {

// Acknowledgements of batches are put together while one is being written, up to this size: a
// client accepts messages up to 4 MiB by default. That of one batch alone stays below: the reasons
// against 10,000 events have some 3 MB at the most.
constexpr size_t kMaxAckBytes = 1 << 20;
// What a rejected event takes beside its reason.
constexpr size_t kRejectedBytes = 24;
// A stream is read on only while no more than this of rejected events waits for an acknowledgement
// that the client is slow to read.
constexpr size_t kMaxWaitingBytes = 64 << 10;

absl::Status Draining() { return absl::UnavailableError("draining: the server is going down"); }

}  // namespace

// One call. gRPC's operations are started under mu_: they never run reactions on the calling
// thread.
class RatingStream final : public RatingStreams::Reactor,
                           public std::enable_shared_from_this<RatingStream> {
 public:
  RatingStream(RatingStreams* streams, grpc::CallbackServerContext* context)
      : streams_(streams), context_(context) {
    call_.emplace(streams->gate_, Rpc::kStreamRatings, context);
  }

  // Before anybody else knows of it.
  absl::Status Admit() { return call_->Admit(); }

  void Begin(const absl::Status& status) {
    MutexLock lock(&mu_);
    if (!status.ok()) return CloseLocked(status);
    if (closing_.has_value()) return;  // by a drain, meanwhile
    call_->Received(/*bytes=*/0);
    call_->StartTimer();  // until it has started
    ReadLocked();
  }

  // Submits nothing more once this returns; ends with `status` when what was submitted is
  // acknowledged.
  void Stop(const absl::Status& status) ABSL_LOCKS_EXCLUDED(submit_mu_, mu_) {
    {
      MutexLock lock(&submit_mu_);
      may_submit_ = false;
    }
    MutexLock lock(&mu_);
    CloseLocked(status);
  }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override {
    const std::shared_ptr<RatingStream> self = shared_from_this();
    streams_->Remove(producer_id_, self);
    pace_.Cancel();
    incoming_.Clear();
    call_.reset();
  }

 private:
  // A batch whose events are not all acknowledged yet.
  struct Batch {
    std::chrono::steady_clock::time_point received = std::chrono::steady_clock::now();
    int64_t last_number = 0;
    int32_t events = 0;
    bool settled = false;
    int64_t last_sequence = 0;
    int64_t duplicates = 0;
    std::vector<std::pair<int64_t, absl::Status>> rejected;  // by number

    // Of `rejected`, in an acknowledgement.
    size_t rejected_bytes() const {
      size_t bytes = 0;
      for (const auto& [number, why] : rejected) bytes += kRejectedBytes + why.message().size();
      return bytes;
    }
  };

  absl::Status HandleStart(const v1::StreamRatingsRequest& request);
  // The engine shares the request, since its events point into it.
  absl::Status HandleBatch(const std::shared_ptr<const v1::StreamRatingsRequest>& request);
  void Start(const absl::StatusOr<int64_t>& last_number);
  // `numbers`: of the events that were submitted.
  void Settle(Batch* batch, const std::vector<int64_t>& numbers, const RecordResult& result);

  // Reads on once the client, which has sent `events` more, is within its rate again, and reads
  // what it is told.
  void ReadPacedLocked(int64_t events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadWhenReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Does what can be done next: write, or finish.
  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteOrFinishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CollectLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountAnswerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::optional<CallGate::Call> call_;  // until OnDone
  RatingStreams* const streams_;
  grpc::CallbackServerContext* const context_;
  grpc::Alarm pace_;

  // Of the one read that is under way, and who handles it: no lock.
  grpc::ByteBuffer incoming_;
  const EngineHolder::Serving* serving_ = nullptr;  // null before `start`
  std::string producer_id_;                         // empty: anonymous
  int64_t last_number_ = 0;                         // of the events received
  // Of all batches, for the engine: a refusal is known here only later than there.
  const std::shared_ptr<bool> refused_before_ = std::make_shared<bool>(false);

  // Held while a batch is handed to the engine, which may call back on the same thread: never taken
  // in a callback. Before mu_.
  Mutex submit_mu_;
  bool may_submit_ ABSL_GUARDED_BY(submit_mu_) = true;

  Mutex mu_;
  // In order of arrival; elements keep their addresses.
  std::deque<Batch> batches_ ABSL_GUARDED_BY(mu_);
  int64_t unacknowledged_ ABSL_GUARDED_BY(mu_) = 0;  // events
  int64_t last_sequence_ ABSL_GUARDED_BY(mu_) = 0;   // applied for this stream
  int outstanding_ ABSL_GUARDED_BY(mu_) = 0;         // callbacks that the engine owes
  // The next message, and whether there is one.
  v1::StreamRatingsResponse next_ ABSL_GUARDED_BY(mu_);
  bool has_next_ ABSL_GUARDED_BY(mu_) = false;
  size_t next_rejected_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  size_t batch_rejected_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of all batches_
  bool waits_to_read_ ABSL_GUARDED_BY(mu_) = false;       // until less of that is there
  // The message that is being written, if any.
  grpc::ByteBuffer writing_ ABSL_GUARDED_BY(mu_);
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool is_broken_ ABSL_GUARDED_BY(mu_) = false;  // the client is gone: nothing can be written
  std::optional<absl::Status> closing_ ABSL_GUARDED_BY(mu_);
  bool is_finished_ ABSL_GUARDED_BY(mu_) = false;
};

void RatingStream::OnReadDone(bool ok) {
  const bool is_start = serving_ == nullptr;
  absl::Status status = absl::OkStatus();  // not ok: the client has sent all that it wants to
  int64_t events = 0;
  if (ok) {
    const auto request = std::make_shared<v1::StreamRatingsRequest>();
    status = ParseRequest(incoming_, streams_->limits_.batch_events(), request.get());
    incoming_.Clear();
    // From the start on the next read may be under way, and handled by another thread.
    if (status.ok()) status = is_start ? HandleStart(*request) : HandleBatch(request);
    events = request->batch().events_size();
  }
  MutexLock lock(&mu_);
  if (!ok || !status.ok()) {
    CloseLocked(status);
  } else if (!is_start) {  // after `start`, Start() reads on
    ReadPacedLocked(events);
  }
}

void RatingStream::ReadPacedLocked(int64_t events) {
  const auto wait = call_->PaceEvents(events);
  if (wait > wait.zero()) {
    // The alarm keeps what it calls, also after it has: a reference would be to itself.
    pace_.Set(std::chrono::system_clock::now() + wait, [weak = weak_from_this()](bool) {
      const std::shared_ptr<RatingStream> self = weak.lock();
      if (self == nullptr) return;
      MutexLock lock(&self->mu_);
      self->ReadWhenReadLocked();
    });
    return;
  }
  ReadWhenReadLocked();
}

void RatingStream::ReadWhenReadLocked() {
  waits_to_read_ = next_rejected_bytes_ + batch_rejected_bytes_ > kMaxWaitingBytes;
  if (!waits_to_read_) ReadLocked();
}

absl::Status RatingStream::HandleStart(const v1::StreamRatingsRequest& request) {
  if (!request.has_start()) {
    return BadRequest({{"message", "must be `start` in the first message of a stream"}});
  }
  const v1::StreamStart& start = request.start();
  FACTORD_ASSIGN_OR_RETURN(serving_, streams_->engines_->Get(start.model()));
  const Violations violations = ValidateStreamStart(start, streams_->limits_);
  if (!violations.empty()) return BadRequest(violations);
  {
    MutexLock lock(&mu_);
    if (closing_.has_value()) return absl::OkStatus();  // the engine may be gone
    ++outstanding_;
  }
  if (start.producer_id().empty()) {
    Start(0);
    return absl::OkStatus();
  }
  producer_id_ = start.producer_id();
  streams_->TakeOver(producer_id_, shared_from_this());
  serving_->engine->LastProducerNumber(
      producer_id_, [self = shared_from_this()](const absl::StatusOr<int64_t>& last_number) {
        self->Start(last_number);
      });
  return absl::OkStatus();
}

void RatingStream::Start(const absl::StatusOr<int64_t>& last_number) {
  MutexLock lock(&mu_);
  --outstanding_;
  if (!last_number.ok()) {
    if (absl::IsResourceExhausted(last_number.status())) {
      call_->metrics().CountRefusal(Refusal::kProducers);
    }
    return CloseLocked(last_number.status());
  }
  call_->StopTimer();
  next_.mutable_started()->set_last_number(*last_number);
  next_.mutable_started()->set_window_events(streams_->window_events_);
  has_next_ = true;
  AdvanceLocked();
  // What the client owes from other streams counts.
  if (!closing_.has_value()) ReadPacedLocked(0);
}

absl::Status RatingStream::HandleBatch(
    const std::shared_ptr<const v1::StreamRatingsRequest>& request) {
  if (!request->has_batch()) {
    return BadRequest({{"message", "must be `batch` after the first message of a stream"}});
  }
  FACTORD_RETURN_IF_ERROR(call_->CheckTokenAgain());
  const v1::StreamBatch& message = request->batch();
  const Violations violations = ValidateStreamBatch(message, last_number_, streams_->limits_);
  if (!violations.empty()) return BadRequest(violations);
  const int32_t count = message.events_size();
  last_number_ = message.first_number() + count - 1;

  Batch batch;
  batch.last_number = last_number_;
  batch.events = count;
  std::vector<int64_t> numbers;
  numbers.reserve(count);
  RecordRequest record;
  record.allow_partial = true;
  record.refused_before = refused_before_;
  record.events.reserve(count);
  for (int i = 0; i < count; ++i) {
    const int64_t number = message.first_number() + i;
    const Violations bad = ValidateRating(message.events(i), streams_->limits_, serving_->config);
    if (!bad.empty()) {
      batch.rejected.emplace_back(number, absl::InvalidArgumentError(ToString(bad)));
      continue;
    }
    Event event = ToEvent(message.events(i), serving_->config);
    if (!producer_id_.empty()) {
      event.producer_id = producer_id_;
      event.producer_number = number;
    }
    numbers.push_back(number);
    record.events.push_back(event);
  }
  call_->metrics().CountRejectedEvents(static_cast<int64_t>(batch.rejected.size()));

  Batch* queued = nullptr;
  {
    MutexLock lock(&mu_);
    if (closing_.has_value()) return absl::OkStatus();  // meanwhile; it was read before
    if (unacknowledged_ + count > streams_->window_events_) {
      return absl::InvalidArgumentError(absl::StrCat("batch.events: more than window_events (",
                                                     streams_->window_events_,
                                                     ") events are unacknowledged"));
    }
    unacknowledged_ += count;
    ++outstanding_;
    batch_rejected_bytes_ += batch.rejected_bytes();
    queued = &batches_.emplace_back(std::move(batch));
  }
  if (record.events.empty()) {
    Settle(queued, numbers, RecordResult());
    return absl::OkStatus();
  }
  record.done = [self = shared_from_this(), request, queued, numbers = std::move(numbers)](
                    const RecordResult& result) { self->Settle(queued, numbers, result); };
  {
    MutexLock lock(&submit_mu_);
    if (may_submit_) {
      serving_->engine->Record(std::move(record));
      return absl::OkStatus();
    }
  }
  record.done({.status = Draining(),
               .events = {}});  // stopped meanwhile, for a reason that is known already
  return absl::OkStatus();
}

void RatingStream::Settle(Batch* batch, const std::vector<int64_t>& numbers,
                          const RecordResult& result) {
  MutexLock lock(&mu_);
  --outstanding_;
  if (!result.status.ok()) return CloseLocked(result.status);
  call_->metrics().stream_batches().Observe(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - batch->received).count());
  batch_rejected_bytes_ -= batch->rejected_bytes();
  for (size_t i = 0; i < numbers.size(); ++i) {
    const EventResult& event = result.events[i];
    switch (event.outcome) {
      case EventResult::Outcome::kApplied:
        batch->last_sequence = std::max(batch->last_sequence, event.sequence);
        break;
      case EventResult::Outcome::kDuplicate:
        ++batch->duplicates;
        break;
      case EventResult::Outcome::kConflict:
      case EventResult::Outcome::kRefused:
        batch->rejected.emplace_back(numbers[i], RejectionOf(event));
        break;
    }
  }
  batch_rejected_bytes_ += batch->rejected_bytes();
  std::sort(batch->rejected.begin(), batch->rejected.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  batch->settled = true;
  AdvanceLocked();
}

void RatingStream::OnWriteDone(bool ok) {
  MutexLock lock(&mu_);
  is_writing_ = false;
  writing_.Clear();
  call_->HoldAcknowledgements(0);
  call_->StopTimer();
  if (ok) return AdvanceLocked();
  is_broken_ = true;
  CloseLocked(absl::CancelledError("the client is gone"));
}

void RatingStream::OnCancel() {
  MutexLock lock(&mu_);
  is_broken_ = true;
  CloseLocked(absl::CancelledError("the client is gone"));
}

void RatingStream::ReadLocked() {
  if (closing_.has_value()) return;
  StartRead(&incoming_);
}

void RatingStream::CloseLocked(const absl::Status& status) {
  // The first reason counts, but a failure is never hidden by the end of the client's messages.
  if (!closing_.has_value() || closing_->ok()) closing_ = status;
  AdvanceLocked();
}

void RatingStream::AdvanceLocked() {
  if (is_finished_) return;
  if (closing_.has_value() && outstanding_ == 0) call_->Settled();
  if (!is_writing_) WriteOrFinishLocked();
  if (is_finished_) return;  // and call_ may be gone
  CountAnswerLocked();
  if (waits_to_read_) ReadWhenReadLocked();
}

void RatingStream::WriteOrFinishLocked() {
  CollectLocked();
  if (has_next_ && !is_broken_) {
    has_next_ = false;
    is_writing_ = true;
    (void)Serialize(next_, &writing_);  // fails beyond 2 GiB only
    next_.Clear();
    next_rejected_bytes_ = 0;
    call_->StartTimer();
    StartWrite(&writing_);
  } else if (closing_.has_value() && outstanding_ == 0) {
    is_finished_ = true;
    call_->Answered(closing_->raw_code());
    Finish(ToGrpc(context_, *closing_));
  }
}

// Moves what is settled from the front of the queue into the next acknowledgement. The client may
// see it from here on, so its events leave the window.
void RatingStream::CollectLocked() {
  if (next_.has_started()) return;  // it goes alone
  while (!batches_.empty() && batches_.front().settled) {
    Batch& batch = batches_.front();
    const size_t bytes = batch.rejected_bytes();
    if (has_next_ && next_rejected_bytes_ + bytes > kMaxAckBytes) return;
    next_rejected_bytes_ += bytes;
    batch_rejected_bytes_ -= bytes;
    v1::StreamAck* const ack = next_.mutable_ack();
    ack->set_last_number(batch.last_number);
    last_sequence_ = std::max(last_sequence_, batch.last_sequence);
    ack->set_last_sequence(last_sequence_);
    ack->set_duplicates(ack->duplicates() + batch.duplicates);
    for (const auto& [number, why] : batch.rejected) {
      v1::RejectedEvent* const rejected = ack->add_rejected();
      rejected->set_number(number);
      SetRejection(why, rejected);
    }
    unacknowledged_ -= batch.events;
    has_next_ = true;
    batches_.pop_front();
  }
}

// A stream that holds little is not the one to blame where there is no room.
void RatingStream::CountAnswerLocked() {
  const size_t bytes = writing_.Length() + next_rejected_bytes_ + batch_rejected_bytes_;
  if (call_->HoldAcknowledgements(bytes) || bytes <= kMaxWaitingBytes) return;
  call_->metrics().CountRefusal(Refusal::kUnreadAnswers);
  context_->TryCancel();
}

RatingStreams::Reactor* RatingStreams::Open(grpc::CallbackServerContext* context) {
  auto stream = std::make_shared<RatingStream>(this, context);
  absl::Status status = stream->Admit();
  {
    MutexLock lock(&mu_);
    streams_.insert(stream);
    if (status.ok() && draining_) status = Draining();
  }
  stream->Begin(status);
  return stream.get();
}

void RatingStreams::Drain() {
  MutexLock lock(&mu_);
  draining_ = true;
  for (const auto& stream : streams_) stream->Stop(Draining());
}

void RatingStreams::TakeOver(const std::string& producer_id,
                             const std::shared_ptr<RatingStream>& stream) {
  // The lock is held throughout: of three streams, the second must have stopped the first before
  // the third stops the second.
  MutexLock lock(&mu_);
  std::shared_ptr<RatingStream>& current = by_producer_[producer_id];
  if (current != nullptr) {
    current->Stop(absl::AbortedError("a newer stream of the same producer took over"));
  }
  current = stream;
}

void RatingStreams::Remove(const std::string& producer_id,
                           const std::shared_ptr<RatingStream>& stream) {
  MutexLock lock(&mu_);
  streams_.erase(stream);
  const auto current = by_producer_.find(producer_id);
  if (current != by_producer_.end() && current->second == stream) by_producer_.erase(current);
}

}  // namespace factord
