#include "benchmarks/load.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <utility>

#include "factord/v1/rating_service.pb.h"

namespace factord {
namespace {

absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace

// --- Pacer
// ------------------------------------------------------------------------------------------

Pacer::Pacer(double per_second, std::function<void(Clock::time_point due)> tick)
    : thread_([this, per_second, tick = std::move(tick)] {
        const Clock::time_point start = Clock::now();
        for (int64_t i = 0; !stop_; ++i) {
          const auto due =
              start + std::chrono::duration_cast<Clock::duration>(
                          std::chrono::duration<double>(static_cast<double>(i) / per_second));
          std::this_thread::sleep_until(due);
          tick(due);
        }
      }) {}

Pacer::~Pacer() {
  stop_ = true;
  thread_.join();
}

// --- Calls
// ------------------------------------------------------------------------------------------

// Makes one call after another.
class CallLoad::Call final : public grpc::ClientUnaryReactor {
 public:
  Call(CallLoad* load, std::shared_ptr<grpc::Channel> channel)
      : load_(load), stub_(std::move(channel)) {}

  void Begin(Clock::time_point since) {
    since_ = since;
    context_.emplace();
    response_.Clear();
    request_ = load_->options_.make_request();
    stub_.PrepareUnaryCall(&*context_, load_->options_.method, {}, &request_, &response_, this);
    StartCall();
  }

  void OnDone(const grpc::Status& status) override {
    const Clock::time_point now = Clock::now();
    if (status.ok()) {
      load_->meter_->Done(since_, now, 1, static_cast<int64_t>(response_.Length()));
    }
    if (load_->Ended(this, ToStatus(status))) Begin(now);
  }

 private:
  CallLoad* const load_;
  grpc::GenericStub stub_;
  std::optional<grpc::ClientContext> context_;
  grpc::ByteBuffer request_, response_;
  Clock::time_point since_;
};

CallLoad::CallLoad(Channels channels, Options options, Meter* meter)
    : channels_(std::move(channels)), options_(std::move(options)), meter_(meter) {
  if (options_.per_second.has_value()) {
    pacer_.emplace(*options_.per_second, [this](Clock::time_point due) { FreeCall()->Begin(due); });
    return;
  }
  for (int i = 0; i < options_.in_flight; ++i) FreeCall()->Begin(Clock::now());
}

CallLoad::~CallLoad() {
  pacer_.reset();
  MutexLock lock(&mu_);
  stopping_ = true;
  while (free_.size() < calls_.size()) none_.Wait(&mu_);
}

CallLoad::Call* CallLoad::FreeCall() {
  MutexLock lock(&mu_);
  if (free_.empty()) {
    const auto& channel = channels_[calls_.size() % channels_.size()];
    return calls_.emplace_back(std::make_unique<Call>(this, channel)).get();
  }
  Call* const call = free_.back();
  free_.pop_back();
  return call;
}

bool CallLoad::Ended(Call* call, const absl::Status& status) {
  if (!status.ok()) meter_->Fail(status);
  MutexLock lock(&mu_);
  if (status.ok() && !stopping_ && !options_.per_second.has_value()) return true;
  free_.push_back(call);
  if (stopping_) none_.NotifyAll();
  return false;
}

// --- Streams
// ----------------------------------------------------------------------------------------

// One call. gRPC's operations are started under mu_: they never run reactions on the calling
// thread.
class StreamLoad::Stream final
    : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Stream(StreamLoad* load, std::shared_ptr<grpc::Channel> channel)
      : load_(load), stub_(std::move(channel)) {
    stub_.PrepareBidiStreamingCall(&context_, kStreamRatings, {}, this);
    v1::StreamRatingsRequest start;
    start.mutable_start();
    bool own = false;
    (void)grpc::SerializationTraits<v1::StreamRatingsRequest>::Serialize(start, &outgoing_, &own);
    MutexLock lock(&mu_);
    StartRead(&incoming_);
    StartWrite(&outgoing_);
    StartCall();
  }

  // Open loop: one more message is to be sent.
  void Offer(Clock::time_point due) {
    MutexLock lock(&mu_);
    offered_.push_back(due);
    AdvanceLocked();
  }

  // Sends what was offered and no more; waits until it is acknowledged and the call is over.
  void Finish() {
    MutexLock lock(&mu_);
    stopping_ = true;
    AdvanceLocked();
    while (!is_done_) done_.Wait(&mu_);
  }

  void OnReadDone(bool ok) override {
    const Clock::time_point now = Clock::now();
    v1::StreamRatingsResponse response;
    const auto bytes = static_cast<int64_t>(ok ? incoming_.Length() : 0);
    if (ok &&
        !grpc::SerializationTraits<v1::StreamRatingsResponse>::Deserialize(&incoming_, &response)
             .ok()) {
      load_->meter_->Fail(absl::InternalError("a reply that is none"));
    }
    MutexLock lock(&mu_);
    if (!ok) {
      is_read_to_end_ = true;
      return;
    }
    started_ |= response.has_started();
    if (response.has_ack()) AcknowledgeLocked(response.ack(), now, bytes);
    StartRead(&incoming_);
    AdvanceLocked();
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mu_);
    is_writing_ = false;
    if (ok) AdvanceLocked();
  }

  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) load_->meter_->Fail(ToStatus(status));
    MutexLock lock(&mu_);
    is_done_ = true;
    done_.NotifyAll();
  }

 private:
  struct Message {
    int64_t last_number;
    Clock::time_point since;
  };

  void AcknowledgeLocked(const v1::StreamAck& ack, Clock::time_point now, int64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (ack.rejected_size() > 0 || ack.duplicates() > 0) {
      load_->meter_->Fail(absl::InternalError("an event was not applied"));
    }
    while (!sent_.empty() && sent_.front().last_number <= ack.last_number()) {
      load_->meter_->Done(sent_.front().since, now, load_->options_.events_a_message, bytes);
      sent_.pop_front();
    }
  }

  // Starts what can be started.
  void AdvanceLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_writing_ || is_read_to_end_ || are_writes_done_) return;
    if (stopping_ && offered_.empty()) {
      are_writes_done_ = true;
      return StartWritesDone();
    }
    const bool is_open = load_->options_.events_per_second.has_value();
    if (!started_ || (is_open && offered_.empty())) return;
    if (sent_.size() >= static_cast<size_t>(load_->options_.in_flight)) return;
    Message message = {.last_number = last_number_ + load_->options_.events_a_message,
                       .since = Clock::now()};
    if (is_open) {
      message.since = offered_.front();
      offered_.pop_front();
    }
    outgoing_ = load_->requests_->Batch(last_number_ + 1, load_->options_.events_a_message);
    last_number_ = message.last_number;
    sent_.push_back(message);
    is_writing_ = true;
    StartWrite(&outgoing_);
  }

  StreamLoad* const load_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;  // of the one read

  Mutex mu_;
  CondVar done_;
  grpc::ByteBuffer outgoing_ ABSL_GUARDED_BY(mu_);
  std::deque<Message> sent_ ABSL_GUARDED_BY(mu_);  // and not acknowledged
  std::deque<Clock::time_point> offered_ ABSL_GUARDED_BY(mu_);
  int64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool is_writing_ ABSL_GUARDED_BY(mu_) = true;  // the start
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool are_writes_done_ ABSL_GUARDED_BY(mu_) = false;
  bool is_read_to_end_ ABSL_GUARDED_BY(mu_) = false;
  bool is_done_ ABSL_GUARDED_BY(mu_) = false;
};

StreamLoad::StreamLoad(const Channels& channels, const Options& options, RatingRequests* requests,
                       Meter* meter)
    : options_(options), requests_(requests), meter_(meter) {
  for (size_t i = 0; i < static_cast<size_t>(options.streams); ++i) {
    streams_.push_back(std::make_unique<Stream>(this, channels[i % channels.size()]));
  }
  if (!options.events_per_second.has_value()) return;
  pacer_.emplace(
      *options.events_per_second / options.events_a_message,
      [this](Clock::time_point due) { streams_[next_stream_++ % streams_.size()]->Offer(due); });
}

StreamLoad::~StreamLoad() {
  pacer_.reset();
  for (const auto& stream : streams_) stream->Finish();
}

}  // namespace factord
