// Answers reads from the model, beside the writer. Pure functions of what they are given:
// thread-safe.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/types/span.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/model_state.h"

namespace factord {

// See Engine::Recommend. `view` is the newest or a pinned one.
//
// The view is taken first and the user's row, as it is now, after it: so the row is at least as
// new, and what was rated up to the view's sequence is in the history.
absl::StatusOr<Recommendation> RecommendItems(const ModelState& state, const ItemView& view,
                                              const RecommendQuery& query);

absl::StatusOr<Predictions> PredictRatings(const ModelState& state,
                                           absl::Span<const UserItem> pairs, bool strict);

FactorHealth MeasureFactors(const ModelState& state);

// Ends early, with what it has, once `keep_going` says false.
HistoryError MeasureHistories(const ModelState& state, const std::function<bool()>& keep_going);

Topics FindTopics(const ModelState& state, int32_t items_per_topic, int64_t min_ratings);

FactorPage ReadItemFactors(const ModelState& state, const ItemView& view, int64_t first,
                           int32_t limit);
FactorPage ReadUserFactors(const ModelState& state, int64_t first, int32_t limit);

}  // namespace factord
