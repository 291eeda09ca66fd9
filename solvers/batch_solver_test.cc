#include "solvers/batch_solver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "model/mix.h"
#include "solvers/row_solver.h"

namespace factord {
namespace {

using ::testing::HasSubstr;

double Uniform(uint64_t draw) { return static_cast<double>(Mix64(draw) >> 11) * 0x1p-53; }

// A non-negative matrix of low rank, of which a part is known.
SparseMatrix LowRank(uint32_t rows, uint32_t columns, double share, double noise = 0) {
  constexpr int kRank = 3;
  std::vector<MatrixEntry> entries;
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t c = 0; c < columns; ++c) {
      if (Uniform(1'000'003 * r + c) >= share) continue;
      double value = noise * Uniform(77 * r + 1'000'033 * c + 5);
      for (uint64_t k = 0; k < kRank; ++k) {
        value += Uniform(10'000'019 + 31 * r + k) * Uniform(20'000'003 + 37 * c + k);
      }
      entries.push_back({r, c, static_cast<float>(value)});
    }
  }
  return SparseMatrix(rows, columns, entries);
}

std::unique_ptr<BatchSolver> Make(const BatchOptions& options, const SparseMatrix& matrix) {
  auto solver = BatchSolver::Create(options, &matrix);
  EXPECT_TRUE(solver.ok()) << solver.status();
  return *std::move(solver);
}

double MeanError(const BatchSolver& solver, const SparseMatrix& matrix) {
  double error = 0;
  for (uint32_t r = 0; r < matrix.rows(); ++r) {
    const SparseMatrix::Row row = matrix.row(r);
    for (size_t j = 0; j < row.values.size(); ++j) {
      error += std::abs(static_cast<double>(row.values[j] - solver.Predict(r, row.columns[j])));
    }
  }
  return error / static_cast<double>(matrix.entries());
}

TEST(SparseMatrixTest, TransposedTwiceIsTheSame) {
  const std::vector<MatrixEntry> entries = {{2, 1, 5}, {0, 3, 1}, {2, 0, 2}};
  const SparseMatrix matrix(3, 4, entries);
  EXPECT_EQ(matrix.entries(), 3u);
  EXPECT_THAT(matrix.row(2).columns, testing::ElementsAre(1, 0));
  EXPECT_THAT(matrix.row(1).columns, testing::IsEmpty());
  const SparseMatrix turned = matrix.Transposed();
  EXPECT_EQ(turned.rows(), 4u);
  EXPECT_THAT(turned.row(1).values, testing::ElementsAre(5));
  EXPECT_THAT(turned.Transposed().row(2).values, testing::ElementsAre(2, 5));
}

struct Case {
  std::string name;
  BatchOptions options;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> AllMethods() {
  std::vector<Case> cases;
  for (const BatchMethod method :
       {BatchMethod::kPassiveAggressive, BatchMethod::kSgdAbsolute, BatchMethod::kSgdSquared,
        BatchMethod::kProjectedGradient, BatchMethod::kCoordinateDescent,
        BatchMethod::kMultiplicativeEuclidean, BatchMethod::kMultiplicativeKl}) {
    BatchOptions options = {.method = method, .rank = 4, .l2 = 1e-4f, .aggressiveness = 0.02f};
    if (method == BatchMethod::kSgdAbsolute || method == BatchMethod::kSgdSquared) {
      options.l2 = 0.05f;
    }
    cases.push_back({std::string(BatchMethodName(method)), options});
  }
  return cases;
}

class EveryMethodTest : public testing::TestWithParam<Case> {};

TEST_P(EveryMethodTest, FindsALowRankMatrixAndStaysNonNegative) {
  const SparseMatrix matrix = LowRank(60, 50, 0.6);
  auto solver = Make(GetParam().options, matrix);
  solver->Pass();
  const double first = MeanError(*solver, matrix);
  for (int pass = 1; pass < 200; ++pass) solver->Pass();
  const double last = MeanError(*solver, matrix);
  EXPECT_LT(last, 0.6 * first);
  EXPECT_LT(last, 0.12);  // the entries' mean is .75
  for (const FactorMatrix* side : {&solver->p(), &solver->q()}) {
    for (uint32_t i = 0; i < side->rows(); ++i) {
      for (size_t k = 0; k < side->stride(); ++k) {
        ASSERT_GE(side->row(i)[k], 0);
        if (k >= side->rank()) {
          ASSERT_EQ(side->row(i)[k], 0);
        }
      }
    }
  }
}

TEST_P(EveryMethodTest, IsAFunctionOfTheSeed) {
  const SparseMatrix matrix = LowRank(20, 15, 0.5);
  BatchOptions options = GetParam().options;
  auto one = Make(options, matrix), same = Make(options, matrix);
  options.seed = 2;
  auto other = Make(options, matrix);
  for (BatchSolver* solver : {one.get(), same.get(), other.get()}) {
    for (int pass = 0; pass < 3; ++pass) solver->Pass();
  }
  EXPECT_EQ(one->Predict(3, 4), same->Predict(3, 4));
  EXPECT_NE(one->Predict(3, 4), other->Predict(3, 4));
}

TEST_P(EveryMethodTest, RowsAndColumnsWithoutEntriesChangeNothing) {
  const std::vector<MatrixEntry> entries = {{0, 0, 2}};
  const SparseMatrix matrix(2, 2, entries);
  auto solver = Make(GetParam().options, matrix);
  for (int pass = 0; pass < 3; ++pass) solver->Pass();
  EXPECT_TRUE(std::isfinite(solver->Predict(1, 1)));
  EXPECT_TRUE(std::isfinite(solver->Objective()));
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethodTest, testing::ValuesIn(AllMethods()),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// Methods that lower their objective in every step, whatever the penalty and the zeros.
class DescentTest : public testing::TestWithParam<std::tuple<BatchMethod, Zeros, float>> {};

TEST_P(DescentTest, TheObjectiveNeverRises) {
  const auto [method, zeros, l2] = GetParam();
  const SparseMatrix matrix = LowRank(40, 30, 0.3, 0.5);
  auto solver = Make({.method = method, .rank = 5, .zeros = zeros, .l2 = l2}, matrix);
  double before = solver->Objective();
  const double start = before;
  for (int pass = 0; pass < 60; ++pass) {
    solver->Pass();
    const double now = solver->Objective();
    ASSERT_LE(now, before * (1 + 1e-5)) << "pass " << pass;
    before = now;
  }
  EXPECT_LT(before, 0.9 * start);
}

INSTANTIATE_TEST_SUITE_P(Methods, DescentTest,
                         testing::Combine(testing::Values(BatchMethod::kProjectedGradient,
                                                          BatchMethod::kCoordinateDescent,
                                                          BatchMethod::kMultiplicativeEuclidean,
                                                          BatchMethod::kMultiplicativeKl),
                                          testing::Values(Zeros::kMissing, Zeros::kObserved),
                                          testing::Values(0.0f, 0.3f)));

// With all cells given, zeros included, both readings of the zeros are the same problem.
TEST(ZerosTest, ObservedIsMissingWithEveryCellGiven) {
  std::vector<MatrixEntry> all, positive;
  for (uint32_t r = 0; r < 12; ++r) {
    for (uint32_t c = 0; c < 9; ++c) {
      const float value = (r + 2 * c) % 3 == 0 ? static_cast<float>(1 + (r * c) % 5) : 0;
      all.push_back({r, c, value});
      if (value > 0) positive.push_back({r, c, value});
    }
  }
  const SparseMatrix dense(12, 9, all), sparse(12, 9, positive);
  for (const BatchMethod method :
       {BatchMethod::kProjectedGradient, BatchMethod::kCoordinateDescent,
        BatchMethod::kMultiplicativeEuclidean, BatchMethod::kMultiplicativeKl}) {
    BatchOptions options = {.method = method, .rank = 3, .l2 = 0.1f};
    auto missing = Make(options, dense);
    options.zeros = Zeros::kObserved;
    auto observed = Make(options, sparse);
    for (int pass = 0; pass < 5; ++pass) {
      missing->Pass();
      observed->Pass();
    }
    EXPECT_NEAR(missing->Objective(), observed->Objective(), 1e-3 * missing->Objective())
        << BatchMethodName(method);
    EXPECT_NEAR(missing->Predict(3, 3), observed->Predict(3, 3), 1e-2) << BatchMethodName(method);
  }
}

// --- One row by hand. Partners (1, 0), (1, 2); values 3, 5; w = (1, 1).

class RowTest : public testing::Test {
 protected:
  RowTest() : partners_(2, 2) {
    partners_.row(0)[0] = 1;
    partners_.row(1)[0] = 1;
    partners_.row(1)[1] = 2;
    w_.resize(partners_.stride());
    w_[0] = w_[1] = 1;
  }
  void Improve(const BatchOptions& options) {
    const FixedSide fixed(options, partners_);
    MakeRowSolver(options)->Improve({fixed, partner_indices_, values_, 0, 1}, w_.data());
  }
  FactorMatrix partners_;
  const std::vector<uint32_t> partner_indices_ = {0, 1};
  std::vector<float> values_ = {3, 5};
  std::vector<float> w_;
};

TEST_F(RowTest, CoordinateDescent) {
  // Residuals 2, 2: w_0 += 4 / 2. Then residuals 0, 0: w_1 stays.
  Improve({.method = BatchMethod::kCoordinateDescent, .rank = 2, .l2 = 0});
  EXPECT_FLOAT_EQ(w_[0], 3);
  EXPECT_FLOAT_EQ(w_[1], 1);
}

TEST_F(RowTest, MultiplicativeEuclidean) {
  // Wanted (8, 10); present: predictions 1, 3: (4, 6).
  Improve({.method = BatchMethod::kMultiplicativeEuclidean, .rank = 2, .l2 = 0});
  EXPECT_FLOAT_EQ(w_[0], 2);
  EXPECT_FLOAT_EQ(w_[1], 10.0f / 6);
}

TEST_F(RowTest, MultiplicativeKl) {
  // Ratios 3, 5/3: wanted (14/3, 10/3), sums (2, 2).
  Improve({.method = BatchMethod::kMultiplicativeKl, .rank = 2, .l2 = 0});
  EXPECT_FLOAT_EQ(w_[0], 7.0f / 3);
  EXPECT_FLOAT_EQ(w_[1], 5.0f / 3);
}

TEST_F(RowTest, ProjectedGradientGoesToTheMinimumAlongTheGradient) {
  // Descent d = (4, 4); d.Hd = |(4, 12)|^2 = 160; |d|^2 = 32: step .2.
  Improve({.method = BatchMethod::kProjectedGradient, .rank = 2, .l2 = 0});
  EXPECT_FLOAT_EQ(w_[0], 1.8f);
  EXPECT_FLOAT_EQ(w_[1], 1.8f);
}

TEST_F(RowTest, ThePenaltyIsOfTheRow) {
  // The same with l2 = 1/2. Descent 4 - 1/2, curvature 2 + 1/2: w_0 += 1.4. Residuals .6, .6:
  // descent 1.2 - 1/2, curvature 4 + 1/2. The zeros add nothing: every partner has an entry.
  for (const Zeros zeros : {Zeros::kMissing, Zeros::kObserved}) {
    w_[0] = w_[1] = 1;
    Improve({.method = BatchMethod::kCoordinateDescent, .rank = 2, .zeros = zeros, .l2 = 0.5f});
    EXPECT_FLOAT_EQ(w_[0], 2.4f);
    EXPECT_FLOAT_EQ(w_[1], 1 + 0.7f / 4.5f);
    // Present: (4, 6) + (1/2, 1/2).
    w_[0] = w_[1] = 1;
    Improve(
        {.method = BatchMethod::kMultiplicativeEuclidean, .rank = 2, .zeros = zeros, .l2 = 0.5f});
    EXPECT_FLOAT_EQ(w_[0], 8 / 4.5f);
    EXPECT_FLOAT_EQ(w_[1], 10 / 6.5f);
    // Descent d = (3.5, 3.5), Hd = (15.75, 22.75): step 24.5 / 134.75.
    w_[0] = w_[1] = 1;
    Improve({.method = BatchMethod::kProjectedGradient, .rank = 2, .zeros = zeros, .l2 = 0.5f});
    EXPECT_FLOAT_EQ(w_[0], 1 + 3.5f * 24.5f / 134.75f);
    EXPECT_FLOAT_EQ(w_[1], w_[0]);
    // The root of l2 w + 2 - a / w, a = (14/3, 10/3).
    w_[0] = w_[1] = 1;
    Improve({.method = BatchMethod::kMultiplicativeKl, .rank = 2, .zeros = zeros, .l2 = 0.5f});
    EXPECT_NEAR(0.5f * w_[0] + 2 - 14 / 3.0f / w_[0], 0, 1e-5);
    EXPECT_NEAR(0.5f * w_[1] + 2 - 10 / 3.0f / w_[1], 0, 1e-5);
  }
}

// The minimum along the ray lies where the first factor is far below 0. Projected, that step would
// raise the objective a hundredfold.
TEST_F(RowTest, ProjectedGradientSearchesWhereProjectionCutsTheRay) {
  partners_.row(0)[1] = 1;
  partners_.row(1)[1] = 1.1f;
  w_[0] = 0.01f;
  w_[1] = 5;
  values_ = {5.01f - 1.05f, 5.51f + 1};
  const auto objective = [this] {
    const double first = static_cast<double>(values_[0] - w_[0] - w_[1]);
    const double second = static_cast<double>(values_[1] - w_[0] - 1.1f * w_[1]);
    return (first * first + second * second) / 2;
  };
  const double before = objective();
  Improve({.method = BatchMethod::kProjectedGradient, .rank = 2, .l2 = 0});
  EXPECT_LT(objective(), before);
}

// Methods that go entry by entry, on the second entry alone: x = (1, 2), prediction 3.
class OneEntryTest : public RowTest {
 protected:
  // Of w = (1, 1), in pass `pass`.
  void Improve(const BatchOptions& options, float value, int32_t pass = 0) {
    w_[0] = w_[1] = 1;
    const FixedSide fixed(options, partners_);
    MakeRowSolver(options)->Improve({fixed, {&partner_indices_[1], 1}, {&value, 1}, pass, 1},
                                    w_.data());
  }
  void ExpectRow(float first, float second) {
    EXPECT_FLOAT_EQ(w_[0], first);
    EXPECT_FLOAT_EQ(w_[1], second);
  }
};

TEST_F(OneEntryTest, PassiveAggressive) {
  BatchOptions options = {.rank = 2, .aggressiveness = 0.1f};
  for (const bool non_negative : {true, false}) {
    options.non_negative = non_negative;
    options.aggressiveness = 0.1f;
    options.epsilon = 0;
    Improve(options, 5);
    ExpectRow(1.1f, 1.2f);
    Improve(options, 1);
    ExpectRow(0.9f, 0.8f);
    options.aggressiveness = 10;
    Improve(options, 5);  // loss 2, |x|^2 5
    ExpectRow(1.4f, 1.8f);
    options.epsilon = 0.5f;
    Improve(options, 5);
    ExpectRow(1.3f, 1.6f);
    Improve(options, 3.4f);  // within epsilon
    ExpectRow(1, 1);
  }
  options.epsilon = 0;
  Improve(options, 0);
  ExpectRow(0.4f, -0.2f);
  options.non_negative = true;
  Improve(options, 0);
  ExpectRow(0.4f, 0);
}

TEST_F(OneEntryTest, SgdAbsolute) {
  const BatchOptions options = {.method = BatchMethod::kSgdAbsolute, .rank = 2, .l2 = 0.5f};
  Improve(options, 5);  // step 2, and nothing is left of w
  ExpectRow(2, 4);
  Improve(options, 5, 9);  // step .2, of w .9 is left
  ExpectRow(1.1f, 1.3f);
  Improve(options, 1, 9);
  ExpectRow(0.7f, 0.5f);
  Improve(options, 3, 9);
  ExpectRow(0.9f, 0.9f);
  Improve(options, 1, 1);  // step 1
  ExpectRow(0, 0);
}

TEST_F(OneEntryTest, SgdSquared) {
  const BatchOptions options = {.method = BatchMethod::kSgdSquared, .rank = 2, .l2 = 0.5f};
  Improve(options, 5, 19);  // step .1, error 2
  ExpectRow(1.15f, 1.35f);
  Improve(options, 1, 19);
  ExpectRow(0.75f, 0.55f);
  Improve(options, 5);  // step 2, cut at 1 / |x|^2
  ExpectRow(0.4f, 0.8f);
}

// Two entries that are at odds: which came last shows in the row.
TEST(EntryOrderTest, IsAnotherOneForEachRowAndPass) {
  constexpr uint32_t kRows = 60;
  const auto value_at = [](uint32_t row, uint32_t column) {
    return static_cast<float>((7 * row + 3 * column) % 10);
  };
  std::vector<MatrixEntry> entries;
  for (uint32_t r = 0; r < kRows; ++r) {
    entries.push_back({r, 0, value_at(r, 0)});
    entries.push_back({r, 1, value_at(r, 1)});
  }
  const SparseMatrix matrix(kRows, 2, entries);
  const BatchOptions options = {.rank = 3, .variant = Variant::kPaII};
  auto solver = Make(options, matrix);
  std::vector<bool> before;
  for (int pass = 0; pass < 3; ++pass) {
    const FactorMatrix p = solver->p(), q = solver->q();
    solver->Pass();
    const FixedSide fixed(options, q);
    std::vector<bool> first_comes_first(kRows);
    int told = 0;
    for (uint32_t r = 0; r < kRows; ++r) {
      // One entry at a time, in either order: which of them is it?
      const auto in_order = [&](std::vector<uint32_t> order) {
        std::vector<float> w(p.row(r), p.row(r) + p.stride());
        for (const uint32_t column : order) {
          const float value = value_at(r, column);
          MakeRowSolver(options)->Improve({fixed, {&column, 1}, {&value, 1}, pass, 1}, w.data());
        }
        return w;
      };
      const std::vector<float> now(solver->p().row(r), solver->p().row(r) + p.stride());
      const std::vector<float> forwards = in_order({0, 1}), backwards = in_order({1, 0});
      if (forwards == backwards) continue;
      ++told;
      ASSERT_TRUE(now == forwards || now == backwards) << r;
      first_comes_first[r] = now == forwards;
    }
    const auto count = std::count(first_comes_first.begin(), first_comes_first.end(), true);
    EXPECT_GT(told, 40) << pass;
    EXPECT_GT(count, told / 4) << pass;
    EXPECT_LT(count, 3 * told / 4) << pass;
    int changed = 0;
    for (uint32_t r = 0; pass > 0 && r < kRows; ++r) {
      changed += first_comes_first[r] != before[r] ? 1 : 0;
    }
    if (pass > 0) {
      EXPECT_GT(changed, told / 4) << pass;
    }
    before = first_comes_first;
  }
}

TEST_F(RowTest, MultiplicativeKlStaysAtAPerfectFit) {
  w_[0] = 3;
  w_[1] = 1;
  Improve({.method = BatchMethod::kMultiplicativeKl, .rank = 2, .l2 = 0});
  EXPECT_FLOAT_EQ(w_[0], 3);
  EXPECT_FLOAT_EQ(w_[1], 1);
}

TEST(PassiveAggressiveTest, MeetsTheConstraintOfItsLastEntryExactly) {
  const std::vector<MatrixEntry> entries = {{0, 0, 2}};
  const SparseMatrix matrix(1, 1, entries);
  auto solver = Make({.rank = 4, .variant = Variant::kPa, .step_solver = Solver::kExact}, matrix);
  solver->Pass();
  EXPECT_NEAR(solver->Predict(0, 0), 2, 1e-5);
}

TEST(PassiveAggressiveTest, WithoutNonNegativityFactorsMayBeNegative) {
  const SparseMatrix matrix = LowRank(60, 50, 0.6, 1);
  auto solver = Make({.rank = 4, .aggressiveness = 0.3f, .non_negative = false}, matrix);
  for (int pass = 0; pass < 10; ++pass) solver->Pass();
  bool negative = false;
  for (uint32_t i = 0; i < solver->p().rows(); ++i) {
    for (size_t k = 0; k < 4; ++k) negative = negative || solver->p().row(i)[k] < 0;
  }
  EXPECT_TRUE(negative);
}

TEST(BatchSolverTest, MultiplicativeKlHasNoDivergenceAtAPerfectFit) {
  const std::vector<MatrixEntry> entries = {{0, 0, 2}, {0, 1, 3}, {1, 0, 4}, {1, 1, 6}};
  const SparseMatrix matrix(2, 2, entries);
  auto solver = Make({.method = BatchMethod::kMultiplicativeKl, .rank = 1, .l2 = 0}, matrix);
  for (int pass = 0; pass < 50; ++pass) solver->Pass();
  EXPECT_NEAR(solver->Objective(), 0, 1e-5);
}

TEST(BatchSolverTest, StartsWhereItSays) {
  const SparseMatrix matrix = LowRank(40, 30, 0.5);
  for (const Case& c : AllMethods()) {
    const auto solver = Make(c.options, matrix);
    const bool is_multiplicative = c.name.starts_with("multiplicative");
    double sum = 0;
    for (uint32_t i = 0; i < 30; ++i) {
      for (size_t k = 0; k < 4; ++k) {
        const float p = solver->p().row(i)[k], q = solver->q().row(i)[k];
        EXPECT_EQ(p != 0, is_multiplicative) << c.name;
        EXPECT_NE(p, q) << c.name;
        EXPECT_GE(q, 0);
        EXPECT_LT(q, 1);
        sum += static_cast<double>(q);
      }
    }
    EXPECT_NEAR(sum / 120, 0.5, 0.1);
    EXPECT_EQ(solver->passes(), 0);
    solver->Pass();
    EXPECT_EQ(solver->passes(), 1);
  }
}

// Nothing is known of a column without entries, unless they are zeros.
TEST(BatchSolverTest, AColumnWithoutEntriesStaysOrGoesToZero) {
  const std::vector<MatrixEntry> entries = {{0, 0, 2}};
  const SparseMatrix matrix(1, 2, entries);
  for (Case c : AllMethods()) {
    c.options.l2 = 0.1f;
    auto solver = Make(c.options, matrix);
    const std::vector<float> start(solver->q().row(1), solver->q().row(1) + 4);
    for (int pass = 0; pass < 3; ++pass) solver->Pass();
    EXPECT_EQ(std::vector<float>(solver->q().row(1), solver->q().row(1) + 4), start) << c.name;
    c.options.zeros = Zeros::kObserved;
    if (!c.options.Validate().ok()) continue;
    solver = Make(c.options, matrix);
    for (int pass = 0; pass < 30; ++pass) solver->Pass();
    EXPECT_NEAR(solver->Predict(0, 1), 0, 0.01) << c.name;
    EXPECT_GT(solver->Predict(0, 0), 1) << c.name;
  }
}

TEST(BatchSolverTest, TheObjectiveByHand) {
  const std::vector<MatrixEntry> entries = {{0, 0, 2}, {1, 1, 3}};
  const SparseMatrix matrix(2, 2, entries);
  for (Case c : AllMethods()) {
    c.options.l2 = 0.3f;
    for (const Zeros zeros : {Zeros::kMissing, Zeros::kObserved}) {
      c.options.zeros = zeros;
      if (!c.options.Validate().ok()) continue;
      auto solver = Make(c.options, matrix);
      for (int pass = 0; pass < 2; ++pass) solver->Pass();
      const bool is_absolute = c.name == "pa" || c.name == "sgd-absolute";
      double wanted = 0;
      for (uint32_t r = 0; r < 2; ++r) {
        for (uint32_t column = 0; column < 2; ++column) {
          if (r != column && zeros == Zeros::kMissing) continue;
          const double value = r != column ? 0 : r == 0 ? 2 : 3;
          const auto predicted = static_cast<double>(solver->Predict(r, column));
          const double error = std::abs(value - predicted);
          if (c.name == "multiplicative-kl") {
            wanted += (value > 0 ? value * std::log(value / predicted) : 0) - value + predicted;
          } else {
            wanted += is_absolute ? error : error * error / 2;
          }
        }
        for (size_t k = 0; k < 4 && c.name != "pa"; ++k) {
          wanted += 0.15 * std::pow(static_cast<double>(solver->p().row(r)[k]), 2);
          wanted += 0.15 * std::pow(static_cast<double>(solver->q().row(r)[k]), 2);
        }
      }
      EXPECT_NEAR(solver->Objective(), wanted, 1e-5 * (1 + wanted)) << c.name;
    }
  }
}

TEST(BatchSolverTest, NamesEveryBadOption) {
  const SparseMatrix matrix = LowRank(3, 3, 1);
  const absl::Status status = BatchSolver::Create({.method = BatchMethod::kSgdSquared,
                                                   .rank = 0,
                                                   .zeros = Zeros::kObserved,
                                                   .l2 = 0,
                                                   .aggressiveness = -1,
                                                   .epsilon = -1,
                                                   .tolerance = 2,
                                                   .non_negative = false},
                                                  &matrix)
                                  .status();
  for (const char* name :
       {"rank", "l2", "aggressiveness", "epsilon", "tolerance", "zeros", "non_negative"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
  const std::vector<MatrixEntry> negative = {{0, 0, -1}};
  EXPECT_THAT(
      std::string(BatchSolver::Create({}, std::make_unique<SparseMatrix>(1, 1, negative).get())
                      .status()
                      .message()),
      HasSubstr("entry (0, 0) is -1"));
  EXPECT_EQ(BatchMethodFromName("pa").value(), BatchMethod::kPassiveAggressive);
  EXPECT_THAT(std::string(BatchMethodFromName("svd").status().message()),
              HasSubstr("coordinate-descent"));
}

}  // namespace
}  // namespace factord
