// factord.v1.RatingService: takes ratings in. RecordRatings is here, StreamRatings in
// rating_stream.h.
#pragma once

#include "factord/v1/rating_service.grpc.pb.h"
#include "server/engine_holder.h"
#include "server/rating_stream.h"
#include "server/validation.h"

namespace factord {

// Stateless but for the streams that are open. Thread-safe.
class RatingService final : public v1::RatingService::CallbackService {
 public:
  // `engines` must outlive it.
  RatingService(const EngineHolder* engines, const Limits& limits, int32_t stream_window_events)
      : engines_(engines), limits_(limits), streams_(engines, limits, stream_window_events) {}

  grpc::ServerUnaryReactor* RecordRatings(grpc::CallbackServerContext* context,
                                          const v1::RecordRatingsRequest* request,
                                          v1::RecordRatingsResponse* response) override;

  grpc::ServerBidiReactor<v1::StreamRatingsRequest, v1::StreamRatingsResponse>* StreamRatings(
      grpc::CallbackServerContext* context) override {
    return streams_.Open(context);
  }

  // Ends the streams: each gets its last acknowledgement, then UNAVAILABLE.
  void Drain() { streams_.Drain(); }

 private:
  const EngineHolder* const engines_;
  const Limits limits_;
  RatingStreams streams_;
};

}  // namespace factord
