#include "model/pure_update.h"

#include <cmath>

#include "model/kernels.h"
#include "model/mix.h"
#include "model/step.h"

namespace factord {

PureOutcome UpdatePair(const ModelConfig& config, float rating, int64_t sequence, size_t stride,
                       float* p, float* q) {
  const Kernels& kernels = ActiveKernels();
  const PairProducts dots = kernels.products(p, q, stride);
  PureOutcome outcome;
  outcome.prediction = dots.pq;
  outcome.passive = !(EpsilonLoss(dots.pq, rating, config.epsilon) > 0);
  if (outcome.passive) return outcome;

  const StepRule rule = {config.variant, config.solver, config.aggressiveness, config.epsilon,
                         config.bisection_tolerance};
  // Both steps before either row changes. The two sides draw from streams of their own.
  const uint64_t seed = Mix64(static_cast<uint64_t>(sequence));
  const float p_step = SignedStep(rule, {p, q, stride, dots.pq, dots.qq}, rating, seed);
  const float q_step = SignedStep(rule, {q, p, stride, dots.pq, dots.pp}, rating, ~seed);
  kernels.step(p, q, {.add_p = p_step, .add_q = q_step}, stride);
  const float cut = config.aggressiveness;
  outcome.clipped =
      config.variant == Variant::kPaI && (std::fabs(p_step) >= cut || std::fabs(q_step) >= cut);
  return outcome;
}

}  // namespace factord
