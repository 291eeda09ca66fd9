#include "server/rating_service.h"

#include <utility>
#include <vector>

#include "server/event_conversion.h"
#include "server/status.h"

namespace factord {
namespace {

// What the engine said of one event.
void Convert(const EventResult& event, v1::RatingResult* result) {
  switch (event.outcome) {
    case EventResult::Outcome::kApplied:
      result->set_outcome(v1::RatingResult::OUTCOME_APPLIED);
      result->set_sequence(event.sequence);
      break;
    case EventResult::Outcome::kDuplicate:
      result->set_outcome(v1::RatingResult::OUTCOME_DUPLICATE);
      result->set_sequence(event.sequence);
      break;
    case EventResult::Outcome::kConflict:
      result->set_outcome(v1::RatingResult::OUTCOME_REJECTED);
      result->set_reason(kConflictReason);
      break;
  }
}

}  // namespace

grpc::ServerUnaryReactor* RatingService::RecordRatings(grpc::CallbackServerContext* context,
                                                       const v1::RecordRatingsRequest* request,
                                                       v1::RecordRatingsResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto serving = engines_->Get(request->model());
  if (!serving.ok()) {
    reactor->Finish(ToGrpc(context, serving.status()));
    return reactor;
  }
  const ModelConfig& config = (*serving)->config;
  const Violations violations = ValidateRecordRatings(*request, limits_, config);
  if (!violations.empty()) {
    reactor->Finish(ToGrpc(context, BadRequest(violations)));
    return reactor;
  }

  RecordRequest record;
  record.allow_partial = request->allow_partial();
  record.events.reserve(request->events_size());
  response->mutable_results()->Reserve(request->events_size());
  std::vector<v1::RatingResult*> results;  // of the events that the engine gets
  results.reserve(request->events_size());
  for (const v1::Rating& rating : request->events()) {
    v1::RatingResult* const result = response->add_results();
    if (request->allow_partial()) {
      const Violations bad = ValidateRating(rating, limits_, config);
      if (!bad.empty()) {
        result->set_outcome(v1::RatingResult::OUTCOME_REJECTED);
        result->set_reason(ToString(bad));
        continue;
      }
    }
    results.push_back(result);
    record.events.push_back(ToEvent(rating));
  }
  if (record.events.empty()) {
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  // gRPC keeps request and response, which the events and the results point into, until Finish.
  record.done = [context, reactor, response, results = std::move(results)](RecordResult result) {
    if (result.status.ok()) {
      response->set_last_sequence(result.last_sequence);
      for (size_t i = 0; i < results.size(); ++i) Convert(result.events[i], results[i]);
    }
    reactor->Finish(ToGrpc(context, result.status));
  };
  (*serving)->engine->Record(std::move(record));
  return reactor;
}

}  // namespace factord
