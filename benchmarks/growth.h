// What an event costs a model that has so many users and items already, and what the cache lines
// alone would cost that it looks at.
#pragma once

#include <cstdint>

#include "benchmarks/rating_stream.h"

namespace factord {

// Nanoseconds an event, in groups that are published, once every user and item is there.
double LearnNanos(const RatingShape& shape, uint64_t seed, uint64_t events);

// Nanoseconds an event for looking at as many lines of tables as large, and nothing else: the best
// of three rounds, since it is short.
double TouchNanos(const RatingShape& shape, uint64_t seed, uint64_t events);

}  // namespace factord
