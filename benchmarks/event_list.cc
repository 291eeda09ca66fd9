#include "benchmarks/event_list.h"

#include "absl/strings/str_cat.h"
#include "engine/model_state.h"

namespace factord {

ModelConfig BenchConfig() {
  ModelConfig config;
  config.rank = 64;
  return config;
}

EventList::EventList(const RatingShape& shape, uint64_t seed, uint64_t events) {
  GeneratedRatings ratings(shape, seed);
  user_ids_.reserve(shape.users);
  for (uint32_t i = 0; i < shape.users; ++i) user_ids_.push_back(UserId(i));
  for (uint32_t i = 0; i < shape.items; ++i) item_ids_.push_back(ItemId(i));
  event_ids_.reserve(events);
  events_.reserve(events);
  for (uint64_t i = 0; i < events; ++i) {
    const GeneratedRating rating = ratings.Next();
    event_ids_.push_back(absl::StrCat("e", seed, "-", i));
    Event event;
    event.sequence = static_cast<int64_t>(i) + 1;
    event.user_id = user_ids_[rating.user];
    event.item_id = item_ids_[rating.item];
    event.rating = rating.value;
    event.time_micros = 1'700'000'000'000'000 + static_cast<int64_t>(i);
    event.event_id = event_ids_.back();
    events_.push_back(event);
  }
}

double ApplyRate(const std::vector<Event>& events) {
  ModelState state(BenchConfig());
  const auto start = Clock::now();
  state.ApplyAll(events);
  return static_cast<double>(events.size()) / Seconds(start);
}

}  // namespace factord
