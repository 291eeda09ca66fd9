// Events made ahead, and what applying them alone takes: what the rows of engine and storage share.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/rating_stream.h"
#include "model/config.h"
#include "storage/records.h"

namespace factord {

using Clock = std::chrono::steady_clock;

inline double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

// The server's defaults, rank 64.
ModelConfig BenchConfig();

// A stream with text as ids and an event id each.
class EventList {
 public:
  EventList(const RatingShape& shape, uint64_t seed, uint64_t events);
  const std::vector<Event>& events() const { return events_; }

 private:
  std::vector<std::string> user_ids_, item_ids_, event_ids_;
  std::vector<Event> events_;
};

// Events a second of the state alone: ids, histories, rows, window; no log, no views.
double ApplyRate(const std::vector<Event>& events);

}  // namespace factord
