// Ratings of the wire as events of the engine, and what became of them.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "engine/engine.h"
#include "factord/v1/rating.pb.h"
#include "model/config.h"
#include "storage/records.h"

namespace factord {

// The event borrows the strings of `rating`. REQUIRES: valid for `config` (server/validation.h).
inline Event ToEvent(const v1::Rating& rating, const ModelConfig& config) {
  constexpr int64_t kMicrosPerSecond = 1'000'000;
  constexpr int64_t kNanosPerMicro = 1'000;
  Event event;
  event.user_id = rating.user_id();
  event.item_id = rating.item_id();
  if (rating.event_type().empty()) {
    event.rating = rating.rating();
  } else {
    event.kind = EventKind::kTaken;
    event.type = FindEventType(config, rating.event_type()).value_or(0);
  }
  event.time_is_servers = !rating.has_event_time();
  if (rating.has_event_time()) {
    event.time_micros = rating.event_time().seconds() * kMicrosPerSecond +
                        rating.event_time().nanos() / kNanosPerMicro;
  }
  event.event_id = rating.event_id();
  event.recommendation_id = rating.recommendation_id();
  return event;
}

// Why the engine has not applied an event; OK for one that it has, or had before.
inline absl::Status RejectionOf(const EventResult& event) {
  switch (event.outcome) {
    case EventResult::Outcome::kConflict:
      return absl::AlreadyExistsError("event_id: was used before, with other content");
    case EventResult::Outcome::kRefused:
      return absl::ResourceExhaustedError(event.reason);
    case EventResult::Outcome::kApplied:
    case EventResult::Outcome::kDuplicate:
      break;
  }
  return absl::OkStatus();
}

// Tells a client, in a RatingResult or RejectedEvent, why its event was rejected.
template <typename Message>
void SetRejection(const absl::Status& rejection, Message* message) {
  message->set_reason(std::string(rejection.message()));
  message->set_code(rejection.raw_code());
}

}  // namespace factord
