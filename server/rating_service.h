// factord.v1.RatingService: takes ratings in. RecordRatings is here, StreamRatings in
// rating_stream.h.
#pragma once

#include "factord/v1/rating_service.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/rating_stream.h"
#include "server/unary_call.h"
#include "server/validation.h"

namespace factord {

// Stateless but for the streams that are open. Thread-safe.
class RatingService final : public UnaryService {
 public:
  // `engines` and `gate` must outlive it.
  RatingService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                int32_t stream_window_events);

  // Ends the streams: each gets its last acknowledgement, then UNAVAILABLE.
  void Drain() { streams_.Drain(); }

 private:
  using RecordRatingsCall = UnaryCall<v1::RecordRatingsRequest, v1::RecordRatingsResponse>;

  absl::Status Record(RecordRatingsCall* call) const;

  const EngineHolder* const engines_;
  const Limits limits_;
  RatingStreams streams_;
};

}  // namespace factord
