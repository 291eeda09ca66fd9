// Ratings of the wire as events of the engine.
#pragma once

#include <cstdint>

#include "factord/v1/rating.pb.h"
#include "model/config.h"
#include "storage/records.h"

namespace factord {

// What the result of an event says when its event_id belongs to another event.
inline constexpr char kConflictReason[] = "event_id: was used before, with other content";

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

}  // namespace factord
