// The part of a model's configuration that was given on the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/config.h"

namespace factord {

// An unset field is the folder's own, or the default for a new folder. A set one that differs from
// the folder's is refused by Engine::Open, which names it.
struct ModelOverrides {
  std::optional<int32_t> rank;
  std::optional<int64_t> seed;
  std::optional<float> min_rating;
  std::optional<float> max_rating;
  std::optional<Variant> variant;
  std::optional<Solver> solver;
  std::optional<float> aggressiveness;
  std::optional<float> epsilon;
  std::optional<float> bisection_tolerance;
  std::optional<float> offset;
  std::optional<float> attraction;
  std::optional<int32_t> replay;
  std::optional<std::vector<EventType>> event_types;
  std::optional<float> initial_rating;
  std::optional<int64_t> dedupe_window;

  // `config` with what is set here in its place.
  ModelConfig Over(ModelConfig config) const {
    config.rank = rank.value_or(config.rank);
    config.seed = seed.value_or(config.seed);
    config.min_rating = min_rating.value_or(config.min_rating);
    config.max_rating = max_rating.value_or(config.max_rating);
    config.variant = variant.value_or(config.variant);
    config.solver = solver.value_or(config.solver);
    config.aggressiveness = aggressiveness.value_or(config.aggressiveness);
    config.epsilon = epsilon.value_or(config.epsilon);
    config.bisection_tolerance = bisection_tolerance.value_or(config.bisection_tolerance);
    config.offset = offset.value_or(config.offset);
    config.attraction = attraction.value_or(config.attraction);
    config.replay = replay.value_or(config.replay);
    config.event_types = event_types.value_or(config.event_types);
    config.initial_rating = initial_rating.value_or(config.initial_rating);
    config.dedupe_window = dedupe_window.value_or(config.dedupe_window);
    return config;
  }

  // For a new folder.
  ModelConfig ForNewFolder() const {
    ModelConfig config;
    if (max_rating.has_value()) config.initial_rating = DefaultInitialRating(*max_rating);
    return Over(config);
  }
};

}  // namespace factord
