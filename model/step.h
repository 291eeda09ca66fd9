// The size of one side's step, for each variant and solver: the mathematics of docs/algorithm.md.
//
// `w` is the row that changes, `x` its partner, y the rating, yhat = w . x. A step s means
// w' = max(w + s x, 0). Pure functions, thread-safe; the same bits on every CPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "model/config.h"
#include "model/kernel_table.h"

namespace factord {

// What a step depends on beside the rows.
struct StepRule {
  Variant variant;
  Solver solver;
  float aggressiveness;  // C > 0; unused by kPa
  float epsilon;         // >= 0
  float tolerance;       // bisection only, in (0, 1)
};

// One side of an event. Rows have `stride` floats, none of them negative.
struct StepSide {
  const float* w;
  const float* x;
  size_t stride;
  float prediction;    // w . x
  float norm_squared;  // |x|^2
};

// max(|prediction - rating| - epsilon, 0).
inline float EpsilonLoss(float prediction, float rating, float epsilon) {
  return std::max(std::fabs(prediction - rating) - epsilon, 0.0f);
}

// What the length of a step is where that is simply
//   kPa    loss / |x|^2
//   kPaI   min(C, loss / |x|^2)
//   kPaII  loss / (|x|^2 + 1 / (2 C))
// and at most kMaxStep.
inline ClosedForm ClosedFormOf(Variant variant, float aggressiveness) {
  switch (variant) {
    case Variant::kPaI:
      return {std::min(aggressiveness, kMaxStep), 0};
    case Variant::kPaII:
      return {kMaxStep, 0.5f / aggressiveness};
    case Variant::kPa:
    case Variant::kAdaptive:  // not a rule of this kind
      break;
  }
  return {kMaxStep, 0};
}
// Its length when w can only grow; also the approximate solver's when it must shrink. 0 where |x|^2
// is 0.
float ClosedFormStep(const StepRule& rule, float loss, float norm_squared);

// The root of g(theta) = max(w - theta x, 0) . x - target - ridge theta, which falls from g(0) > 0.
// Where target = ridge = 0 it is the upper bracket, max w_j / x_j. 0 where g(0) <= 0.
// REQUIRES: target >= 0, ridge >= 0, stride <= kMaxRank.
//
// Exact: random pivots over the breakpoints w_j / x_j (the randomised selection of Duchi et al.
// 2008 for the simplex), expected O(stride). `seed` draws the pivots.
double ExactRoot(const StepSide& side, double target, double ridge, uint64_t seed);
// Halves the bracket until |g| <= tolerance * target, or until it is as narrow as a float's
// precision.
double BisectionRoot(const StepSide& side, double target, double ridge, double tolerance);

// The signed step of one side: >= 0 where the prediction is too low, <= 0 where it is too high, 0
// within epsilon or where x is 0. `seed` is used by the exact solver.
float SignedStep(const StepRule& rule, const StepSide& side, float rating, uint64_t seed);

}  // namespace factord
