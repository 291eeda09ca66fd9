// Writes many ratings, each exactly once, through broken connections and restarts of either side.
//
//   FACTORD_ASSIGN_OR_RETURN(auto stream, client->StreamRatings({.producer_id = "import-2024"}));
//   for (int64_t line = 1; ReadLine(&rating); ++line) {
//     FACTORD_RETURN_IF_ERROR(stream->Write(line, rating));   // blocks while the window is full
//   }
//   FACTORD_RETURN_IF_ERROR(stream->Close());                 // everything is durable and visible
//
// Numbers make it exact. Each rating has one, and they increase; the server remembers, with the
// rating itself, the last number that it took from a producer, and passes over what it has. After a
// reconnect the stream sends again what was on its way. A program that starts over with the same
// producer id and the same numbers (the position in its input) does the same with its whole input:
// what the server has is skipped. So a producer id must stand for one input; it is remembered for
// as long as the model lives.
//
// At most `window` ratings, as advertised by the server, are on their way at once; they are kept
// here until they are acknowledged, and Write blocks while there are that many. A broken connection
// (UNAVAILABLE, CANCELLED, RESOURCE_EXHAUSTED where the server says when to come back), and one on
// which nothing is acknowledged for `ack_timeout`, is made anew, with exponential backoff and
// jitter, until nothing has gone forward for `give_up_after`. Every other error is final: ABORTED
// when a newer stream of the same producer took over, INVALID_ARGUMENT when the protocol is broken,
// NOT_FOUND for an unknown model, RESOURCE_EXHAUSTED for a message that is larger than the server
// takes. After a final error every call returns it.
//
// DATA_LOSS: on a reconnect the server knew less of this producer than it had acknowledged before;
// it runs on another or an older data folder. Nothing is sent to it.
//
// A rating that cannot be sent (a string is not UTF-8, or has more than 4 KiB) is refused by Write,
// and one that the server rejects (out of range, say) is reported to `on_rejected`. Neither ends
// the stream, however often the connection breaks: what is sent again is rejected again. But one
// that was rejected for something that lies not in itself (ALREADY_EXISTS, RESOURCE_EXHAUSTED) is
// then taken for `recovered`, if a later one was applied.
//
// Thread-safe, but for Write, which one thread at a time may call.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "client/backoff.h"
#include "factord/v1/rating_service.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace factord {

class RatingStream {
 public:
  struct Options {
    // The model; empty is the default one.
    std::string model{};
    // 1 to 64 bytes. One stream at a time: a second one takes over from the first.
    std::string producer_id{};
    // Ratings in one message, which has a MiB at the most, whatever this says. Larger ones gain
    // nothing measurable.
    int32_t max_batch_events = 1'000;
    // Kept here until they are acknowledged, at the most; the server's window may be smaller.
    int32_t max_unacknowledged = 100'000;
    // A connection that acknowledges nothing for this long, with ratings on their way, is given up.
    std::chrono::milliseconds ack_timeout = std::chrono::seconds(30);
    // UNAVAILABLE, for good, when for this long no connection has brought anything forward. Let it
    // be longer than the half minute after which a connection that died is noticed.
    std::chrono::milliseconds give_up_after = std::chrono::minutes(1);
    // Before the first, second, ... attempt to reconnect: doubled each time, times a random factor
    // from 0.5 to 1.
    std::chrono::milliseconds initial_backoff = std::chrono::milliseconds(50);
    std::chrono::milliseconds max_backoff = std::chrono::seconds(1);
    // Called for each rejected rating, in order of number, on a thread of the stream, before the
    // rating counts as acknowledged. Must not block for long or call the stream. May be empty.
    // `why`: INVALID_ARGUMENT, ALREADY_EXISTS or RESOURCE_EXHAUSTED, as RejectedEvent.code says.
    std::function<void(int64_t number, const v1::Rating& rating, const absl::Status& why)>
        on_rejected{};

    // INVALID_ARGUMENT naming every bad field.
    absl::Status Validate() const;
  };

  // Counts of ratings handed to Write.
  // acknowledged = applied + duplicates + rejected + recovered + resumed.
  struct Stats {
    int64_t written = 0;       // taken by Write
    int64_t acknowledged = 0;  // settled: durable, or rejected
    int64_t applied = 0;
    int64_t duplicates = 0;  // their event_id was known: not applied again
    int64_t rejected = 0;
    // Sent again after a reconnect, and found to be there: their acknowledgement was lost.
    int64_t recovered = 0;
    // The server had them from an earlier stream of the producer: not sent.
    int64_t resumed = 0;
    int64_t last_acknowledged_number = 0;
    int64_t last_sequence = 0;  // of the model, after the last rating applied for this stream
    int64_t reconnects = 0;     // connections after the first
  };

  // Gives the channel for the next connection, never null. Called on a thread of the stream.
  using ChannelSource = std::function<std::shared_ptr<grpc::Channel>()>;

  // Starts connecting in the background. INVALID_ARGUMENT for bad options.
  static absl::StatusOr<std::unique_ptr<RatingStream>> Create(ChannelSource channel,
                                                              Options options);

  // Without Close() before it, ratings that are not acknowledged may or may not be applied.
  ~RatingStream();

  RatingStream(const RatingStream&) = delete;
  RatingStream& operator=(const RatingStream&) = delete;

  // Takes a rating over; blocks while the window is full, and until the server was reached once.
  // INVALID_ARGUMENT, and the stream goes on, where `number` is not at least 1 and larger than the
  // one before, or the rating cannot be sent ("user_id: is not valid UTF-8"): its number is then
  // free still. Any other error is final.
  absl::Status Write(int64_t number, v1::Rating rating);
  // The same with the next number: one above the one before; at first one above the last that the
  // server has of this producer, for which it waits.
  absl::Status Write(v1::Rating rating);

  // Returns when everything written before is acknowledged, or with the final error.
  absl::Status Flush();

  // Flushes and ends the stream. OK: everything written is settled. Later calls of Write fail with
  // FAILED_PRECONDITION, later calls of Close give the same answer.
  absl::Status Close();

  Stats stats() const;

 private:
  using Clock = std::chrono::steady_clock;
  using GrpcStream =
      grpc::ClientReaderWriterInterface<v1::StreamRatingsRequest, v1::StreamRatingsResponse>;

  struct Pending {
    int64_t number;
    v1::Rating rating;
  };

  // How a connection ended.
  struct End {
    absl::Status status;
    bool is_final = false;  // another connection would end so, too
  };

  RatingStream(ChannelSource channel, Options options);

  // The background thread: connects, serves the connection until it ends, waits, and so on.
  void Run();
  // Decides what follows a connection that ended so: try again after this time, or not.
  std::optional<Clock::duration> PrepareReconnect(const End& end);
  // Waits so long, or until a lost connection is there again (client/retrier.h says why sleeping
  // would not do). False: nothing is left to do.
  bool Pause(Clock::duration delay);

  // One connection, from Start to its end. OK: closed as asked for.
  End ServeConnection();
  absl::Status ServeStream(grpc::ClientContext* context);
  // False: the stream ended before the server answered.
  absl::StatusOr<bool> Handshake(GrpcStream* stream);
  absl::Status HandleStarted(const v1::StreamStarted& started);
  void SendBatches(GrpcStream* stream);
  // Waits for something to send and takes it; false when the connection is to end.
  bool NextBatch(v1::StreamBatch* batch);
  // Reads acknowledgements until the stream ends. Errors: the server breaks the protocol.
  absl::Status ReadAcks(GrpcStream* stream);
  absl::Status HandleAck(const v1::StreamAck& ack);
  void ReportRejected(const v1::StreamAck& ack);

  // Forgets everything pending up to `number` and returns how much that was.
  int64_t SettleThrough(int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Waits for a change of state, a while at the most; ends a connection on which nothing moves.
  void WaitForChange() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status WriteLocked(int64_t number, v1::Rating rating) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  size_t Capacity() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasNothingLeftToDo() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return abandoned_ || (closing_ && pending_.empty());
  }

  const Options options_;
  const ChannelSource channel_;

  mutable Mutex mu_;
  CondVar changed_;  // any of what follows

  // What is written and not settled, by number. The first sent_ of them are on their way.
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mu_);
  size_t sent_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t last_written_ ABSL_GUARDED_BY(mu_) = 0;
  Stats stats_ ABSL_GUARDED_BY(mu_);

  // The largest number that the server is known to remember. Not that of a rejected rating.
  int64_t durable_number_ ABSL_GUARDED_BY(mu_) = 0;
  // Up to here pending ratings were on their way when a connection broke, and the server either has
  // them or has rejected them.
  int64_t resent_through_ ABSL_GUARDED_BY(mu_) = 0;

  // The connection. Invariant: pending_ begins with last_acknowledged_number + 1 or later.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;  // null between connections
  bool started_ ABSL_GUARDED_BY(mu_) = false;  // from the handshake until the end is noticed
  int64_t window_ ABSL_GUARDED_BY(mu_) = 0;    // 0 until the first handshake
  // The last sign of life that counts for ack_timeout.
  Clock::time_point last_progress_ ABSL_GUARDED_BY(mu_);
  // The first failure since something went forward, for give_up_after.
  std::optional<Clock::time_point> trouble_since_ ABSL_GUARDED_BY(mu_);
  Backoff backoff_ ABSL_GUARDED_BY(mu_);

  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;  // by the destructor
  bool finished_ ABSL_GUARDED_BY(mu_) = false;   // Run has returned
  absl::Status final_status_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace factord
