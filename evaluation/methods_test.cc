#include "evaluation/methods.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "engine/model_state.h"
#include "engine/query.h"
#include "engine/test_util.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/update.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

struct Stream {
  DataSet set;
  std::vector<Interaction> events;
};

// The set knows a user and an item more than the events.
Stream RandomStream(uint32_t seed, size_t events) {
  Stream stream;
  for (const OwnedRating& rating : RandomRatings(seed, events)) {
    stream.events.push_back({stream.set.users.Add(rating.user), stream.set.items.Add(rating.item),
                             rating.rating,
                             1'000'000 * static_cast<int64_t>(stream.events.size())});
  }
  stream.set.users.Add("stranger");
  stream.set.items.Add("novelty");
  return stream;
}

std::unique_ptr<Method> Make(const MethodOptions& options, const DataSet& set) {
  auto method = MakeMethod(options, &set);
  EXPECT_TRUE(method.ok()) << method.status();
  return method.ok() ? *std::move(method) : nullptr;
}

std::string ErrorOf(const MethodOptions& options) {
  const DataSet set;
  return std::string(MakeMethod(options, &set).status().message());
}

double TrainError(const Method& method, const Stream& stream) {
  double error = 0;
  for (const Interaction& event : stream.events) {
    error += std::abs(method.Predict(event.user, event.item) - static_cast<double>(event.rating));
  }
  return error / static_cast<double>(stream.events.size());
}

TEST(MakeMethodTest, RefusesWhatItDoesNotKnow) {
  const DataSet set;
  for (const char* name :
       {"", "svd", "onlinex", "online-", "online-svd", "online-adaptive", "Online", "pa-1"}) {
    const absl::Status status = MakeMethod({.name = name}, &set).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << name << ": " << status;
  }
  for (const char* known : {"online-pa-2", "coordinate-descent", "biases", "popularity"}) {
    EXPECT_THAT(ErrorOf({.name = "svd"}), HasSubstr(known));
  }
  EXPECT_THAT(ErrorOf({.name = "onlinex"}), HasSubstr("onlinex"));
}

TEST(MakeMethodTest, RefusesBadOptions) {
  EXPECT_THAT(ErrorOf({.rank = 0}), HasSubstr("rank"));
  EXPECT_THAT(ErrorOf({.name = "pa", .rank = 0}), HasSubstr("rank"));
  EXPECT_THAT(ErrorOf({.min_rating = 5}), HasSubstr("rating"));
  EXPECT_THAT(ErrorOf({.name = "online-pa-1", .aggressiveness = 0}), HasSubstr("aggressiveness"));
  EXPECT_THAT(ErrorOf({.offset = 0}), HasSubstr("offset must be"));
  EXPECT_THAT(ErrorOf({.attraction = 1.5f}), HasSubstr("attraction must be"));
  EXPECT_THAT(ErrorOf({.name = "sgd-squared", .l2 = 0}), HasSubstr("l2"));
  EXPECT_THAT(ErrorOf({.name = "pa", .epsilon = -1}), HasSubstr("epsilon"));
  EXPECT_THAT(ErrorOf({.name = "pa", .zeros = Zeros::kObserved}), HasSubstr("zeros"));
}

TEST(MakeMethodTest, OnlyOnlineMethodsRankByRating) {
  for (const char* name : {"pa", "coordinate-descent", "biases", "popularity"}) {
    EXPECT_THAT(ErrorOf({.name = name, .rank_by = RankBy::kRating}), HasSubstr("rank_by"));
  }
  EXPECT_THAT(ErrorOf({.event_type = EventType{"click"}, .rank_by = RankBy::kRating}),
              HasSubstr("rank_by"));
  EXPECT_EQ(ErrorOf({.name = "online", .rank_by = RankBy::kRating}), "");
}

class OnlineTest : public testing::TestWithParam<Variant> {
 protected:
  std::string Name() const {
    if (GetParam() == Variant::kAdaptive) return "online";
    return "online-" + std::string(VariantName(GetParam()));
  }
};

// What is measured is what the server does: same events, same answers, to the bit.
TEST_P(OnlineTest, IsAnEngineWithTheDefaultConfiguration) {
  const Stream stream = RandomStream(3, 3000);
  TempFolder dir;
  EngineOptions options = TestOptions(dir / "data");
  options.config = {};
  options.config.variant = GetParam();
  const auto engine = OpenOrDie(options);
  ASSERT_NE(engine, nullptr);
  for (size_t i = 0; i < stream.events.size(); i += 500) {
    std::vector<OwnedRating> part;
    for (size_t j = i; j < i + 500; ++j) {
      const Interaction& event = stream.events[j];
      part.push_back({stream.set.users[event.user], stream.set.items[event.item], event.rating});
    }
    ASSERT_TRUE(Record(*engine, part).status.ok());
  }

  const auto method = Make({.name = Name()}, stream.set);
  ASSERT_TRUE(method->Pass(stream.events).ok());
  for (uint32_t user = 0; user < stream.set.users.size(); ++user) {
    const std::string& user_id = stream.set.users[user];
    for (uint32_t item = 0; item < stream.set.items.size(); ++item) {
      const UserItem pair = {user_id, stream.set.items[item]};
      const auto predicted = engine->Predict({&pair, 1}, /*strict=*/false);
      ASSERT_TRUE(predicted.ok());
      ASSERT_EQ(method->Predict(user, item), static_cast<double>(predicted->ratings[0].rating))
          << user_id << " " << pair.item_id;
    }
    const auto recommended = engine->Recommend({.user_id = user_id, .max_items = 25});
    ASSERT_TRUE(recommended.ok());
    std::vector<std::string> theirs, ours;
    for (const auto& item : recommended->items) theirs.emplace_back(item.item_id);
    for (const uint32_t item : method->Recommend(user, 25)) ours.push_back(stream.set.items[item]);
    ASSERT_EQ(ours, theirs) << user_id;
  }
  const ModelInfo info = engine->Info();
  EXPECT_NEAR(method->prequential()->mae(), info.prequential_error.mae, 1e-9);
  EXPECT_NEAR(method->prequential()->rmse(), info.prequential_error.rmse, 1e-9);
  // Without those that came again as they were.
  const auto events = static_cast<size_t>(info.prequential_error.events);
  EXPECT_EQ(method->prequential()->size(), events);
  EXPECT_LT(events, 3000u);
  EXPECT_LE(method->prequential_second_half()->size(), 1500u);
  EXPECT_DOUBLE_EQ(*method->passive_share(),
                   static_cast<double>(info.passive_updates) / static_cast<double>(events));

  const std::optional<FactorMatrix> factors = method->item_factors();
  ASSERT_TRUE(factors.has_value());
  EXPECT_EQ(factors->rows(), stream.set.items.size());
  EXPECT_EQ(factors->rank(), 32u);
  const auto token = engine->PinItems();
  ASSERT_TRUE(token.ok());
  const auto page = engine->ItemFactors(*token, 0, 1'000'000);
  ASSERT_TRUE(page.ok());
  absl::flat_hash_map<std::string, const std::vector<float>*> row_of;
  for (const auto& row : page->rows) row_of[row.id] = &row.factors;
  for (uint32_t item = 0; item < stream.set.items.size(); ++item) {
    const auto found = row_of.find(stream.set.items[item]);
    for (size_t k = 0; k < 32; ++k) {
      const float expected =
          found == row_of.end() ? 0 : (*found->second)[k] + FactorOffset(options.config);
      ASSERT_EQ(factors->row(item)[k], expected) << stream.set.items[item] << " " << k;
      ASSERT_GE(expected, 0);
    }
  }
}

TEST_P(OnlineTest, TheSecondHalfIsTheSecondHalf) {
  const Stream stream = RandomStream(4, 2001);
  const auto whole = Make({.name = Name()}, stream.set), half = Make({.name = Name()}, stream.set);
  ASSERT_TRUE(whole->Pass(stream.events).ok());
  ASSERT_TRUE(half->Pass({stream.events.data(), 1000}).ok());
  const auto sum = [](const RatingErrors& errors) {
    return errors.mae() * static_cast<double>(errors.size());
  };
  EXPECT_NEAR(sum(*whole->prequential()),
              sum(*half->prequential()) + sum(*whole->prequential_second_half()), 1e-6);
  EXPECT_EQ(whole->prequential()->size(),
            half->prequential()->size() + whole->prequential_second_half()->size());
}

TEST_P(OnlineTest, AnotherPassSendsTheStreamAgain) {
  const Stream stream = RandomStream(5, 800);
  std::vector<Interaction> twice = stream.events;
  twice.insert(twice.end(), stream.events.begin(), stream.events.end());
  const auto one = Make({.name = Name()}, stream.set), other = Make({.name = Name()}, stream.set);
  ASSERT_TRUE(one->Pass(stream.events).ok());
  const double mae = one->prequential()->mae();
  const size_t scored = one->prequential()->size();
  ASSERT_TRUE(one->Pass(stream.events).ok());
  ASSERT_TRUE(other->Pass(twice).ok());
  for (uint32_t item = 0; item < stream.set.items.size(); ++item) {
    EXPECT_EQ(one->Predict(1, item), other->Predict(1, item));
  }
  EXPECT_EQ(one->prequential()->size(), scored);  // of the first pass alone
  EXPECT_EQ(one->prequential()->mae(), mae);
}

TEST_P(OnlineTest, KeepsWhatItPredictedBeforeItLearned) {
  const Stream stream = RandomStream(6, 2500);
  const auto usual = Make({.name = Name()}, stream.set),
             keeping = Make({.name = Name(), .keep_first_predictions = true}, stream.set);
  for (int pass = 0; pass < 2; ++pass) {
    ASSERT_TRUE(usual->Pass(stream.events).ok());
    ASSERT_TRUE(keeping->Pass(stream.events).ok());
  }
  EXPECT_THAT(usual->first_predictions(), IsEmpty());
  const absl::Span<const EventPrediction> predictions = keeping->first_predictions();
  ASSERT_FALSE(predictions.empty());
  // Of those that came again as they were there is none, as there is no error of them.
  EXPECT_LT(predictions.size(), stream.events.size());
  EXPECT_EQ(predictions.size(), usual->prequential()->size());
  RatingErrors errors;
  for (const auto& [event, rating] : predictions) {
    errors.Add(static_cast<double>(stream.events[event].rating), rating);
  }
  EXPECT_NEAR(errors.mae(), usual->prequential()->mae(), 1e-9);
  EXPECT_NEAR(errors.rmse(), usual->prequential()->rmse(), 1e-9);
  // The last one is what a method that has learned all before it predicts.
  const size_t last = predictions.back().event;
  const auto former = Make({.name = Name()}, stream.set);
  ASSERT_TRUE(former->Pass({stream.events.data(), last}).ok());
  EXPECT_EQ(predictions.back().rating,
            former->Predict(stream.events[last].user, stream.events[last].item));
  // Keeping changes nothing else.
  EXPECT_EQ(keeping->prequential()->mae(), usual->prequential()->mae());
  for (uint32_t item = 0; item < stream.set.items.size(); ++item) {
    EXPECT_EQ(keeping->Predict(1, item), usual->Predict(1, item));
  }
}

// Predict clips, so what it says of neighbours may be equal.
TEST_P(OnlineTest, MayRankByPredictedRating) {
  const Stream stream = RandomStream(8, 3000);
  const auto by_score = Make({.name = Name()}, stream.set),
             by_rating = Make({.name = Name(), .rank_by = RankBy::kRating}, stream.set);
  for (int pass = 0; pass < 2; ++pass) {
    ASSERT_TRUE(by_score->Pass(stream.events).ok());
    ASSERT_TRUE(by_rating->Pass(stream.events).ok());
  }
  bool is_another = false;
  const uint32_t stranger = stream.set.users.size() - 1;
  EXPECT_THAT(by_rating->Recommend(stranger, 3), IsEmpty());
  for (uint32_t user = 0; user < stranger; ++user) {
    const std::vector<uint32_t> items = by_rating->Recommend(user, stream.set.items.size());
    // The same items, in another order.
    std::vector<uint32_t> expected = by_score->Recommend(user, stream.set.items.size());
    is_another = is_another || items != expected;
    EXPECT_THAT(items, UnorderedElementsAreArray(expected)) << user;
    std::vector<double> ratings;
    for (const uint32_t item : items) ratings.push_back(by_rating->Predict(user, item));
    EXPECT_TRUE(std::is_sorted(ratings.rbegin(), ratings.rend())) << user;
    expected = items;
    expected.resize(std::min<size_t>(3, items.size()));
    EXPECT_EQ(by_rating->Recommend(user, 3), expected) << user;
    EXPECT_EQ(by_score->Predict(user, 2), by_rating->Predict(user, 2));
  }
  // A pure update's score is its rating.
  EXPECT_EQ(is_another, GetParam() == Variant::kAdaptive);
}

TEST_P(OnlineTest, TheSeedIsTheStart) {
  const Stream stream = RandomStream(7, 500);
  const auto one = Make({.name = Name()}, stream.set), same = Make({.name = Name()}, stream.set),
             other = Make({.name = Name(), .seed = 2}, stream.set);
  for (Method* method : {one.get(), same.get(), other.get()}) {
    ASSERT_TRUE(method->Pass(stream.events).ok());
  }
  EXPECT_EQ(one->Predict(3, 3), same->Predict(3, 3));
  EXPECT_NE(one->Predict(3, 3), other->Predict(3, 3));
}

INSTANTIATE_TEST_SUITE_P(Variants, OnlineTest,
                         testing::Values(Variant::kAdaptive, Variant::kPa, Variant::kPaI,
                                         Variant::kPaII),
                         [](const auto& info) {
                           std::string name(VariantName(info.param));
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(PureOnlineTest, TakesTheOptionsOfThePaper) {
  const Stream stream = RandomStream(12, 600);
  const auto learn = [&](MethodOptions options) {
    options.name = "online-pa-1";
    auto method = Make(options, stream.set);
    EXPECT_TRUE(method->Pass(stream.events).ok());
    return method;
  };
  const double usual = learn({})->Predict(2, 3);
  EXPECT_NE(learn({.aggressiveness = 0.5f})->Predict(2, 3), usual);
  EXPECT_NE(learn({.rank = 8})->Predict(2, 3), usual);
  // Steps that end at C are the same in every solver.
  EXPECT_NE(learn({.aggressiveness = 1})->Predict(2, 3),
            learn({.aggressiveness = 1, .step_solver = Solver::kExact})->Predict(2, 3));
  const auto tolerant = learn({.epsilon = 1});
  EXPECT_NE(tolerant->Predict(2, 3), usual);
  EXPECT_GT(*tolerant->passive_share(), 0.2);
  EXPECT_LT(*tolerant->passive_share(), 0.8);
}

TEST(AdaptiveOnlineTest, EventsOfATypeTeachTheRankingAlone) {
  const Stream stream = RandomStream(4, 600);
  const auto ratings = Make({}, stream.set);
  const auto clicks = Make({.event_type = EventType{"click"}}, stream.set);
  const auto weak = Make({.event_type = EventType{"click", 1, 0.1f}}, stream.set);
  for (const auto* method : {&ratings, &clicks, &weak}) {
    ASSERT_TRUE((*method)->Pass(stream.events).ok());
  }
  EXPECT_EQ(clicks->Predict(0, 0), static_cast<double>(ModelConfig().initial_rating));
  EXPECT_EQ(clicks->prequential(), nullptr);
  EXPECT_EQ(clicks->Recommend(0, 5), ratings->Recommend(0, 5));
  EXPECT_NE(weak->Recommend(0, 20), ratings->Recommend(0, 20));
}

TEST(AdaptiveOnlineTest, LaterPassesMayGoOverTheHistories) {
  const Stream stream = RandomStream(4, 600);
  const auto sent = Make({}, stream.set), again = Make({.over_histories = true}, stream.set);
  for (const auto* method : {&sent, &again}) {
    ASSERT_TRUE((*method)->Pass(stream.events).ok());
  }
  const std::vector<uint32_t> recommended = again->Recommend(0, 20);
  const double before = TrainError(*again, stream);
  EXPECT_EQ(before, TrainError(*sent, stream));
  ASSERT_TRUE(again->Pass(stream.events).ok());
  EXPECT_NE(TrainError(*again, stream), before);
  EXPECT_EQ(again->Recommend(0, 20), recommended);
}

TEST(AdaptiveOnlineTest, ReplayChangesPredictionsAndNotTheRanking) {
  const Stream stream = RandomStream(4, 600);
  const auto plain = Make({}, stream.set), replaying = Make({.replay = 2}, stream.set);
  for (const auto* method : {&plain, &replaying}) {
    ASSERT_TRUE((*method)->Pass(stream.events).ok());
  }
  EXPECT_NE(plain->Predict(0, 0), replaying->Predict(0, 0));
  EXPECT_EQ(plain->Recommend(0, 20), replaying->Recommend(0, 20));
}

TEST(AdaptiveOnlineTest, TakesOffsetAndAttraction) {
  const Stream stream = RandomStream(13, 600);
  const auto predict = [&](const MethodOptions& options) {
    const auto method = Make(options, stream.set);
    EXPECT_TRUE(method->Pass(stream.events).ok());
    return method->Predict(2, 3);
  };
  const double usual = predict({});
  EXPECT_NE(predict({.offset = 0.1f}), usual);
  EXPECT_NE(predict({.attraction = 0}), usual);
  EXPECT_EQ(predict({.offset = ModelConfig().offset, .attraction = ModelConfig().attraction}),
            usual);
}

class EveryMethodTest : public testing::TestWithParam<const char*> {};

TEST_P(EveryMethodTest, PredictsWithinTheRangeAndRecommendsWhatIsNew) {
  const Stream stream = RandomStream(8, 1500);
  const auto method = Make({.name = GetParam(), .rank = 8, .l2 = 0.5f}, stream.set);
  for (int pass = 0; pass < 2; ++pass) ASSERT_TRUE(method->Pass(stream.events).ok());
  std::vector<std::vector<bool>> rated(stream.set.users.size());
  for (auto& of_user : rated) of_user.resize(stream.set.items.size());
  for (const Interaction& event : stream.events) rated[event.user][event.item] = true;
  for (uint32_t user = 0; user < stream.set.users.size(); ++user) {
    for (uint32_t item = 0; item < stream.set.items.size(); ++item) {
      const double predicted = method->Predict(user, item);
      ASSERT_GE(predicted, 0);
      ASSERT_LE(predicted, 5);
    }
    const std::vector<uint32_t> items = method->Recommend(user, 7);
    EXPECT_LE(items.size(), 7u);
    for (const uint32_t item : items) EXPECT_FALSE(rated[user][item]) << user << " " << item;
    for (const uint32_t item : method->Recommend(user, stream.set.items.size())) {
      EXPECT_NE(stream.set.items[item], "novelty") << user;  // no training event has it
    }
  }
}

TEST_P(EveryMethodTest, IsBetterThanTheMiddle) {
  const Stream stream = RandomStream(9, 1500);
  const bool is_sgd = std::string(GetParam()).starts_with("sgd");
  const auto method =
      Make({.name = GetParam(), .rank = 8, .l2 = is_sgd ? 0.03f : 0.5f}, stream.set);
  for (int pass = 0; pass < 20; ++pass) ASSERT_TRUE(method->Pass(stream.events).ok());
  EXPECT_LT(TrainError(*method, stream), 1.27);  // the mean's; ratings are random
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethodTest,
                         testing::Values("online", "online-pa-1", "biases", "popularity", "pa",
                                         "sgd-absolute", "sgd-squared", "projected-gradient",
                                         "coordinate-descent", "multiplicative",
                                         "multiplicative-kl"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// The method is the solver with these options, over the users' rows.
TEST(BatchMethodTest, IsTheSolver) {
  const Stream stream = RandomStream(10, 600);
  std::vector<MatrixEntry> entries;
  for (const Interaction& event : stream.events) {
    entries.push_back({event.user, event.item, event.rating});
  }
  const SparseMatrix matrix(stream.set.users.size(), stream.set.items.size(), entries);
  for (const Zeros zeros : {Zeros::kMissing, Zeros::kObserved}) {
    const auto method = Make(
        {.name = "coordinate-descent", .rank = 4, .seed = 9, .l2 = 2, .zeros = zeros}, stream.set);
    const auto solver = BatchSolver::Create(
        {.method = BatchMethod::kCoordinateDescent, .rank = 4, .seed = 9, .zeros = zeros, .l2 = 2},
        &matrix);
    ASSERT_TRUE(solver.ok());
    for (int pass = 0; pass < 3; ++pass) {
      ASSERT_TRUE(method->Pass(stream.events).ok());
      (*solver)->Pass();
      EXPECT_EQ(*method->objective(), (*solver)->Objective());
    }
    EXPECT_EQ(method->Predict(2, 3), static_cast<double>((*solver)->Predict(2, 3)));
    EXPECT_EQ(method->item_factors()->rows(), stream.set.items.size());
    EXPECT_EQ(method->item_factors()->row(3)[1], (*solver)->q().row(3)[1]);
    EXPECT_EQ(method->prequential(), nullptr);
    EXPECT_FALSE(method->passive_share().has_value());
  }
}

TEST(BatchMethodTest, PassesOnWhatThePassiveAggressiveOneTakes) {
  const Stream stream = RandomStream(11, 600);
  const auto predict = [&](MethodOptions options) {
    options.name = "pa";
    options.rank = 4;
    const auto method = Make(options, stream.set);
    for (int pass = 0; pass < 2; ++pass) EXPECT_TRUE(method->Pass(stream.events).ok());
    return method->Predict(2, 3);
  };
  const double usual = predict({});
  EXPECT_NE(predict({.aggressiveness = 0.03f}), usual);
  EXPECT_NE(predict({.epsilon = 0.4f}), usual);
  EXPECT_NE(predict({.step_solver = Solver::kExact}), usual);
  EXPECT_NE(predict({.non_negative = false}), usual);
  EXPECT_NE(predict({.variant = Variant::kPaII}), usual);
  EXPECT_NE(predict({.seed = 5}), usual);
}

}  // namespace
}  // namespace factord
