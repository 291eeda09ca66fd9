#include "evaluation/evaluate.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/mix.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Fixture {
  DataSet set;
  std::vector<Interaction> events;
};

// Ratings 1 to 5 of 30 users and 40 items, of low rank and noisy, in random order of time.
Fixture MakeFixture() {
  Fixture fixture;
  const auto uniform = [](uint64_t draw) {
    return static_cast<double>(Mix64(draw) >> 11) * 0x1p-53;
  };
  for (uint32_t i = 0; i < 30; ++i) fixture.set.users.Add(absl::StrCat("u", i));
  for (uint32_t i = 0; i < 40; ++i) fixture.set.items.Add(absl::StrCat("i", i));
  for (uint32_t i = 0; i < 1200; ++i) {
    if (uniform(i) > 0.6) continue;
    const uint32_t user = i / 40, item = i % 40;
    double rating = uniform(7000 + i) - 0.5;
    for (uint64_t k = 0; k < 3; ++k) {
      rating += 3 * uniform(9000 + 3 * user + k) * uniform(11'000 + 3 * item + k);
    }
    fixture.events.push_back({user, item,
                              static_cast<float>(std::clamp(std::round(rating), 1.0, 5.0)),
                              static_cast<int64_t>(Mix64(20'000 + i) % 1'000'000)});
  }
  return fixture;
}

TEST(SplitKindTest, Names) {
  EXPECT_EQ(*SplitKindFromName("random"), SplitKind::kRandom);
  EXPECT_EQ(*SplitKindFromName("time"), SplitKind::kTime);
  EXPECT_EQ(*SplitKindFromName("last-out"), SplitKind::kLastOut);
  EXPECT_EQ(*SplitKindFromName("none"), SplitKind::kNone);
  const absl::Status status = SplitKindFromName("lastout").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  for (const char* part : {"random", "time", "last-out", "none", "lastout"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

std::vector<int64_t> TimesOf(const std::vector<Interaction>& events) {
  std::vector<int64_t> times;
  for (const Interaction& event : events) times.push_back(event.time_micros);
  return times;
}

TEST(DivideTest, IsTheSplitOfItsName) {
  const Fixture fixture = MakeFixture();
  const auto& events = fixture.events;
  const Split random = Divide(events, SplitKind::kRandom, 3);
  EXPECT_EQ(TimesOf(random.train), TimesOf(SplitAtRandom(events, 0.2, 3).train));
  EXPECT_EQ(TimesOf(random.test), TimesOf(SplitAtRandom(events, 0.2, 3).test));
  const Split time = Divide(events, SplitKind::kTime, 3);
  EXPECT_EQ(TimesOf(time.train), TimesOf(SplitByTime(events, 0.2).train));
  EXPECT_EQ(TimesOf(time.test), TimesOf(SplitByTime(events, 0.2).test));
  const Split last = Divide(events, SplitKind::kLastOut, 3);
  EXPECT_EQ(TimesOf(last.test), TimesOf(SplitLastOut(events).test));
  EXPECT_EQ(last.test.size(), 30u);
  const Split none = Divide(events, SplitKind::kNone, 3);
  EXPECT_THAT(none.test, IsEmpty());
  EXPECT_EQ(TimesOf(none.train), TimesOf(SortedByTime(events)));
}

TEST(EvaluateTest, MeasuresAfterEachPass) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kRandom, 1);
  const MethodOptions options = {.name = "coordinate-descent", .rank = 3, .l2 = 1};
  const auto evaluation = Evaluate(options, fixture.set, split, 4, 0);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  ASSERT_EQ(evaluation->passes.size(), 4u);
  EXPECT_EQ(evaluation->train_events, split.train.size());
  double seconds = 0;
  for (const PassResult& pass : evaluation->passes) {
    EXPECT_EQ(pass.test.size(), split.test.size());
    EXPECT_GT(pass.seconds, seconds);
    seconds = pass.seconds;
  }
  EXPECT_LT(evaluation->passes[3].test.mae(), evaluation->passes[0].test.mae());
  EXPECT_LT(*evaluation->passes[3].objective, *evaluation->passes[0].objective);
  EXPECT_FALSE(evaluation->prequential.has_value());
  EXPECT_FALSE(evaluation->ranking.has_value());
  // Each pass is the former ones and one more.
  const auto three = Evaluate(options, fixture.set, split, 3, 0);
  EXPECT_EQ(three->passes[2].test.mae(), evaluation->passes[2].test.mae());
  EXPECT_NE(three->passes[2].test.mae(), evaluation->passes[3].test.mae());
  // The predictions are the last pass's.
  ASSERT_EQ(evaluation->predictions.size(), split.test.size());
  RatingErrors errors;
  for (size_t i = 0; i < split.test.size(); ++i) {
    errors.Add(static_cast<double>(split.test[i].rating), evaluation->predictions[i]);
    EXPECT_EQ(evaluation->predictions[i],
              evaluation->method->Predict(split.test[i].user, split.test[i].item));
  }
  EXPECT_EQ(errors.mae(), evaluation->passes[3].test.mae());
  EXPECT_EQ(errors.rmse(), evaluation->passes[3].test.rmse());
}

TEST(EvaluateTest, RanksWhereItIsAsked) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kLastOut, 1);
  const auto evaluation = Evaluate({.name = "online"}, fixture.set, split, 1, 5);
  ASSERT_TRUE(evaluation.ok());
  ASSERT_TRUE(evaluation->ranking.has_value());
  RankingQuality quality(fixture.set.items.size());
  ASSERT_EQ(evaluation->recommended.size(), split.test.size());
  for (size_t i = 0; i < split.test.size(); ++i) {
    const Interaction& event = split.test[i];
    EXPECT_EQ(evaluation->recommended[i], evaluation->method->Recommend(event.user, 5));
    quality.Add(evaluation->recommended[i], event.item);
  }
  EXPECT_EQ(evaluation->ranking->users(), 30u);
  EXPECT_EQ(evaluation->ranking->recall(), quality.recall());
  EXPECT_EQ(evaluation->ranking->ndcg(), quality.ndcg());
  EXPECT_EQ(evaluation->ranking->coverage(), quality.coverage());
  ASSERT_TRUE(evaluation->prequential.has_value());
  EXPECT_EQ(evaluation->prequential->size(), split.train.size());
  EXPECT_EQ(evaluation->prequential_second_half->size(), (split.train.size() + 1) / 2);
  EXPECT_TRUE(evaluation->passive_share.has_value());
}

// A user without training would be given popular items, or any: no method knows him.
TEST(EvaluateTest, WhatTrainingLacksIsNotFound) {
  Fixture fixture = MakeFixture();
  const Split last = Divide(fixture.events, SplitKind::kLastOut, 1);
  const uint32_t stranger = fixture.set.users.Add("stranger");
  const uint32_t novelty = fixture.set.items.Add("novelty");
  const auto items = static_cast<size_t>(fixture.set.items.size());
  for (const char* name : {"online", "popularity", "coordinate-descent"}) {
    const MethodOptions options = {.name = name, .rank = 3};
    const auto known = Evaluate(options, fixture.set, last, 1, items)->ranking;
    EXPECT_EQ(known->recall(), 1) << name;  // everything is recommended
    Split split = last;
    split.test.push_back({stranger, 3, 5, 0});
    split.test.push_back({0, novelty, 5, 0});
    const auto evaluation = Evaluate(options, fixture.set, split, 1, items);
    const std::optional<RankingQuality>& ranking = evaluation->ranking;
    EXPECT_THAT(evaluation->recommended[30], IsEmpty()) << name;  // the stranger's
    EXPECT_EQ(ranking->users(), known->users() + 2) << name;
    EXPECT_DOUBLE_EQ(ranking->recall(), 30.0 / 32) << name;
    EXPECT_EQ(ranking->coverage(), 40u) << name;
  }
}

TEST(HasOneItemAUserTest, LooksAtEachUser) {
  EXPECT_FALSE(HasOneItemAUser({}));
  EXPECT_TRUE(HasOneItemAUser({{0, 1, 5, 0}, {2, 1, 5, 0}}));
  EXPECT_FALSE(HasOneItemAUser({{0, 1, 5, 0}, {2, 1, 5, 0}, {0, 3, 5, 0}}));
}

TEST(EvaluateTest, WithNothingHeldOutTheStreamIsMeasured) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kNone, 1);
  const auto evaluation = Evaluate({.name = "online"}, fixture.set, split, 1, 0);
  ASSERT_TRUE(evaluation.ok());
  EXPECT_EQ(evaluation->passes.back().test.size(), 0u);
  EXPECT_THAT(evaluation->predictions, IsEmpty());
  EXPECT_THAT(evaluation->recommended, IsEmpty());
  EXPECT_EQ(evaluation->prequential->size(), fixture.events.size());
  EXPECT_GT(evaluation->prequential->mae(), 0);
}

TEST(EvaluateTest, TellsWhatIsWrong) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kRandom, 1);
  EXPECT_FALSE(Evaluate({.name = "svd"}, fixture.set, split, 1, 0).ok());
  Split negative = split;
  negative.train[3].rating = -1;  // only the first pass knows
  const auto evaluation = Evaluate({.name = "pa"}, fixture.set, negative, 1, 0);
  EXPECT_TRUE(absl::IsInvalidArgument(evaluation.status()));
  EXPECT_THAT(std::string(evaluation.status().message()), HasSubstr("is -1"));
}

TEST(TuneTest, ChoosesTheCandidateThatIsBestOnTheHeldOutQuarter) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kRandom, 1);
  std::set<float> chosen;
  for (const char* name : {"coordinate-descent", "online-pa-1", "pa"}) {
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      const Split inner = SplitAtRandom(split.train, 0.25, seed);
      const MethodOptions options = {.name = name, .rank = 3};
      const bool is_pa = options.name != "coordinate-descent";
      const auto tuned = Tune(options, fixture.set, split, 2, TuneOn::kRandom, seed);
      ASSERT_TRUE(tuned.ok()) << tuned.status();
      EXPECT_EQ(tuned->aggressiveness.has_value(), is_pa);
      EXPECT_EQ(tuned->l2.has_value(), !is_pa);
      EXPECT_EQ(tuned->rank, 3);
      chosen.insert(is_pa ? *tuned->aggressiveness : *tuned->l2);
      const auto error_of = [&](const MethodOptions& tried) {
        return Evaluate(tried, fixture.set, inner, 2, 0)->passes.back().test.error_percent();
      };
      const double best = error_of(*tuned);
      for (const float candidate : {0.003f, 0.01f, 0.03f, 0.1f, 0.3f, 1.0f, 3.0f, 10.0f, 30.0f}) {
        MethodOptions tried = options;
        if (is_pa && candidate > 1) break;
        if (!is_pa && candidate == 0.003f) continue;
        (is_pa ? tried.aggressiveness : tried.l2) = candidate;
        EXPECT_LE(best, error_of(tried)) << name << " " << candidate << " " << seed;
      }
    }
  }
  EXPECT_GT(chosen.size(), 2u);
}

TEST(TuneTest, MayHoldOutTheLastQuarterInItsOrder) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kTime, 1);
  const Split inner = SplitAtEnd(split.train, 0.25);
  for (const char* name : {"coordinate-descent", "online-pa-1"}) {
    const MethodOptions options = {.name = name, .rank = 3};
    const auto tuned = Tune(options, fixture.set, split, 2, TuneOn::kLast, 1);
    ASSERT_TRUE(tuned.ok()) << tuned.status();
    // Nothing is drawn.
    const auto other = Tune(options, fixture.set, split, 2, TuneOn::kLast, 2);
    EXPECT_EQ(other->l2, tuned->l2);
    EXPECT_EQ(other->aggressiveness, tuned->aggressiveness);
    const auto error_of = [&](const MethodOptions& tried) {
      return Evaluate(tried, fixture.set, inner, 2, 0)->passes.back().test.error_percent();
    };
    const double best = error_of(*tuned);
    for (const float candidate : {0.01f, 0.03f, 0.1f, 0.3f}) {
      MethodOptions tried = options;
      (tuned->l2.has_value() ? tried.l2 : tried.aggressiveness) = candidate;
      EXPECT_LE(best, error_of(tried)) << name << " " << candidate;
    }
  }
  // A last quarter that is the opposite of the rest.
  Split turned = split;
  for (size_t i = inner.train.size(); i < turned.train.size(); ++i) {
    turned.train[i].rating = 6 - turned.train[i].rating;
  }
  const MethodOptions options = {.name = "coordinate-descent", .rank = 3};
  EXPECT_NE(Tune(options, fixture.set, turned, 2, TuneOn::kLast, 1)->l2,
            Tune(options, fixture.set, turned, 2, TuneOn::kRandom, 1)->l2);
}

TEST(TuneTest, NeverSeesTheTest) {
  const Fixture fixture = MakeFixture();
  Split split = Divide(fixture.events, SplitKind::kRandom, 1);
  const auto tuned = Tune({.name = "pa", .rank = 3}, fixture.set, split, 2, TuneOn::kRandom, 7);
  for (Interaction& event : split.test) event.rating = 5;
  EXPECT_EQ(
      Tune({.name = "pa", .rank = 3}, fixture.set, split, 2, TuneOn::kRandom, 7)->aggressiveness,
      tuned->aggressiveness);
  split.test.clear();
  EXPECT_EQ(
      Tune({.name = "pa", .rank = 3}, fixture.set, split, 2, TuneOn::kRandom, 7)->aggressiveness,
      tuned->aggressiveness);
}

TEST(TuneTest, RefusesMethodsWithNothingToTune) {
  const Fixture fixture = MakeFixture();
  const Split split = Divide(fixture.events, SplitKind::kRandom, 1);
  for (const char* name : {"online", "biases", "popularity", "svd"}) {
    const absl::Status status =
        Tune({.name = name}, fixture.set, split, 1, TuneOn::kRandom, 1).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

}  // namespace
}  // namespace factord
