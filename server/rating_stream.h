// RatingService.StreamRatings: batches in, cumulative acknowledgements out.
//
// Life of a stream: `start` -> takes over from an older stream of the same producer -> asks the
// engine for the producer's last number -> `started` -> batches, each handed to the engine while
// earlier ones are still in flight -> acknowledgements.
//
// Invariants:
//  1. A batch is handed to the engine only while all before it were (whole streams are ordered),
//     and the engine takes no batch after one that failed (RecordRequest::refused_before):
//     otherwise the producer's last number would pass over events that were never logged.
//  2. An acknowledgement covers a number only when every event up to it is settled.
//  3. The call ends (Finish) only when the engine holds nothing of it any more. So requests live
//  until `done`, and a
//     stream outlives every callback.
//  4. A newer stream of a producer asks for the last number only when the older can submit nothing
//  more.
//
// A stream whose client does not read acknowledgements is cancelled after --max_call_time, one that
// does not send its start as well. A client that is over its rate is not read from until it is
// within it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "factord/v1/rating_service.pb.h"
#include "server/call_gate.h"
#include "server/call_service.h"
#include "server/engine_holder.h"
#include "server/validation.h"

namespace factord {

class RatingStream;

// The open streams. Thread-safe.
class RatingStreams {
 public:
  using Reactor = CallService::Reactor;

  // `engines` and `gate` must outlive it. `window_events`: how many events a stream may have
  // unacknowledged.
  RatingStreams(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                int32_t window_events)
      : engines_(engines), gate_(gate), limits_(limits), window_events_(window_events) {}
  RatingStreams(const RatingStreams&) = delete;
  RatingStreams& operator=(const RatingStreams&) = delete;

  // A reactor for a new call. It deletes itself.
  Reactor* Open(grpc::CallbackServerContext* context);

  // No stream takes batches any more: each gets the acknowledgement of what it has sent, then
  // UNAVAILABLE. So does every later one.
  void Drain();

 private:
  friend class RatingStream;

  // Makes `stream` the one of `producer_id`. The older one, if any, has submitted its last batch
  // when this returns, and will end ABORTED.
  void TakeOver(const std::string& producer_id, const std::shared_ptr<RatingStream>& stream);
  // `stream` is done.
  void Remove(const std::string& producer_id, const std::shared_ptr<RatingStream>& stream);

  const EngineHolder* const engines_;
  CallGate* const gate_;
  const Limits limits_;
  const int32_t window_events_;

  // Taken before any stream's own.
  Mutex mu_;
  absl::flat_hash_set<std::shared_ptr<RatingStream>> streams_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, std::shared_ptr<RatingStream>> by_producer_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace factord
