// factord.v1.RatingService: takes ratings in. RecordRatings is here, StreamRatings in
// rating_stream.h.
#pragma once

#include "factord/v1/rating_service.grpc.pb.h"
#include "server/call_gate.h"
#include "server/engine_holder.h"
#include "server/rating_stream.h"
#include "server/unary_call.h"
#include "server/validation.h"

namespace factord {

using RawRatingService = v1::RatingService::WithRawCallbackMethod_RecordRatings<
    v1::RatingService::WithRawCallbackMethod_StreamRatings<v1::RatingService::Service>>;

// Stateless but for the streams that are open. Thread-safe.
class RatingService final : public RawRatingService {
 public:
  // `engines` and `gate` must outlive it.
  RatingService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                int32_t stream_window_events)
      : engines_(engines),
        gate_(gate),
        limits_(limits),
        streams_(engines, gate, limits, stream_window_events) {}

  grpc::ServerUnaryReactor* RecordRatings(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override {
    return RecordRatingsCall::Start(
        gate_, Rpc::kRecordRatings, context, request, response,
        [this](RecordRatingsCall* call) { return Record(call); }, limits_.events());
  }

  RatingStreams::Reactor* StreamRatings(grpc::CallbackServerContext* context) override {
    return streams_.Open(context);
  }

  // Ends the streams: each gets its last acknowledgement, then UNAVAILABLE.
  void Drain() { streams_.Drain(); }

 private:
  using RecordRatingsCall = UnaryCall<v1::RecordRatingsRequest, v1::RecordRatingsResponse>;

  absl::Status Record(RecordRatingsCall* call) const;

  const EngineHolder* const engines_;
  CallGate* const gate_;
  const Limits limits_;
  RatingStreams streams_;
};

}  // namespace factord
