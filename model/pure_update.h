// The passive-aggressive updates of the paper, for one pair of rows and one rating.
//
// Source: M. Blondel, Y. Kubo, N. Ueda, "Online Passive-Aggressive Algorithms for Non-Negative
// Matrix Factorization and Completion", AISTATS 2014. Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/config.h"
#include "model/row.h"

namespace factord {

// Learns `rating` for user row `p` and item row `q` (stride floats each, zero from rank on): both
// new rows are computed from both old ones. A pure function of its arguments, the same bits on
// every CPU. `sequence` seeds the exact solver's pivots. REQUIRES: a variant other than kAdaptive.
//
// Rows stay within [0, kMaxFactor]: finite, and so are all their products. A row whose |x|^2 is 0
// as a float teaches its partner nothing.
UpdateOutcome UpdatePair(const ModelConfig& config, float rating, int64_t sequence, size_t stride,
                         float* p, float* q);

}  // namespace factord
