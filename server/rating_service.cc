#include "server/rating_service.h"

#include <utility>
#include <vector>

#include "server/event_conversion.h"

namespace factord {
namespace {

void Reject(const absl::Status& rejection, v1::RatingResult* result) {
  result->set_outcome(v1::RatingResult::OUTCOME_REJECTED);
  SetRejection(rejection, result);
}

// What the engine said of one event.
void Convert(const EventResult& event, v1::RatingResult* result) {
  const absl::Status rejection = RejectionOf(event);
  if (!rejection.ok()) return Reject(rejection, result);
  result->set_outcome(event.outcome == EventResult::Outcome::kApplied
                          ? v1::RatingResult::OUTCOME_APPLIED
                          : v1::RatingResult::OUTCOME_DUPLICATE);
  result->set_sequence(event.sequence);
}

}  // namespace

RatingService::RatingService(const EngineHolder* engines, CallGate* gate, const Limits& limits,
                             int32_t stream_window_events)
    : engines_(engines), limits_(limits), streams_(engines, gate, limits, stream_window_events) {
  AddUnary(gate, Rpc::kRecordRatings, this, &RatingService::Record, limits_.events());
  Add(Rpc::kStreamRatings,
      [this](grpc::CallbackServerContext* context) { return streams_.Open(context); });
}

absl::Status RatingService::Record(RecordRatingsCall* call) const {
  const v1::RecordRatingsRequest& request = call->request();
  FACTORD_ASSIGN_OR_RETURN(const EngineHolder::Serving* serving, engines_->Get(request.model()));
  const Violations violations = ValidateRecordRatings(request, limits_, serving->config);
  if (!violations.empty()) return BadRequest(violations);
  FACTORD_RETURN_IF_ERROR(call->admission().TakeEvents(request.events_size()));

  RecordRequest record;
  record.allow_partial = request.allow_partial();
  record.events.reserve(request.events_size());
  call->response()->mutable_results()->Reserve(request.events_size());
  std::vector<v1::RatingResult*> results;  // of the events that the engine gets
  results.reserve(request.events_size());
  for (const v1::Rating& rating : request.events()) {
    v1::RatingResult* const result = call->response()->add_results();
    if (request.allow_partial()) {
      const Violations bad = ValidateRating(rating, limits_, serving->config);
      if (!bad.empty()) {
        Reject(absl::InvalidArgumentError(ToString(bad)), result);
        call->admission().metrics().CountRejectedEvents(1);
        continue;
      }
    }
    results.push_back(result);
    record.events.push_back(ToEvent(rating, serving->config));
  }
  if (record.events.empty()) {
    call->Finish(absl::OkStatus());
    return absl::OkStatus();
  }
  // The events and the results point into request and response, which live until Finish.
  record.done = [call, results = std::move(results)](RecordResult result) {
    if (result.status.ok()) {
      call->response()->set_last_sequence(result.last_sequence);
      for (size_t i = 0; i < results.size(); ++i) Convert(result.events[i], results[i]);
    }
    call->Finish(result.status);
  };
  serving->engine->Record(std::move(record));
  return absl::OkStatus();
}

}  // namespace factord
