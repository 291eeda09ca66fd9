#include "client/event_ids.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "base/hash128.h"

namespace factord {

std::string RandomHex128() {
  // The system's randomness, not a seeded generator: two processes must never draw the same prefix.
  std::random_device device;
  const auto draw64 = [&device] { return (uint64_t{device()} << 32) | device(); };
  return Hash128{.high = draw64(), .low = draw64()}.ToHex();
}

EventIdSource::EventIdSource() : prefix_(RandomHex128()) {}

std::string EventIdSource::Next() {
  return absl::StrCat(prefix_, "-", counter_.fetch_add(1, std::memory_order_relaxed) + 1);
}

void StampEventIds(EventIdSource* source, v1::RecordRatingsRequest* request) {
  for (v1::Rating& event : *request->mutable_events()) {
    if (event.event_id().empty()) event.set_event_id(source->Next());
  }
}

}  // namespace factord
