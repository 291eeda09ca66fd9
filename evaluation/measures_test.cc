#include "evaluation/measures.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(RatingErrorsTest, ByHand) {
  RatingErrors errors;
  EXPECT_EQ(errors.size(), 0u);
  EXPECT_EQ(errors.mae(), 0);
  EXPECT_EQ(errors.rmse(), 0);
  EXPECT_EQ(errors.error_percent(), 0);
  errors.Add(4, 3);
  errors.Add(1, 3);
  errors.Add(5, 5);
  EXPECT_EQ(errors.size(), 3u);
  EXPECT_DOUBLE_EQ(errors.mae(), 1);
  EXPECT_DOUBLE_EQ(errors.rmse(), std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(errors.error_percent(), 30);
}

TEST(RatingErrorsTest, RatingsOfZeroHaveNoPercentage) {
  RatingErrors errors;
  errors.Add(0, 0.5);
  EXPECT_EQ(errors.error_percent(), 0);
  EXPECT_DOUBLE_EQ(errors.mae(), 0.5);
  errors.Add(-1, -1);  // counts by its size
  EXPECT_DOUBLE_EQ(errors.error_percent(), 50);
}

TEST(RankingQualityTest, ByHand) {
  RankingQuality quality(10);
  EXPECT_EQ(quality.recall(), 0);
  EXPECT_EQ(quality.ndcg(), 0);
  quality.Add(std::vector<uint32_t>{7, 2, 4}, 7);  // first place: 1
  EXPECT_DOUBLE_EQ(quality.ndcg(), 1);
  quality.Add(std::vector<uint32_t>{7, 2, 9}, 9);  // third: 1 / log2(4)
  quality.Add(std::vector<uint32_t>{0, 2, 9}, 5);  // none
  quality.Add(std::vector<uint32_t>{}, 5);
  EXPECT_EQ(quality.users(), 4u);
  EXPECT_DOUBLE_EQ(quality.recall(), 0.5);
  EXPECT_DOUBLE_EQ(quality.ndcg(), 1.5 / 4);
  EXPECT_EQ(quality.coverage(), 5u);  // 0 2 4 7 9
}

TEST(SpreadTest, ByHand) {
  EXPECT_EQ(SpreadOf({}).mean, 0);
  EXPECT_EQ(SpreadOf({3}).mean, 3);
  EXPECT_EQ(SpreadOf({3}).deviation, 0);
  const Spread spread = SpreadOf({1, 2, 6});
  EXPECT_DOUBLE_EQ(spread.mean, 3);
  EXPECT_DOUBLE_EQ(spread.deviation, std::sqrt(14.0 / 2));
}

}  // namespace
}  // namespace factord
