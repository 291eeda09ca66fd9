#include "model/update.h"

#include <algorithm>
#include <cmath>

#include "base/hash128.h"
#include "model/kernels.h"
#include "model/mix.h"
#include "model/pure_update.h"

namespace factord {
namespace {

// Half the width of the adaptive update's random start.
constexpr float kAdaptiveSpread = 0.05f;

}  // namespace

UpdateOutcome Learn(const ModelConfig& config, float rating, int64_t sequence,
                    ModelGlobals* globals, const PairOfRows& rows) {
  if (config.variant == Variant::kAdaptive) return AdaptiveUpdate(config, rating, globals, rows);
  ++globals->events;
  return UpdatePair(config, rating, sequence, rows.stride, rows.p, rows.q);
}

void LearnAgain(const ModelConfig& config, float rating, int64_t sequence, float size,
                ModelGlobals* globals, const PairOfRows& rows) {
  if (config.variant == Variant::kAdaptive) {
    AdaptiveRevisit(config, rating, size, *globals, rows);
  } else {
    Learn(config, rating, sequence, globals, rows);
  }
}

float PassSize(const ModelConfig& config, int32_t pass) {
  const auto again = static_cast<float>(pass - 1);
  return config.update_version == 1 ? 0.7f / std::sqrt(again) : 1 / again;
}

float ReplaySize(int32_t replay) {
  constexpr float kOfOne = 0.35f;
  return kOfOne / std::sqrt(std::sqrt(static_cast<float>(replay)));
}

float Predict(const ModelConfig& config, const ModelGlobals& globals, const ConstPairOfRows& rows) {
  if (config.variant == Variant::kAdaptive) return AdaptivePrediction(config, globals, rows);
  return ActiveKernels().dot(rows.p, rows.q, rows.stride);
}

void StartRow(const ModelConfig& config, int side, absl::string_view id, size_t stride, float* row,
              RowState* state) {
  // Two rounds, so that (seed, side) pairs do not meet.
  const uint64_t stream =
      Mix64(Mix64(static_cast<uint64_t>(config.seed)) + static_cast<uint64_t>(side));
  const uint64_t id_hash = HashBytes64(id, stream);
  const size_t rank = static_cast<size_t>(config.rank);
  const bool is_adaptive = config.variant == Variant::kAdaptive;
  const float middle =
      is_adaptive ? 0 : std::sqrt(config.initial_rating / static_cast<float>(config.rank));
  for (size_t k = 0; k < rank; ++k) {
    const float uniform = UnitFloat(Mix64(id_hash + k));
    row[k] = is_adaptive ? kAdaptiveSpread * (2 * uniform - 1) : middle * (0.8f + 0.4f * uniform);
  }
  std::fill(row + rank, row + stride, 0.0f);
  *state = is_adaptive ? AdaptiveStart(side) : RowState{};
}

float FactorOffset(const ModelConfig& config) {
  return config.variant == Variant::kAdaptive ? config.offset : 0;
}

}  // namespace factord
