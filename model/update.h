// The passive-aggressive update of one pair of rows by one rating.
// Source: Blondel, Kubo, Ueda, "Online Passive-Aggressive Algorithms for Non-Negative Matrix Factorization and Completion", AISTATS 2014.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/config.h"

namespace factord {

// What one event did.
struct UpdateOutcome {
  float prediction = 0;   // p_u . q_i before the update, not clipped
  bool passive = false;   // within epsilon: nothing changed
};

// Learns `rating` for user row `p` and item row `q` (stride floats each, zero from rank on): both new rows
// are computed from both old ones. A pure function of its arguments, the same bits on every CPU. `sequence` seeds the exact
// solver's pivots. Rows stay finite and non-negative.
UpdateOutcome UpdatePair(const ModelConfig& config, float rating, int64_t sequence, size_t stride,
                         float* p, float* q);

// The start of a new row: a function of (config.seed, side, id) alone, each of the first `rank` entries
// sqrt(initial_rating / rank) * (1 +- 0.2), the padding 0. `side`: 0 user, 1 item.
void StartRow(const ModelConfig& config, int side, absl::string_view id, size_t stride, float* row);

}  // namespace factord
