#include "model/pure_update.h"

#include <algorithm>
#include <cmath>

#include "model/kernels.h"
#include "model/mix.h"
#include "model/step.h"

namespace factord {
namespace {

// Not inlined: what it needs would be saved for the closed form, too.
[[gnu::noinline]] StepsMade UpdateBySolver(const ModelConfig& config, float rating,
                                           int64_t sequence, size_t stride, float* p, float* q) {
  const Kernels& kernels = ActiveKernels();
  const PairProducts dots = kernels.products(p, q, stride);
  if (!(EpsilonLoss(dots.pq, rating, config.epsilon) > 0)) return {dots.pq, 0, 0};
  const StepRule rule = {config.variant, config.solver, config.aggressiveness, config.epsilon,
                         config.bisection_tolerance};
  // Both steps before either row changes. The two sides draw from streams of their own.
  const uint64_t seed = Mix64(static_cast<uint64_t>(sequence));
  const float p_step = SignedStep(rule, {p, q, stride, dots.pq, dots.qq}, rating, seed);
  const float q_step = SignedStep(rule, {q, p, stride, dots.pq, dots.pp}, rating, ~seed);
  kernels.step(p, q, {.add_p = p_step, .add_q = q_step}, stride);
  return {dots.pq, p_step, q_step};
}

}  // namespace

UpdateOutcome UpdatePair(const ModelConfig& config, float rating, int64_t sequence, size_t stride,
                         float* p, float* q) {
  const StepsMade steps =
      config.solver == Solver::kApproximate
          ? ActiveKernels().closed_update(
                p, q, {rating, config.epsilon, ClosedFormOf(config.variant, config.aggressiveness)},
                stride)
          : UpdateBySolver(config, rating, sequence, stride, p, q);
  const float cut = config.aggressiveness;
  return {.prediction = steps.prediction,
          .passive = !(EpsilonLoss(steps.prediction, rating, config.epsilon) > 0),
          .clipped = config.variant == Variant::kPaI &&
                     std::max(std::fabs(steps.p), std::fabs(steps.q)) >= cut};
}

}  // namespace factord
