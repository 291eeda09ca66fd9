// What a rating does to the rows of its user and its item, and what two rows predict.
//
//   StartRow(config, 0, "alice", stride, p, &user);
//   StartRow(config, 1, "Heat (1995)", stride, q, &item);
//   const float before = Predict(config, globals, {p, q, &user, &item, stride});
//   UpdateOutcome outcome = Learn(config, 4.5f, sequence, &globals, {p, q, &user, &item, stride});
//
// Variant::kAdaptive is model/adaptive_update.h; the pure updates are model/pure_update.h.
// Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "model/adaptive_update.h"
#include "model/config.h"
#include "model/globals.h"
#include "model/row.h"

namespace factord {

// Both new rows, and what is global, are computed from the old ones. A pure function of its
// arguments, the same bits on every CPU. `sequence` seeds the exact solver's pivots.
// RowState::count is the caller's.
UpdateOutcome Learn(const ModelConfig& config, float rating, int64_t sequence,
                    ModelGlobals* globals, const PairOfRows& rows);

// The same for a rating that these rows have learned already. With the adaptive update nothing is
// counted twice: it is a revisit of size `size`, in (0, 1] (model/adaptive_update.h). A pure update
// learns it like any other.
void LearnAgain(const ModelConfig& config, float rating, int64_t sequence, float size,
                ModelGlobals* globals, const PairOfRows& rows);

// The size of a revisit in pass 2, 3, ... over a history (1 was when its ratings came in), and of
// each of the revisits that an event brings with it (ModelConfig::replay > 0).
float PassSize(const ModelConfig& config, int32_t pass);
float ReplaySize(int32_t replay);

// In rating units, not clipped to the range.
float Predict(const ModelConfig& config, const ModelGlobals& globals, const ConstPairOfRows& rows);

// The start of a new row: a function of (config.seed, side, id) alone, the padding 0. `side`: 0
// user, 1 item. Pure updates: each of the first `rank` entries is sqrt(initial_rating / rank) *
// (1 +- 0.2). Adaptive: +- 0.05.
void StartRow(const ModelConfig& config, int side, absl::string_view id, size_t stride, float* row,
              RowState* state);

// Whether items have ranking rows, by which they are recommended (model/next_item.h); without them
// the inner product p . q ranks, as in the paper.
inline bool HasRanking(const ModelConfig& config) { return config.variant == Variant::kAdaptive; }

// What is to be added to a factor in memory to get the non-negative one.
float FactorOffset(const ModelConfig& config);

}  // namespace factord
