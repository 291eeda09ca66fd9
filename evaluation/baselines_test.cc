#include "evaluation/baselines.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

DataSet SetOf(int users, int items) {
  DataSet set;
  for (int i = 0; i < users; ++i) set.users.Add(absl::StrCat("u", i));
  for (int i = 0; i < items; ++i) set.items.Add(absl::StrCat("i", i));
  return set;
}

TEST(PopularityTest, RanksByTheNumberOfRatings) {
  const DataSet set = SetOf(3, 5);
  const auto method = MakePopularity(&set);
  EXPECT_EQ(method->Predict(0, 0), 0);
  EXPECT_THAT(method->Recommend(0, 3), IsEmpty());
  const std::vector<Interaction> train = {{0, 2, 5}, {1, 2, 1}, {2, 2, 3}, {0, 1, 2},
                                          {1, 3, 2}, {1, 0, 5}, {2, 0, 5}};
  ASSERT_TRUE(method->Pass(train).ok());
  // Counts: 0 twice, 1 once, 2 three times, 3 once, 4 never.
  EXPECT_THAT(method->Recommend(0, 10), ElementsAre(0, 3));  // has rated 1 and 2
  EXPECT_THAT(method->Recommend(1, 10), ElementsAre(1));
  EXPECT_THAT(method->Recommend(2, 1), ElementsAre(1));  // as often as 3
  EXPECT_DOUBLE_EQ(method->Predict(2, 4), 23.0 / 7);
  EXPECT_EQ(method->prequential(), nullptr);
  EXPECT_FALSE(method->item_factors().has_value());
  // Another pass teaches nothing new.
  ASSERT_TRUE(method->Pass(train).ok());
  EXPECT_DOUBLE_EQ(method->Predict(2, 4), 23.0 / 7);
  EXPECT_THAT(method->Recommend(0, 10), ElementsAre(0, 3));
}

TEST(BiasesTest, ByHand) {
  const DataSet set = SetOf(3, 3);
  const auto method = MakeBiases(0, 5, &set);
  EXPECT_DOUBLE_EQ(method->Predict(0, 0), 2.5);  // nothing is known: the middle
  // Event 1: error 2.5 = 2 units of 1.25; total .4 + .4 + .8 * 2 = 2.4; each value moves by
  // 1.25 * 2 * .4 / 2.4 = .41667, each variance becomes .4 - .16 / 2.4 = .33333.
  // Event 2: predicted 5.41667, clipped to 5; error -1.93333 units; total .4 + .33333 + 1.54667.
  ASSERT_TRUE(method->Pass(std::vector<Interaction>{{0, 0, 5}, {1, 0, 3}}).ok());
  EXPECT_NEAR(method->Predict(1, 0), 4 - 0.423977 + 0.063353, 1e-6);
  EXPECT_NEAR(method->Predict(0, 0), 4 + 0.416667 + 0.063353, 1e-6);
  EXPECT_NEAR(method->Predict(2, 0), 4 + 0.063353, 1e-6);
  EXPECT_NEAR(method->Predict(2, 2), 4, 1e-12);
  ASSERT_NE(method->prequential(), nullptr);
  EXPECT_EQ(method->prequential()->size(), 2u);
  EXPECT_DOUBLE_EQ(method->prequential()->mae(), (2.5 + 2) / 2);
  EXPECT_EQ(method->prequential_second_half()->size(), 1u);
  EXPECT_DOUBLE_EQ(method->prequential_second_half()->mae(), 2);
}

TEST(BiasesTest, LearnsWhoRatesHighAndWhatIsRatedLow) {
  const DataSet set = SetOf(20, 20);
  std::vector<Interaction> train;
  for (uint32_t round = 0; round < 20; ++round) {
    for (uint32_t user = 0; user < 20; ++user) {
      const uint32_t item = (user + 7 * round) % 20;
      if (user == 0 && item == 1) continue;
      const float rating = 3 + (user == 0 ? 1.0f : 0.0f) - (item == 1 ? 1.0f : 0.0f);
      train.push_back({user, item, rating});
    }
  }
  const auto method = MakeBiases(0, 5, &set);
  ASSERT_TRUE(method->Pass(train).ok());
  const RatingErrors first = *method->prequential();
  ASSERT_TRUE(method->Pass(train).ok());
  EXPECT_EQ(method->prequential()->size(), first.size());  // of the first pass alone
  EXPECT_NEAR(method->Predict(0, 5), 4, 0.1);
  EXPECT_NEAR(method->Predict(5, 1), 2, 0.1);
  EXPECT_NEAR(method->Predict(0, 1), 3, 0.2);
  // All but item 1 have been rated by user 0.
  EXPECT_THAT(method->Recommend(0, 5), ElementsAre(1));
}

// However much is known of a user, he may change.
TEST(BiasesTest, FollowAUserWhoChanges) {
  const DataSet set = SetOf(1, 2102);
  std::vector<Interaction> train;
  for (uint32_t item = 0; item < 2100; ++item)
    train.push_back({0, item, item < 2000 ? 3.0f : 5.0f});
  const auto method = MakeBiases(0, 5, &set);
  ASSERT_TRUE(method->Pass(train).ok());
  EXPECT_GT(method->Predict(0, 2101), 3.8);
}

TEST(BiasesTest, ScaleWithTheRangeAndStayInIt) {
  const DataSet set = SetOf(4, 4);
  std::vector<Interaction> train, scaled;
  for (uint32_t i = 0; i < 40; ++i) {
    const float rating = (i * 7 + i / 5) % 11 < 5 ? 5.0f : 0.0f;
    train.push_back({i % 4, (i / 4) % 4, rating});
    scaled.push_back({i % 4, (i / 4) % 4, 10 + 8 * rating});
  }
  const auto one = MakeBiases(0, 5, &set), other = MakeBiases(10, 50, &set);
  ASSERT_TRUE(one->Pass(train).ok());
  ASSERT_TRUE(other->Pass(scaled).ok());
  for (uint32_t user = 0; user < 4; ++user) {
    for (uint32_t item = 0; item < 4; ++item) {
      const double predicted = one->Predict(user, item);
      EXPECT_NEAR(other->Predict(user, item), 10 + 8 * predicted, 1e-9);
      EXPECT_GE(predicted, 0);
      EXPECT_LE(predicted, 5);
    }
  }
}

}  // namespace
}  // namespace factord
