// How accurate the default method is on real ratings. Deterministic: the expected figures are those
// measured when they were written down, and a change of the model that moves them is meant to be
// seen here.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "evaluation/evaluate.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

struct RatingSet {
  std::string name;
  std::string path;      // in the sources, or in FACTORD_DATA
  bool is_ours = false;  // in the sources
  double promised = 0;   // what the MAE before each rating may be at most
  double measured = 0;   // what it is
};

void PrintTo(const RatingSet& set, std::ostream* out) { *out << set.name; }

class AccuracyTest : public testing::TestWithParam<RatingSet> {
 protected:
  void SetUp() override {
    std::string folder = FACTORD_SOURCE_DIR "/data";
    if (!GetParam().is_ours) {
      const char* const data = std::getenv("FACTORD_DATA");
      if (data == nullptr) GTEST_SKIP() << "set FACTORD_DATA to a folder with " << GetParam().path;
      folder = data;
    }
    auto events = ReadInteractions(absl::StrCat(folder, "/", GetParam().path), &set_);
    ASSERT_TRUE(events.ok()) << events.status();
    events_ = *std::move(events);
  }

  Evaluation Measure(const MethodOptions& options, SplitKind kind, size_t k = 0) const {
    return Measure(options, Divide(events_, kind, 1), k);
  }
  Evaluation Measure(const MethodOptions& options, const Split& split, size_t k = 0,
                     int32_t passes = 1) const {
    auto evaluation = Evaluate(options, set_, split, passes, k);
    if (!evaluation.ok()) ADD_FAILURE() << evaluation.status();
    return *std::move(evaluation);
  }

  DataSet set_;
  std::vector<Interaction> events_;
};

TEST_P(AccuracyTest, BeforeEachRatingOfTheStream) {
  const Evaluation online = Measure({}, SplitKind::kNone);
  const Evaluation biases = Measure({.name = "biases"}, SplitKind::kNone);
  std::printf("%s, in order of time: MAE %.4f, biases only %.4f\n", GetParam().name.c_str(),
              online.prequential->mae(), biases.prequential->mae());
  EXPECT_EQ(online.prequential->size(), events_.size());
  EXPECT_LE(online.prequential->mae(), GetParam().promised);
  EXPECT_NEAR(online.prequential->mae(), GetParam().measured, 0.002);
  EXPECT_LT(online.prequential->mae(), biases.prequential->mae() - 0.015);
}

TEST_P(AccuracyTest, OfRatingsHeldOutAtRandom) {
  const Split split = Divide(events_, SplitKind::kRandom, 1);
  const RatingErrors online = Measure({}, split).passes.back().test;
  const RatingErrors biases = Measure({.name = "biases"}, split).passes.back().test;
  const RatingErrors again = Measure({}, split, 0, 5).passes.back().test;
  std::printf("%s, a fifth held out: MAE %.4f, after 5 passes %.4f, biases only %.4f\n",
              GetParam().name.c_str(), online.mae(), again.mae(), biases.mae());
  EXPECT_LT(online.mae(), biases.mae() - 0.015);
  EXPECT_LT(online.rmse(), biases.rmse() - 0.015);
  EXPECT_LT(again.mae(), online.mae() - 0.005);
}

TEST_P(AccuracyTest, OfRecommendations) {
  const RankingQuality online = *Measure({}, SplitKind::kLastOut, 10).ranking;
  const RankingQuality popular = *Measure({.name = "popularity"}, SplitKind::kLastOut, 10).ranking;
  std::printf("%s, last rating out: recall@10 %.4f, popularity %.4f; NDCG@10 %.4f, %.4f\n",
              GetParam().name.c_str(), online.recall(), popular.recall(), online.ndcg(),
              popular.ndcg());
  EXPECT_EQ(online.users(), set_.users.size());
  EXPECT_GE(online.recall(), 1.5 * popular.recall());
  EXPECT_GE(online.ndcg(), 1.5 * popular.ndcg());
}

// Nothing is made for ratings up to 5.
TEST_P(AccuracyTest, OnOtherScales) {
  const Split split = Divide(events_, SplitKind::kRandom, 1);
  const double usual = Measure({}, split).passes.back().test.mae();
  for (const float scale : {4.0f, 0.2f}) {
    Split scaled = split;
    for (auto* part : {&scaled.train, &scaled.test}) {
      for (Interaction& event : *part) event.rating *= scale;
    }
    MethodOptions options = {.max_rating = 5 * scale};
    const Evaluation online = Measure(options, scaled, 0, 3);
    options.name = "biases";
    const double biases = Measure(options, scaled).passes.back().test.mae();
    const double mae = online.passes[0].test.mae();
    std::printf("%s, ratings 0 to %g: MAE %.4f, biases only %.4f\n", GetParam().name.c_str(),
                static_cast<double>(5 * scale), mae, biases);
    EXPECT_LT(mae, biases - 0.015 * static_cast<double>(scale));
    EXPECT_NEAR(mae, usual * static_cast<double>(scale), 0.001 * static_cast<double>(scale));
    for (const double predicted : online.predictions) ASSERT_TRUE(std::isfinite(predicted));
    EXPECT_LT(online.passes[2].test.mae(), 1.1 * mae);
  }
}

// Yes and no: 1 where somebody gave 4 or more.
TEST_P(AccuracyTest, OnTwoValues) {
  Split split = Divide(events_, SplitKind::kRandom, 1);
  for (auto* part : {&split.train, &split.test}) {
    for (Interaction& event : *part) event.rating = event.rating >= 4 ? 1 : 0;
  }
  MethodOptions options = {.max_rating = 1};
  const Evaluation online = Measure(options, split, 0, 3);
  options.name = "biases";
  const RatingErrors biases = Measure(options, split).passes.back().test;
  const RatingErrors& errors = online.passes[0].test;
  std::printf("%s, 0 or 1: MAE %.4f, biases only %.4f; RMSE %.4f, %.4f\n", GetParam().name.c_str(),
              errors.mae(), biases.mae(), errors.rmse(), biases.rmse());
  EXPECT_LT(errors.mae(), biases.mae() - 0.01);
  EXPECT_LT(errors.rmse(), biases.rmse() - 0.002);
  EXPECT_LT(online.passes[2].test.mae(), 1.1 * errors.mae());
}

INSTANTIATE_TEST_SUITE_P(
    MovieLens, AccuracyTest,
    testing::Values(RatingSet{"LatestSmall", "ml-latest-small/ratings.csv", true, 0.680, 0.6602},
                    RatingSet{"100K", "ml-100k/u.data", false, 0.740, 0.7211},
                    RatingSet{"1M", "ml-1m-timed/ratings.dat", false, 0.700, 0.6883}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace factord
