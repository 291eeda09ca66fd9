#include "model/pure_update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/hash128.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/kernels.h"
#include "model/row.h"
#include "model/step.h"
#include "model/update.h"

namespace factord {
namespace {

using testing::Each;
using testing::ElementsAre;

using Row = std::vector<float>;

Row Padded(std::initializer_list<float> factors) {
  Row row(factors);
  row.resize(RowStride(row.size()));
  return row;
}

ModelConfig Config(Variant variant, Solver solver, float aggressiveness) {
  ModelConfig config;
  config.rank = 2;
  config.variant = variant;
  config.solver = solver;
  config.aggressiveness = aggressiveness;
  return config;
}

void Start(const ModelConfig& config, int side, absl::string_view id, float* row) {
  RowState state;
  StartRow(config, side, id, RowStride(static_cast<size_t>(config.rank)), row, &state);
}

Row Start(const ModelConfig& config, int side, absl::string_view id) {
  Row row(RowStride(static_cast<size_t>(config.rank)), -1);
  Start(config, side, id, row.data());
  return row;
}

UpdateOutcome Update(const ModelConfig& config, float rating, Row* p, Row* q) {
  return UpdatePair(config, rating, 1, p->size(), p->data(), q->data());
}

std::vector<ModelConfig> AllMethods(float aggressiveness) {
  std::vector<ModelConfig> configs;
  for (const Variant variant : {Variant::kPa, Variant::kPaI, Variant::kPaII}) {
    for (const Solver solver : {Solver::kExact, Solver::kBisection, Solver::kApproximate}) {
      configs.push_back(Config(variant, solver, aggressiveness));
    }
  }
  return configs;
}

TEST(UpdateTest, BothRowsMoveFromTheOldValues) {
  // p . q = 2, |p|^2 = 5, |q|^2 = 1; rating 4, loss 2: steps 2 for p and 0.4 for q.
  Row p = Padded({2, 1}), q = Padded({1, 0});
  const UpdateOutcome outcome = Update(Config(Variant::kPa, Solver::kApproximate, 1), 4, &p, &q);
  EXPECT_EQ(outcome.prediction, 2);
  EXPECT_FALSE(outcome.passive);
  EXPECT_THAT(std::vector<float>(p.begin(), p.begin() + 2), ElementsAre(4, 1));
  EXPECT_THAT(std::vector<float>(q.begin(), q.begin() + 2),
              ElementsAre(1 + 0.4f * 2, 0 + 0.4f * 1));
}

TEST(UpdateTest, TooHighTruncatesAtZero) {
  // p . q = 6, rating 0: both steps are -1, clipped at C.
  Row p = Padded({2, 0.5f}), q = Padded({2.75f, 1});
  Update(Config(Variant::kPaI, Solver::kApproximate, 0.5f), 0, &p, &q);
  EXPECT_THAT(std::vector<float>(p.begin(), p.begin() + 2), ElementsAre(0.625f, 0));
  EXPECT_THAT(std::vector<float>(q.begin(), q.begin() + 2), ElementsAre(1.75f, 0.75f));
}

TEST(UpdateTest, WithinEpsilonNothingChanges) {
  ModelConfig config = Config(Variant::kPa, Solver::kExact, 1);
  config.epsilon = 0.5f;
  Row p = Padded({1, 1}), q = Padded({1, 1});
  const Row old_p = p, old_q = q;
  EXPECT_TRUE(Update(config, 2.5f, &p, &q).passive);
  EXPECT_EQ(p, old_p);
  EXPECT_EQ(q, old_q);
  EXPECT_FALSE(Update(config, 2.625f, &p, &q).passive);
  EXPECT_NE(p, old_p);
}

TEST(UpdateTest, ZeroRowsDoNotTeach) {
  for (const ModelConfig& config : AllMethods(1)) {
    Row p = Padded({0, 0}), q = Padded({1, 2});
    const Row old_q = q;
    const UpdateOutcome outcome = Update(config, 3, &p, &q);
    EXPECT_EQ(outcome.prediction, 0);
    EXPECT_EQ(q, old_q);  // learns from p, which is 0
    EXPECT_GT(p[0], 0);   // learns from q
  }
}

// Streams of random ratings through random rows, then what must hold of any row.
TEST(UpdateTest, RowsStayFiniteNonNegativeAndPadded) {
  std::mt19937_64 random(5);
  for (const float aggressiveness : {1e-3f, 0.5f, 1e30f}) {
    for (ModelConfig config : AllMethods(aggressiveness)) {
      config.rank = 19;
      const size_t stride = RowStride(19);
      std::vector<Row> rows(8, Row(stride));
      for (size_t i = 0; i < rows.size(); ++i) {
        Start(config, static_cast<int>(i % 2), std::to_string(i), rows[i].data());
      }
      // Extremes: rows so short that NN-PA asks for an enormous step, and ratings to match.
      std::fill(rows[0].begin(), rows[0].begin() + 19, 1e-18f);
      std::fill(rows[1].begin(), rows[1].begin() + 19, 0.0f);
      rows[1][3] = 1e-44f;
      for (int t = 0; t < 400; ++t) {
        const float rating = t % 7 == 0 ? 3e38f : static_cast<float>(random() % 6);
        const UpdateOutcome outcome =
            UpdatePair(config, rating, t, stride, rows[random() % 4 * 2].data(),
                       rows[random() % 4 * 2 + 1].data());
        ASSERT_TRUE(std::isfinite(outcome.prediction));
      }
      for (const Row& row : rows) {
        for (size_t k = 0; k < stride; ++k) {
          ASSERT_TRUE(row[k] >= 0 && row[k] <= kMaxFactor) << row[k];
          ASSERT_TRUE(k < 19 || row[k] == 0) << k;
        }
      }
    }
  }
}

// What is computed in one kernel is what the mathematics of the two sides says, to the bit.
TEST(UpdateTest, TheApproximateUpdateMakesTheStepsOfBothSides) {
  std::mt19937_64 random(20140422);
  const float scales[] = {1, 1, 1, 1e-18f, 1e-22f, 1e10f, 0};
  for (const Variant variant : {Variant::kPa, Variant::kPaI, Variant::kPaII}) {
    for (const float aggressiveness : {1e-30f, 0.02f, 1e30f}) {
      ModelConfig config = Config(variant, Solver::kApproximate, aggressiveness);
      const StepRule rule = {variant, config.solver, aggressiveness, 0.25f, 0.1f};
      config.epsilon = rule.epsilon;
      for (int t = 0; t < 300; ++t) {
        Row p(32), q(32);
        for (Row* row : {&p, &q}) {
          const float scale = scales[random() % std::size(scales)];
          for (float& v : *row) v = scale * static_cast<float>(random() % 16) / 16;
        }
        const float rating = static_cast<float>(random() % 12);
        const PairProducts dots = ActiveKernels().products(p.data(), q.data(), 32);
        const float p_step =
            SignedStep(rule, {p.data(), q.data(), 32, dots.pq, dots.qq}, rating, 0);
        const float q_step =
            SignedStep(rule, {q.data(), p.data(), 32, dots.pq, dots.pp}, rating, 0);
        Row expected_p = p, expected_q = q;
        ActiveKernels().step(expected_p.data(), expected_q.data(),
                             {.add_p = p_step, .add_q = q_step}, 32);
        const UpdateOutcome outcome = Update(config, rating, &p, &q);
        ASSERT_EQ(outcome.prediction, dots.pq);
        ASSERT_EQ(outcome.passive, std::fabs(dots.pq - rating) <= rule.epsilon);
        ASSERT_EQ(outcome.clipped,
                  variant == Variant::kPaI &&
                      (std::fabs(p_step) >= aggressiveness || std::fabs(q_step) >= aggressiveness));
        ASSERT_EQ(p, expected_p) << t;
        ASSERT_EQ(q, expected_q) << t;
      }
    }
  }
}

TEST(UpdateTest, APureFunctionOfItsArguments) {
  for (ModelConfig config : AllMethods(0.3f)) {
    config.rank = 40;
    const size_t stride = RowStride(40);
    Row p(stride), q(stride);
    Start(config, 0, "u", p.data());
    Start(config, 1, "i", q.data());
    // Another address and another alignment.
    Row p2(stride + 1), q2(stride + 3);
    std::copy(p.begin(), p.end(), p2.begin() + 1);
    std::copy(q.begin(), q.end(), q2.begin() + 3);
    for (int64_t t = 0; t < 50; ++t) {
      UpdatePair(config, static_cast<float>(t % 6), t, stride, p.data(), q.data());
      UpdatePair(config, static_cast<float>(t % 6), t, stride, p2.data() + 1, q2.data() + 3);
    }
    EXPECT_EQ(std::memcmp(p.data(), p2.data() + 1, stride * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(q.data(), q2.data() + 3, stride * sizeof(float)), 0);
  }
}

TEST(StartRowTest, DependsOnSeedSideAndIdAlone) {
  ModelConfig config;
  config.variant = Variant::kPaI;
  const Row row = Start(config, 0, "alice");
  EXPECT_EQ(Start(config, 0, "alice"), row);
  EXPECT_NE(Start(config, 1, "alice"), row);
  EXPECT_NE(Start(config, 0, "alicf"), row);
  config.seed = 2;
  EXPECT_NE(Start(config, 0, "alice"), row);
  // Nothing else of the configuration matters, save the scale.
  config = ModelConfig();
  config.variant = Variant::kPaI;
  config.aggressiveness = 1;
  config.variant = Variant::kPaII;
  EXPECT_EQ(Start(config, 0, "alice"), row);
  // A longer row starts like a shorter one, at another scale.
  config = ModelConfig();
  config.variant = Variant::kPaI;
  config.rank = 128;
  config.initial_rating = 2;
  const Row longer = Start(config, 0, "alice");
  const float scale = std::sqrt(2.0f / 128) / std::sqrt(3.5f / 32);
  for (size_t k = 0; k < 32; ++k) EXPECT_NEAR(longer[k], row[k] * scale, 1e-6);
}

TEST(StartRowTest, EntriesSpreadAroundTheMeanAndPaddingIsZero) {
  ModelConfig config;
  config.variant = Variant::kPaI;
  config.rank = 1000;
  const Row row = Start(config, 1, "x");
  const float middle = std::sqrt(3.5f / 1000);
  double sum = 0;
  for (size_t k = 0; k < 1000; ++k) {
    EXPECT_GE(row[k], middle * 0.7999f);
    EXPECT_LE(row[k], middle * 1.2001f);
    sum += row[k];
  }
  EXPECT_NEAR(sum / 1000, middle, 0.01 * middle);
  EXPECT_LT(*std::min_element(row.begin(), row.begin() + 1000), middle * 0.81f);
  EXPECT_GT(*std::max_element(row.begin(), row.begin() + 1000), middle * 1.19f);
  EXPECT_THAT(std::vector<float>(row.begin() + 1000, row.end()), Each(0.0f));
}

// Part of every stored state: a change of these makes a replay differ from what was saved.
TEST(StartRowTest, ValuesArePinned) {
  ModelConfig config;
  config.variant = Variant::kPaI;
  config.rank = 3;
  const Row row = Start(config, 0, "alice");
  EXPECT_EQ(row[0], 0x1.d3c8cp-1f);
  EXPECT_EQ(row[1], 0x1.29f19ep+0f);
  EXPECT_EQ(row[2], 0x1.37f5dcp+0f);
}

uint64_t HashAfterStream(ModelConfig config) {
  config.rank = 37;
  config.epsilon = 0.05f;
  const size_t stride = RowStride(37);
  std::vector<Row> rows(20, Row(stride));
  for (size_t i = 0; i < rows.size(); ++i) {
    Start(config, static_cast<int>(i % 2), std::to_string(i), rows[i].data());
  }
  std::mt19937_64 random(11);  // its numbers are laid down by the C++ standard
  uint64_t hash = 0;
  for (int64_t t = 0; t < 1000; ++t) {
    Row& p = rows[random() % 10 * 2];
    Row& q = rows[random() % 10 * 2 + 1];
    UpdatePair(config, static_cast<float>(random() % 11) * 0.5f, t, stride, p.data(), q.data());
    hash = HashBytes64(
        absl::string_view(reinterpret_cast<const char*>(p.data()), stride * sizeof(float)), hash);
  }
  return hash;
}

TEST(UpdateTest, ResultsOfEveryMethodArePinned) {
  const uint64_t pinned[] = {0xf7f4e9b74795afd,  0x677748de444df17a, 0x4de894f573b47fa9,
                             0xfa4049229cdd5c83, 0xdfce6f2d3a7c7240, 0x911de3b17e9ad2ae,
                             0x641f220b0a538fc0, 0xccc41cc76ef6b398, 0xb2a6ac9292f5a3a5};
  const std::vector<ModelConfig> configs = AllMethods(0.1f);
  for (size_t i = 0; i < configs.size(); ++i) {
    EXPECT_EQ(HashAfterStream(configs[i]), pinned[i])
        << VariantName(configs[i].variant) << ' ' << SolverName(configs[i].solver) << std::hex
        << ": 0x" << HashAfterStream(configs[i]);
  }
}

}  // namespace
}  // namespace factord
