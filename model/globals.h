// What the adaptive update knows of all ratings together. A part of the state, like the rows.
#pragma once

#include <cstdint>

namespace factord {

// Inner units (model/adaptive_update.h). Plain values.
struct ModelGlobals {
  int64_t events = 0;  // ratings, each counted once
  // Running values, renewed by each event.
  float mean = 0;                 // of ratings
  float quality_mean = 1;         // what quality tastes spread around
  float popularity_mean = 0;      // what popularity tastes spread around
  float rarity_mean = 0.860281f;  // of items, by event; starts where a new item does
  float rarity_deviation = 0.05f;
  float mood_covariance = 0;  // of a user's mood and of the next error
  float mood_variance = 0;
  // What predictions use in place of the running values: taken over after every 16th event, so that
  // one event need not wait for the end of the one before.
  float quality_base = 1;
  float popularity_base = 0;
  float rarity_base = 0.860281f;
  float rarity_scale = 16;
  float mood_weight = 0;

  friend bool operator==(const ModelGlobals&, const ModelGlobals&) = default;
};

}  // namespace factord
