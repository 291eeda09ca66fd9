#include "evaluation/training_counts.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TrainingCountsTest, CountsRatings) {
  TrainingCounts counts(/*users=*/2, /*items=*/3);
  counts.Add({.user = 0, .item = 2, .rating = 4});
  counts.Add({.user = 1, .item = 2, .rating = 1});
  counts.Add({.user = 1, .item = 0, .rating = 3});
  EXPECT_EQ(counts.ratings(0), 1);
  EXPECT_EQ(counts.ratings(1), 0);
  EXPECT_EQ(counts.ratings(2), 2);
}

TEST(TrainingCountsTest, BestFirstTiesByIndexOfWhatOthersRated) {
  const std::vector<double> scores = {1, 5, 3, 5, 0, 2};
  const auto score = [&](uint32_t item) { return scores[item]; };
  TrainingCounts counts(/*users=*/3, /*items=*/6);
  for (const uint32_t item : {0u, 1u, 2u, 3u, 4u, 5u}) counts.Add({.user = 0, .item = item});
  counts.Add({.user = 1, .item = 1});
  counts.Add({.user = 1, .item = 5});
  counts.Add({.user = 1, .item = 1});
  EXPECT_THAT(counts.Best(2, 4, score), ElementsAre(1, 3, 2, 5));
  EXPECT_THAT(counts.Best(1, 3, score), ElementsAre(3, 2, 0));
  EXPECT_THAT(counts.Best(1, 100, score), ElementsAre(3, 2, 0, 4));
  EXPECT_THAT(counts.Best(2, 0, score), IsEmpty());
  EXPECT_THAT(counts.Best(0, 3, score), IsEmpty());
}

TEST(TrainingCountsTest, WhatNobodyRatedIsNoCandidate) {
  TrainingCounts counts(/*users=*/2, /*items=*/3);
  counts.Add({.user = 0, .item = 1});
  EXPECT_THAT(counts.Best(1, 3, [](uint32_t item) { return item; }), ElementsAre(1));
}

}  // namespace
}  // namespace factord
