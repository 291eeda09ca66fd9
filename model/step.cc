#include "model/step.h"

#include <algorithm>
#include <cmath>

#include "model/mix.h"

namespace factord {
namespace {

// Sums over active coordinates: g(theta) = wx - target - theta (xx + ridge) while they are the
// positive ones. In double: a float's sum could miss its sign near the root.
struct Sums {
  double wx = 0;
  double xx = 0;
};

double G(const StepSide& side, double target, double ridge, double theta) {
  double sum = 0;
  for (size_t j = 0; j < side.stride; ++j) {
    const double x = side.x[j];
    sum += std::max(side.w[j] - theta * x, 0.0) * x;
  }
  return sum - target - ridge * theta;
}

// max w_j / x_j over x_j > 0: beyond it every coordinate that matters is 0.
double UpperBracket(const StepSide& side) {
  double upper = 0;
  for (size_t j = 0; j < side.stride; ++j) {
    if (side.x[j] > 0) upper = std::max(upper, static_cast<double>(side.w[j]) / side.x[j]);
  }
  return upper;
}

// A coordinate, by the theta at which it reaches 0.
struct Breakpoint {
  double at;
  double wx;
  double xx;
};

// 1 / (2 C), what NN-PA-II adds to |x|^2. Written so that a huge C does not overflow.
double Ridge(const StepRule& rule) {
  return rule.variant == Variant::kPaII ? 0.5 / static_cast<double>(rule.aggressiveness) : 0.0;
}

double Root(const StepRule& rule, const StepSide& side, double target, uint64_t seed) {
  const double ridge = Ridge(rule);
  // NN-PA-I stops at C, and most steps end there: the root is looked for only below it.
  if (rule.variant == Variant::kPaI && G(side, target, 0, rule.aggressiveness) >= 0) {
    return std::min<double>(rule.aggressiveness, UpperBracket(side));
  }
  const double root = rule.solver == Solver::kExact
                          ? ExactRoot(side, target, ridge, seed)
                          : BisectionRoot(side, target, ridge, rule.tolerance);
  return rule.variant == Variant::kPaI ? std::min<double>(root, rule.aggressiveness) : root;
}

}  // namespace

float ClosedFormStep(const StepRule& rule, float loss, float norm_squared) {
  return ClosedFormOf(rule.variant, rule.aggressiveness).Length(loss, norm_squared);
}

double ExactRoot(const StepSide& side, double target, double ridge, uint64_t seed) {
  Breakpoint points[kMaxRank];
  size_t n = 0;
  double upper = 0;
  for (size_t j = 0; j < side.stride; ++j) {
    const double w = side.w[j], x = side.x[j];
    if (!(x > 0 && w > 0)) continue;
    points[n] = {w / x, w * x, x * x};
    upper = std::max(upper, points[n].at);
    ++n;
  }
  // Invariant: coordinates in `active` are positive at the root; those outside `active` and
  // points[0, n) are 0 there.
  Sums active;
  for (uint64_t draw = 0; n > 0; ++draw) {
    const size_t pivot = Below(n, Mix64(seed + draw));
    const double at = points[pivot].at;
    // Later breakpoints to the front: they are positive at `at`.
    Breakpoint* const middle =
        std::partition(points, points + n, [at](const Breakpoint& b) { return b.at > at; });
    Sums later = active;
    for (const Breakpoint* b = points; b != middle; ++b) {
      later.wx += b->wx;
      later.xx += b->xx;
    }
    if (later.wx - target - at * (later.xx + ridge) >= 0) {
      // The root is at `at` or beyond: what reaches 0 by then is 0 at the root.
      n = static_cast<size_t>(middle - points);
      continue;
    }
    // The root is before `at`: all of these are positive there.
    active = later;
    Breakpoint* const equal =
        std::partition(middle, points + n, [at](const Breakpoint& b) { return b.at >= at; });
    for (const Breakpoint* b = middle; b != equal; ++b) {
      active.wx += b->wx;
      active.xx += b->xx;
    }
    n = static_cast<size_t>(std::copy(equal, points + n, points) - points);
  }
  const double slope = active.xx + ridge;
  if (!(slope > 0)) return upper;
  return std::clamp((active.wx - target) / slope, 0.0, upper);
}

double BisectionRoot(const StepSide& side, double target, double ridge, double tolerance) {
  // Each halving gains a bit: from the widest bracket (1e17 / 1e-45) down to the narrowest root
  // these are some 300, and a handful in practice.
  constexpr int kMaxHalvings = 400;
  constexpr double kNarrow = 0x1p-26;  // relative; a float keeps 24 bits
  double low = 0, high = UpperBracket(side);
  if (target == 0 && ridge == 0) return high;
  if (G(side, target, ridge, 0) <= 0) return 0;
  for (int i = 0; i < kMaxHalvings && high - low > kNarrow * high; ++i) {
    const double middle = low + (high - low) / 2;
    const double g = G(side, target, ridge, middle);
    if (std::fabs(g) <= tolerance * target) return middle;
    (g > 0 ? low : high) = middle;
  }
  return high;
}

float SignedStep(const StepRule& rule, const StepSide& side, float rating, uint64_t seed) {
  const float loss = EpsilonLoss(side.prediction, rating, rule.epsilon);
  if (!(loss > 0) || !(side.norm_squared > 0)) return 0;
  if (side.prediction < rating) return ClosedFormStep(rule, loss, side.norm_squared);
  if (rule.solver == Solver::kApproximate) return -ClosedFormStep(rule, loss, side.norm_squared);
  const double target = static_cast<double>(rating) + static_cast<double>(rule.epsilon);
  return -static_cast<float>(std::min<double>(Root(rule, side, target, seed), kMaxStep));
}

}  // namespace factord
