// The passive-aggressive update of one pair of rows by one rating (docs/algorithm.md).
//
//   StartRow(config, 0, "alice", stride, p);
//   StartRow(config, 1, "Heat (1995)", stride, q);
//   UpdateOutcome outcome = UpdatePair(config, 4.5f, sequence, stride, p, q);
//
// Source: M. Blondel, Y. Kubo, N. Ueda, "Online Passive-Aggressive Algorithms for Non-Negative
// Matrix Factorization and Completion", AISTATS 2014. Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "model/config.h"

namespace factord {

// What one event did.
struct UpdateOutcome {
  float prediction = 0;  // p_u . q_i before the update, not clipped
  bool passive = false;  // within epsilon: nothing changed
};

// Learns `rating` for user row `p` and item row `q` (stride floats each, zero from rank on): both
// new rows are computed from both old ones. A pure function of its arguments, the same bits on
// every CPU. `sequence` seeds the exact solver's pivots.
//
// Rows stay within [0, kMaxFactor]: finite, and so are all their products. A row whose |x|^2 is 0
// as a float teaches its partner nothing.
UpdateOutcome UpdatePair(const ModelConfig& config, float rating, int64_t sequence, size_t stride,
                         float* p, float* q);

// The start of a new row: a function of (config.seed, side, id) alone, each of the first `rank`
// entries sqrt(initial_rating / rank) * (1 +- 0.2), the padding 0. `side`: 0 user, 1 item.
void StartRow(const ModelConfig& config, int side, absl::string_view id, size_t stride, float* row);

}  // namespace factord
