// The default update: NN-PA-II whose constant C follows, for each row and event, from what is known
// of both rows. docs/algorithm.md derives it; docs/adr/0008-adaptive-update.md has the trials.
//
// Ratings are learned in inner units: the configured range becomes 0 to 4. A row of factors is kept
// less an offset o: what lies in memory is w = p - o >= -o for a user and x = q - o for an item, so
// that a new row is near 0 and p, q >= 0 hold by truncation at -o. The prediction is
//
//   mean + b_u + (C + c_u) b_i + (K + k_u) z_i + w . x + mood
//
// with the biases b; the user's taste for quality c_u, which says how much of what others think of
// an item goes for him, and for popularity k_u (both are coordinates with a partner that is the
// item's own: b_i, and z_i, how much more often than usual it is rated); and the mood, a fading
// mean of the user's last errors. C, K and the scale of z are global.
#pragma once

#include <cstddef>

#include "model/config.h"
#include "model/globals.h"
#include "model/row.h"

namespace factord {

// A user's row and an item's. `stride` floats each, zero from rank on.
template <typename Float, typename State>
struct BasicPairOfRows {
  Float* p;
  Float* q;
  State* user;
  State* item;
  size_t stride;
};
using PairOfRows = BasicPairOfRows<float, RowState>;
using ConstPairOfRows = BasicPairOfRows<const float, const RowState>;

// What the rows of a side start with beside their factors. `side`: 0 user, 1 item.
RowState AdaptiveStart(int side);

// In rating units, not clipped. Pure; thread-safe.
float AdaptivePrediction(const ModelConfig& config, const ModelGlobals& globals,
                         const ConstPairOfRows& rows);

// Learns `rating`; never passive. A pure function of its arguments, the same bits on every CPU.
// O(rank).
UpdateOutcome AdaptiveUpdate(const ModelConfig& config, float rating, ModelGlobals* globals,
                             const PairOfRows& rows);

// Learns a rating that came in before once more, with steps of size `size`, in (0, 1], and draws
// rows to their start a little. Confidence, variances and globals stay: nothing is counted twice.
void AdaptiveRevisit(const ModelConfig& config, float rating, float size,
                     const ModelGlobals& globals, const PairOfRows& rows);

// RowState::bias in rating units.
float BiasInRatingUnits(const ModelConfig& config, const RowState& state);

// RowState::rarity of an item with this bias variance.
float RarityOf(float bias_variance);

// Of an item: how much more often than usual it is rated, -2 to 2.
float Popularity(const ModelGlobals& globals, const RowState& item);

}  // namespace factord
