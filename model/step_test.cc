#include "model/step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/kernel_table.h"
#include "model/row.h"

namespace factord {
namespace {

using Row = std::vector<float>;

double Dot(const Row& a, const Row& b) {
  double sum = 0;
  for (size_t j = 0; j < a.size(); ++j) sum += static_cast<double>(a[j]) * b[j];
  return sum;
}

// One side of one event, with what the solvers are to be held against.
struct Problem {
  Row w;
  Row x;
  float rating = 0;
  StepRule rule = {Variant::kPa, Solver::kExact, 0.1f, 0.0f, 1e-3f};

  StepSide side() const {
    return {w.data(), x.data(), w.size(), static_cast<float>(Dot(w, x)),
            static_cast<float>(Dot(x, x))};
  }
  double target() const { return static_cast<double>(rating) + rule.epsilon; }
  float Step(uint64_t seed = 1) const { return SignedStep(rule, side(), rating, seed); }
  // max(w + step x, 0) . x
  double ProductAfter(double step) const {
    double sum = 0;
    for (size_t j = 0; j < w.size(); ++j) sum += std::max(w[j] + step * x[j], 0.0) * x[j];
    return sum;
  }
  double LossAfter(double step) const {
    return std::max(std::fabs(ProductAfter(step) - rating) - rule.epsilon, 0.0);
  }
};

// The root by sorting the breakpoints and walking along them: O(m log m), nothing clever.
double RootBySorting(const Problem& problem, double ridge) {
  struct Point {
    double at, wx, xx;
  };
  std::vector<Point> points;
  for (size_t j = 0; j < problem.w.size(); ++j) {
    const double w = problem.w[j], x = problem.x[j];
    if (w > 0 && x > 0) points.push_back({w / x, w * x, x * x});
  }
  std::sort(points.begin(), points.end(), [](auto& a, auto& b) { return a.at > b.at; });
  double wx = 0, xx = 0;
  for (size_t n = 0; n < points.size(); ++n) {
    wx += points[n].wx;
    xx += points[n].xx;
    const double theta = (wx - problem.target()) / (xx + ridge);
    const double next = n + 1 < points.size() ? points[n + 1].at : 0;
    if (theta >= next && theta <= points[n].at) return theta;
  }
  return points.empty() ? 0 : points.front().at;
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  float Uniform() { return static_cast<float>(engine_() >> 40) * 0x1p-24f; }
  int Below(int n) { return static_cast<int>(engine_() % n); }

  // Rows of `rank` factors with some zeros, padded.
  Row FactorRow(size_t rank, float scale) {
    Row row(RowStride(rank));
    for (size_t k = 0; k < rank; ++k) row[k] = Below(4) == 0 ? 0 : Uniform() * scale;
    return row;
  }
  // A problem whose prediction is above the rating.
  Problem TooHigh() {
    for (;;) {
      Problem problem;
      const size_t rank = 1 + Below(64);
      problem.w = FactorRow(rank, 1.5f);
      problem.x = FactorRow(rank, 0.8f);
      problem.rule.epsilon = Below(2) == 0 ? 0 : 0.1f * Uniform();
      problem.rule.aggressiveness = 0.01f + 2 * Uniform();
      problem.rating = static_cast<float>(Dot(problem.w, problem.x)) * Uniform();
      if (problem.ProductAfter(0) > problem.target() + 1e-3) return problem;
    }
  }

 private:
  std::mt19937_64 engine_;
};

constexpr int kProblems = 2000;
// Rounding of one float step: relative to the products that cancel.
double Rounding(const Problem& problem) { return 1e-5 * (problem.ProductAfter(0) + 1e-3); }

TEST(StepTest, ClosedFormByHand) {
  // |x|^2 = 4, loss 2.
  StepRule rule = {Variant::kPa, Solver::kApproximate, 0.25f, 0, 1e-3f};
  EXPECT_EQ(ClosedFormStep(rule, 2, 4), 0.5f);
  rule.variant = Variant::kPaI;
  EXPECT_EQ(ClosedFormStep(rule, 2, 4), 0.25f);  // clipped at C
  EXPECT_EQ(ClosedFormStep(rule, 0.5f, 4), 0.125f);
  rule.variant = Variant::kPaII;
  EXPECT_EQ(ClosedFormStep(rule, 2, 4), 2.0f / 6);  // 1 / (2 C) = 2
}

TEST(StepTest, EpsilonLossByHand) {
  EXPECT_EQ(EpsilonLoss(3, 5, 0), 2);
  EXPECT_EQ(EpsilonLoss(5, 3, 0.5f), 1.5f);
  EXPECT_EQ(EpsilonLoss(3.25f, 3, 0.5f), 0);
}

TEST(StepTest, RootsByHand) {
  // w = (2, 1), x = (1, 1), y = 1: f = (2 - t)+ + (1 - t)+ - 1 is 0 at t = 1.
  Problem problem{{2, 1}, {1, 1}, 1};
  EXPECT_DOUBLE_EQ(ExactRoot(problem.side(), 1, 0, 1), 1.0);
  EXPECT_EQ(problem.Step(), -1.0f);
  // y = 2: t = 0.5, both coordinates still positive.
  problem.rating = 2;
  EXPECT_DOUBLE_EQ(ExactRoot(problem.side(), 2, 0, 1), 0.5);
  // With ridge 1/(2C) = 1, y = 1: 3 - 2t - 1 - t = 0, t = 2/3.
  EXPECT_DOUBLE_EQ(ExactRoot(problem.side(), 1, 1, 1), 2.0 / 3);
  // NN-PA-I stops at C.
  problem.rule.variant = Variant::kPaI;
  problem.rule.aggressiveness = 0.25f;
  EXPECT_EQ(problem.Step(), -0.25f);
}

TEST(StepTest, TooLowIsTheSameForAllSolvers) {
  for (const Variant variant : {Variant::kPa, Variant::kPaI, Variant::kPaII}) {
    Problem problem{{1, 0}, {1, 2}, 4};
    problem.rule.variant = variant;
    problem.rule.aggressiveness = 0.5f;
    const float expected = ClosedFormStep(problem.rule, 3, 5);
    for (const Solver solver : {Solver::kExact, Solver::kBisection, Solver::kApproximate}) {
      problem.rule.solver = solver;
      EXPECT_EQ(problem.Step(), expected);
    }
  }
}

TEST(StepTest, ExactEqualsSorting) {
  Random random(1);
  for (int i = 0; i < kProblems; ++i) {
    const Problem problem = random.TooHigh();
    for (const double ridge : {0.0, 0.3, 50.0}) {
      const double expected = RootBySorting(problem, ridge);
      const double got = ExactRoot(problem.side(), problem.target(), ridge, i);
      ASSERT_NEAR(got, expected, 1e-12 * (1 + expected)) << "problem " << i << " ridge " << ridge;
    }
  }
}

TEST(StepTest, ExactRootDoesNotDependOnThePivotsBeyondRounding) {
  Random random(2);
  for (int i = 0; i < 200; ++i) {
    const Problem problem = random.TooHigh();
    const double root = ExactRoot(problem.side(), problem.target(), 0, 0);
    for (uint64_t seed = 1; seed < 10; ++seed) {
      ASSERT_NEAR(ExactRoot(problem.side(), problem.target(), 0, seed), root, 1e-12 * (1 + root));
    }
    ASSERT_EQ(ExactRoot(problem.side(), problem.target(), 0, 0), root);
  }
}

TEST(StepTest, ExactNnPaMeetsTheConstraint) {
  Random random(3);
  for (int i = 0; i < kProblems; ++i) {
    const Problem problem = random.TooHigh();
    ASSERT_LE(problem.LossAfter(problem.Step(i)), Rounding(problem)) << "problem " << i;
  }
}

TEST(StepTest, BisectionMeetsItsTolerance) {
  Random random(4);
  for (int i = 0; i < kProblems; ++i) {
    Problem problem = random.TooHigh();
    problem.rule.solver = Solver::kBisection;
    for (const float tolerance : {0.1f, 1e-3f, 1e-5f}) {
      problem.rule.tolerance = tolerance;
      const double f = problem.ProductAfter(problem.Step(i)) - problem.target();
      ASSERT_LE(std::fabs(f), tolerance * problem.target() + Rounding(problem)) << "problem " << i;
    }
  }
}

TEST(StepTest, ApproximateNeverRaisesTheLoss) {
  Random random(5);
  for (int i = 0; i < kProblems; ++i) {
    Problem problem = random.TooHigh();
    problem.rule.solver = Solver::kApproximate;
    for (const Variant variant : {Variant::kPa, Variant::kPaI, Variant::kPaII}) {
      problem.rule.variant = variant;
      const float step = problem.Step();
      ASSERT_LT(step, 0);
      // Truncation takes away less than the closed form counts on, so the prediction ends between
      // where it was and the edge of the insensitive band.
      ASSERT_LE(problem.LossAfter(step), problem.LossAfter(0)) << "problem " << i;
      ASSERT_GE(problem.ProductAfter(step), problem.target() - Rounding(problem));
    }
  }
}

TEST(StepTest, NnPa1StopsAtCOrAtTheRoot) {
  Random random(6);
  int at_c = 0, at_root = 0;
  for (int i = 0; i < kProblems; ++i) {
    Problem problem = random.TooHigh();
    problem.rule.variant = Variant::kPaI;
    const double root = RootBySorting(problem, 0);
    for (const Solver solver : {Solver::kExact, Solver::kBisection, Solver::kApproximate}) {
      problem.rule.solver = solver;
      ASSERT_LE(-problem.Step(i), problem.rule.aggressiveness);
    }
    problem.rule.solver = Solver::kExact;
    const double expected = std::min<double>(root, problem.rule.aggressiveness);
    ASSERT_NEAR(-problem.Step(i), expected, 1e-6 * (1 + expected)) << "problem " << i;
    ++(root > problem.rule.aggressiveness ? at_c : at_root);
  }
  EXPECT_GT(at_c, kProblems / 10);
  EXPECT_GT(at_root, kProblems / 10);
}

TEST(StepTest, NnPa2SolvesItsEquation) {
  Random random(7);
  for (int i = 0; i < kProblems; ++i) {
    Problem problem = random.TooHigh();
    problem.rule.variant = Variant::kPaII;
    const double theta = -problem.Step(i);
    const double g = problem.ProductAfter(-theta) - problem.target() -
                     theta / (2.0 * problem.rule.aggressiveness);
    ASSERT_NEAR(g, 0, Rounding(problem) + 1e-5 * theta / problem.rule.aggressiveness)
        << "problem " << i;
  }
}

// The objective that the step is said to minimise over w' >= 0.
double Objective(const Problem& problem, const std::vector<double>& w) {
  double distance = 0, product = 0;
  for (size_t j = 0; j < w.size(); ++j) {
    distance += (w[j] - problem.w[j]) * (w[j] - problem.w[j]);
    product += w[j] * problem.x[j];
  }
  const double slack = std::max(std::fabs(product - problem.rating) - problem.rule.epsilon, 0.0);
  const double c = problem.rule.aggressiveness;
  return 0.5 * distance + (problem.rule.variant == Variant::kPaI ? c * slack : c * slack * slack);
}

TEST(StepTest, ExactIsOptimalAmongFeasibleNeighbours) {
  Random random(8);
  for (int i = 0; i < 300; ++i) {
    Problem problem = random.TooHigh();
    if (i % 3 == 0) problem.rating = 2 * problem.side().prediction + 0.5f;  // too low
    for (const Variant variant : {Variant::kPaI, Variant::kPaII}) {
      problem.rule.variant = variant;
      const double step = problem.Step(i);
      std::vector<double> best(problem.w.size());
      for (size_t j = 0; j < best.size(); ++j) {
        best[j] = std::max(problem.w[j] + step * problem.x[j], 0.0);
      }
      const double value = Objective(problem, best);
      for (int trial = 0; trial < 50; ++trial) {
        const double size = std::pow(10.0, -random.Below(5));
        std::vector<double> other = best;
        for (double& v : other) v = std::max(v + size * (random.Uniform() - 0.5), 0.0);
        ASSERT_GE(Objective(problem, other), value - 1e-6 * (1 + value)) << "problem " << i;
      }
    }
  }
}

TEST(StepTest, NothingToLearnFromAZeroRow) {
  for (const Variant variant : {Variant::kPa, Variant::kPaI, Variant::kPaII}) {
    for (const Solver solver : {Solver::kExact, Solver::kBisection, Solver::kApproximate}) {
      Problem problem{{1, 1}, {0, 0}, 3};
      problem.rule.variant = variant;
      problem.rule.solver = solver;
      EXPECT_EQ(problem.Step(), 0.0f);
      EXPECT_EQ(ClosedFormStep(problem.rule, 3, 0), 0.0f);
      // The square of 1e-30 is 0 in a float.
      problem.x = {1e-30f, 0};
      EXPECT_EQ(problem.Step(), 0.0f);
      problem.w = {kMaxFactor, 0};
      problem.rating = 0;
      EXPECT_EQ(problem.Step(), 0.0f);
    }
  }
}

TEST(StepTest, WithinEpsilonIsPassive) {
  Problem problem{{1, 1}, {1, 1}, 2.25f};
  problem.rule.epsilon = 0.25f;
  EXPECT_EQ(problem.Step(), 0.0f);
  problem.rule.epsilon = 0.125f;
  EXPECT_GT(problem.Step(), 0.0f);
}

TEST(StepTest, RatingZeroWithoutEpsilonEndsAtTheUpperBracket) {
  // w_j / x_j: 2, 4, and one that plays no part.
  Problem problem{{2, 2, 3}, {1, 0.5f, 0}, 0};
  problem.rule.aggressiveness = 100;
  for (const Variant variant : {Variant::kPa, Variant::kPaI}) {
    problem.rule.variant = variant;
    for (const Solver solver : {Solver::kExact, Solver::kBisection}) {
      problem.rule.solver = solver;
      EXPECT_EQ(problem.Step(), -4.0f);
    }
  }
  problem.rule.variant = Variant::kPaII;
  for (const Solver solver : {Solver::kExact, Solver::kBisection}) {
    problem.rule.solver = solver;
    const double theta = -problem.Step();
    EXPECT_NEAR(problem.ProductAfter(-theta), theta / 200, 1e-5);
  }
}

TEST(StepTest, StepsStayFiniteAtTheEdgesOfFloats) {
  constexpr float kMax = std::numeric_limits<float>::max();
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  const float factors[] = {0, kDenormal, 1e-38f, 1e-22f, 1e-10f, 1, 1e10f, kMaxFactor};
  const float ratings[] = {0, kDenormal, 1, 1e20f, kMax};
  const float cs[] = {kDenormal, 1e-20f, 1, 1e20f, kMax};
  for (const float w : factors) {
    for (const float x : factors) {
      for (const float rating : ratings) {
        for (const float c : cs) {
          for (int choice = 0; choice < 9; ++choice) {
            Problem problem{{w, 1, 0}, {x, 0, 1}, rating};
            problem.rule.variant = static_cast<Variant>(choice / 3 + 1);
            problem.rule.solver = static_cast<Solver>(choice % 3 + 1);
            problem.rule.aggressiveness = c;
            const float step = problem.Step();
            ASSERT_TRUE(std::fabs(step) <= kMaxStep)
                << w << ' ' << x << ' ' << rating << ' ' << c << ' ' << choice << ": " << step;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace factord
