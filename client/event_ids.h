// Event ids for events that have none, so that a request can be sent twice and is applied once.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "factord/v1/rating_service.pb.h"

namespace factord {

// Unique ids: 32 random hexadecimal digits, drawn once, then "-" and a counter. Thread-safe.
class EventIdSource {
 public:
  EventIdSource();
  // At most 53 bytes; the API allows 64.
  std::string Next();

 private:
  const std::string prefix_;
  std::atomic<uint64_t> counter_{0};
};

// Gives each event without an event_id one. Others keep theirs.
void StampEventIds(EventIdSource* source, v1::RecordRatingsRequest* request);

// 32 random hexadecimal digits from the operating system.
std::string RandomHex128();

}  // namespace factord
