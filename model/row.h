// How a row of P or Q lies in memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace factord {

// Kernels work on whole groups of this many floats, so rows are padded with zeros to a multiple of
// it. An update keeps the padding at zero. Part of the result of every sum: changing it changes all
// hashes.
inline constexpr size_t kLanes = 16;

// Floats from one row to the next for `rank` factors.
inline constexpr size_t RowStride(size_t rank) { return (rank + kLanes - 1) / kLanes * kLanes; }

// What a row holds beside its factors. All but the count belong to the adaptive update
// (model/adaptive_update.h says what they mean) and are 0 with the pure ones.
struct RowState {
  uint32_t count = 0;  // ratings learned from
  float bias = 0;
  float bias_variance = 0;
  float confidence = 0;
  // Of users.
  float mood = 0;
  float quality_taste = 0;
  float popularity_taste = 0;
  // Of items: bias_variance^(1/8), kept so that it need not be computed for each prediction.
  float rarity = 0;
};

// What one event did to a pair of rows.
struct UpdateOutcome {
  float prediction = 0;  // before the update, in rating units, not clipped
  bool passive = false;  // within epsilon: nothing changed
  bool clipped = false;  // the step was cut: at C, or because of an error beyond the noise
};

}  // namespace factord
