#include "model/update.h"

#include <algorithm>
#include <cmath>

#include "base/hash128.h"
#include "model/kernels.h"
#include "model/mix.h"
#include "model/step.h"

namespace factord {

UpdateOutcome UpdatePair(const ModelConfig& config, float rating, int64_t sequence, size_t stride,
                         float* p, float* q) {
  const Kernels& kernels = ActiveKernels();
  const PairProducts dots = kernels.products(p, q, stride);
  UpdateOutcome outcome;
  outcome.prediction = dots.pq;
  outcome.passive = !(EpsilonLoss(dots.pq, rating, config.epsilon) > 0);
  if (outcome.passive) return outcome;

  const StepRule rule = {config.variant, config.solver, config.aggressiveness, config.epsilon,
                         config.bisection_tolerance};
  // Both steps before either row changes. The two sides draw from streams of their own.
  const uint64_t seed = Mix64(static_cast<uint64_t>(sequence));
  const float p_step = SignedStep(rule, {p, q, stride, dots.pq, dots.qq}, rating, seed);
  const float q_step = SignedStep(rule, {q, p, stride, dots.pq, dots.pp}, rating, ~seed);
  kernels.step(p, q, p_step, q_step, stride);
  return outcome;
}

void StartRow(const ModelConfig& config, int side, absl::string_view id, size_t stride,
              float* row) {
  // Two rounds, so that (seed, side) pairs do not meet.
  const uint64_t stream =
      Mix64(Mix64(static_cast<uint64_t>(config.seed)) + static_cast<uint64_t>(side));
  const uint64_t id_hash = HashBytes64(id, stream);
  const size_t rank = static_cast<size_t>(config.rank);
  const float middle = std::sqrt(config.initial_rating / static_cast<float>(config.rank));
  for (size_t k = 0; k < rank; ++k) {
    // 24 bits, which a float holds exactly.
    const float uniform = static_cast<float>(Mix64(id_hash + k) >> 40) * 0x1p-24f;
    row[k] = middle * (0.8f + 0.4f * uniform);
  }
  std::fill(row + rank, row + stride, 0.0f);
}

}  // namespace factord
