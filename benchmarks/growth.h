// What an event costs a model that has so many users and items already, and what its cache misses
// explain of that.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "benchmarks/rating_stream.h"
#include "engine/model_state.h"

namespace factord {

// A model in which every user and item of a shape is there already. Thread-compatible.
class GrownModel {
 public:
  GrownModel(const RatingShape& shape, uint64_t seed);
  // Learns so many more events, in groups that are published; nanoseconds an event.
  double Learn(uint64_t events);

 private:
  const RatingShape shape_;
  uint64_t seed_;
  ModelState state_;
};

// What Learn takes an event, as tools/count_misses.sh has counted it under callgrind.
struct EventCost {
  uint32_t users = 0;
  uint32_t items = 0;
  double instructions = 0;
  double first_level_misses = 0;  // of 32 KiB
  double last_level_misses = 0;   // of 32 MiB; the first level missed them, too
};

// NOT_FOUND for a size that has not been counted.
absl::StatusOr<EventCost> CountedCost(uint32_t users, uint32_t items);

// What a line that is missed costs on this machine, when many are on their way at once: of rows of
// 256 bytes, which lie anywhere in as much memory as a model's take, and with what the tables of
// pages cost there.
struct MissNanos {
  double first_level = 0;  // of 8 MiB of the rows
  double last_level = 0;   // of all, and of 128 MiB at least
};

// Of a model of this shape.
MissNanos MeasureMisses(const RatingShape& shape);

// The model that growth is held against: time = instructions * i + first * f + last * l, where f
// and l are measured, and i is what is left of the time that the smallest size takes.
class MissModel {
 public:
  // `nanos`: what an event takes at that size.
  MissModel(const EventCost& cost, const MissNanos& misses, double nanos);
  // What is to be expected of an event.
  double Nanos(const EventCost& cost, const MissNanos& misses) const;

 private:
  double nanos_an_instruction_;
};

}  // namespace factord
