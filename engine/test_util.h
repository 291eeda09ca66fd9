// Helpers of the engine's tests.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "gtest/gtest.h"

namespace factord {

// A rating, or a click on an item, with strings of its own.
struct OwnedRating {
  std::string user;
  std::string item;
  float rating = 3;
  std::string event_id = "";
  std::string producer = "";
  int64_t number = 0;
  bool is_click = false;  // of the model's first event type; `rating` has no meaning
};

inline Event ToEvent(const OwnedRating& rating) {
  Event event;
  event.user_id = rating.user;
  event.item_id = rating.item;
  if (rating.is_click) {
    event.kind = EventKind::kTaken;
  } else {
    event.rating = rating.rating;
  }
  event.time_micros = 1'000'000;
  event.event_id = rating.event_id;
  event.producer_id = rating.producer;
  event.producer_number = rating.number;
  return event;
}

// Sends one request. `ratings` must live until the result is there.
inline std::future<RecordResult> Send(Engine& engine, const std::vector<OwnedRating>& ratings,
                                      bool allow_partial = false) {
  RecordRequest request;
  for (const OwnedRating& rating : ratings) request.events.push_back(ToEvent(rating));
  request.allow_partial = allow_partial;
  const auto promise = std::make_shared<std::promise<RecordResult>>();
  request.done = [promise](RecordResult result) { promise->set_value(std::move(result)); };
  engine.Record(std::move(request));
  return promise->get_future();
}

// Records as one request and waits.
inline RecordResult Record(Engine& engine, const std::vector<OwnedRating>& ratings,
                           bool allow_partial = false) {
  return Send(engine, ratings, allow_partial).get();
}

// A long-tailed stream: some users and items come much more often than others. Ratings are halves
// from 0.5 to 5.
inline std::vector<OwnedRating> RandomRatings(uint32_t seed, size_t n, uint32_t users = 50,
                                              uint32_t items = 80) {
  std::mt19937 random(seed);
  const auto pick = [&random](uint32_t size) {
    return std::min(static_cast<uint32_t>(random() % size), static_cast<uint32_t>(random() % size));
  };
  std::vector<OwnedRating> ratings;
  for (size_t i = 0; i < n; ++i) {
    ratings.push_back({"u" + std::to_string(pick(users)), "i" + std::to_string(pick(items)),
                       0.5f * static_cast<float>(1 + random() % 10)});
  }
  return ratings;
}

inline EngineOptions TestOptions(const std::string& data_dir) {
  EngineOptions options;
  options.data_dir = data_dir;
  options.config.rank = 8;
  options.snapshot_interval = std::chrono::milliseconds(0);
  options.snapshot_log_bytes = 0;
  options.snapshot_bytes_per_second = 0;
  options.min_free_bytes = 0;
  return options;
}

inline std::unique_ptr<Engine> OpenOrDie(const EngineOptions& options) {
  auto engine = Engine::Open(options);
  if (!engine.ok()) ADD_FAILURE() << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

inline std::string HashOf(Engine& engine) {
  const auto hash = engine.ComputeHash();
  return hash.ok() ? hash->hash.ToHex() : hash.status().ToString();
}

}  // namespace factord
