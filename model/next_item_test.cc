#include "model/next_item.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/hash128.h"
#include "model/kernels.h"
#include "model/mix.h"

namespace factord {
namespace {

// Items with ranking rows, and users of whom only the order of items is known.
class Order {
 public:
  Order(const ModelConfig& config, uint32_t items)
      : items_(static_cast<size_t>(config.rank), true) {
    for (uint32_t i = 0; i < items; ++i) {
      items_.Add();
      StartRankingRow(config, std::to_string(i), items_.stride(), items_.MutableRanking(i));
    }
  }

  void TakeUp(std::vector<uint32_t>* user, uint32_t item, float value = 1, float weight = 1) {
    const ItemRow row = items_.Mutable(item);
    ++row.state->count;
    *row.ranking_bias = RankingBias(row.state->count);
    touched_.clear();
    if (!user->empty()) {
      const std::vector<uint32_t> context(user->rbegin(), user->rend());
      LearnNextItem(
          {.item = item,
           .context = context,
           .value = value,
           .weight = weight,
           .stream = Mix64(Mix64(1) ^ ++events_)},
          recent_, [this](uint32_t i) { touched_.insert(i); }, &items_);
    }
    recent_.Add(item);
    user->push_back(item);
  }

  float Score(const std::vector<uint32_t>& user, uint32_t item) const {
    const std::vector<uint32_t> context(user.rbegin(), user.rend());
    std::vector<float> query(items_.stride());
    RankingQuery(
        context, [this](uint32_t i) { return items_.ranking(i); }, query.size(), query.data());
    return ActiveKernels().dot(query.data(), items_.ranking(item), query.size()) +
           items_.ranking_bias(item);
  }
  const ItemMatrix& items() const { return items_; }
  const std::set<uint32_t>& touched() const { return touched_; }

 private:
  ItemMatrix items_;
  RecentItems recent_;
  std::set<uint32_t> touched_;
  uint64_t events_ = 0;
};

TEST(RankingBiasTest, IsAQuarterOfTheLogarithm) {
  EXPECT_EQ(RankingBias(0), 0);
  for (const uint32_t n : {1u, 2u, 9u, 1000u, 123'456'789u, 4'294'967'295u}) {
    EXPECT_NEAR(RankingBias(n), 0.25 * std::log(1.0 + n), 1e-6) << n;
  }
}

TEST(RankingQueryTest, TheLastItemCountsMost) {
  ModelConfig config;
  config.rank = 3;
  const std::vector<std::vector<float>> rows = {
      std::vector<float>(16, 1), std::vector<float>(16, 0), std::vector<float>(16, 0)};
  const auto row = [&](uint32_t i) { return rows[std::min(i, 2u)].data(); };
  std::vector<float> query(16);
  RankingQuery({0, 1, 2}, row, 16, query.data());
  EXPECT_FLOAT_EQ(query[0], 0.35f);
  RankingQuery({1, 0, 2}, row, 16, query.data());
  EXPECT_FLOAT_EQ(query[0], 0.35f * 0.65f);
  // The ninth does not count.
  RankingQuery({1, 1, 1, 1, 1, 1, 1, 1, 0}, row, 16, query.data());
  EXPECT_EQ(query[0], 0);
}

TEST(LearnNextItemTest, WhatIsTakenUpTogetherIsRankedTogether) {
  // Two circles of ten items; each user wanders within one of them.
  Order order(ModelConfig{}, 20);
  std::vector<std::vector<uint32_t>> users(20);
  for (uint32_t t = 0; t < 2000; ++t) {
    const uint32_t u = t % 20;
    order.TakeUp(&users[u], u % 2 * 10 + static_cast<uint32_t>(Mix64(t) % 10));
  }
  for (uint32_t u = 0; u < 20; ++u) {
    float best_of_others = -1e9f, worst_of_own = 1e9f;
    for (uint32_t i = 0; i < 20; ++i) {
      const float score = order.Score(users[u], i);
      if (i / 10 == u % 2) {
        worst_of_own = std::min(worst_of_own, score);
      } else {
        best_of_others = std::max(best_of_others, score);
      }
    }
    EXPECT_GT(worst_of_own, best_of_others) << u;
  }
}

TEST(LearnNextItemTest, AStepRaisesTheItemAndTellsOfEachRowThatItMoves) {
  Order order(ModelConfig{}, 50);
  std::vector<uint32_t> other;
  for (uint32_t i = 0; i < 50; ++i) order.TakeUp(&other, i);
  std::vector<uint32_t> user = {3, 4, 5};
  std::vector<std::vector<float>> before;
  for (uint32_t i = 0; i < 50; ++i) {
    const float* const row = order.items().ranking(i);
    before.emplace_back(row, row + order.items().stride());
  }
  const float score = order.Score(user, 7) - order.items().ranking_bias(7);
  std::vector<uint32_t> after = user;
  order.TakeUp(&after, 7);
  EXPECT_GT(order.Score(user, 7) - order.items().ranking_bias(7), score);
  EXPECT_THAT(order.touched(), testing::IsSupersetOf({7u, 5u, 4u}));
  EXPECT_LE(order.touched().size(), 6u);
  for (uint32_t i = 0; i < 50; ++i) {
    const bool moved = !std::equal(before[i].begin(), before[i].end(), order.items().ranking(i));
    EXPECT_TRUE(!moved || order.touched().contains(i)) << i;
  }
}

TEST(LearnNextItemTest, RowsStayAboveTheOffsetFiniteAndPadded) {
  ModelConfig config;
  config.rank = 19;
  Order order(config, 30);
  std::vector<std::vector<uint32_t>> users(3);
  for (uint32_t t = 0; t < 20'000; ++t) {
    // Mostly one item, then another, and noise.
    const uint32_t item = t % 3 == 0 ? 0 : t % 3 == 1 ? 1 : static_cast<uint32_t>(Mix64(t) % 30);
    order.TakeUp(&users[t % 3], item);
    if (users[t % 3].size() > 20) users[t % 3].erase(users[t % 3].begin());
  }
  for (uint32_t i = 0; i < 30; ++i) {
    const float* const row = order.items().ranking(i);
    for (size_t k = 0; k < order.items().stride(); ++k) {
      ASSERT_GE(row[k] + 0.4f, 0);
      ASSERT_LT(row[k], 100);
      if (k >= 19) {
        ASSERT_EQ(row[k], 0);
      }
    }
  }
}

TEST(RecentItemsTest, DrawsFromTheLastOnesAndComesBackFromBytes) {
  RecentItems recent;
  recent.Add(7);
  EXPECT_EQ(recent.Draw(Mix64(1)), 7u);
  for (uint32_t i = 0; i < 3000; ++i) recent.Add(i);
  EXPECT_EQ(recent.size(), RecentItems::kCapacity);
  std::set<uint32_t> drawn;
  for (uint64_t i = 0; i < 20'000; ++i) drawn.insert(recent.Draw(Mix64(i)));
  EXPECT_EQ(*drawn.begin(), 3000 - 1024u);
  EXPECT_EQ(*drawn.rbegin(), 2999u);
  EXPECT_EQ(drawn.size(), 1024u);

  std::string bytes;
  recent.AppendTo(&bytes);
  RecentItems back;
  ASSERT_TRUE(back.ReadFrom(bytes, 3000));
  back.Add(1);
  recent.Add(1);
  std::string again, expected;
  back.AppendTo(&again);
  recent.AppendTo(&expected);
  EXPECT_EQ(again, expected);
  EXPECT_FALSE(back.ReadFrom(bytes, 2999));  // an item that is not there
  EXPECT_FALSE(back.ReadFrom(bytes.substr(1), 3000));
  EXPECT_FALSE(back.ReadFrom(bytes + "x", 3000));
}

TEST(LearnNextItemTest, AWeightierEventMovesMoreAndAGreaterValueAsksForMore) {
  // How much the score of item 7 rises after 3, 4, 5.
  const auto rise = [](float value, float weight) {
    Order order(ModelConfig{}, 50);
    std::vector<uint32_t> other;
    for (uint32_t i = 0; i < 50; ++i) order.TakeUp(&other, i);
    const std::vector<uint32_t> user = {3, 4, 5};
    const auto score = [&] { return order.Score(user, 7) - order.items().ranking_bias(7); };
    const float before = score();
    std::vector<uint32_t> after = user;
    order.TakeUp(&after, 7, value, weight);
    return score() - before;
  };
  EXPECT_GT(rise(1, 0.1f), 0);
  EXPECT_LT(rise(1, 0.1f), rise(1, 1) / 5);
  EXPECT_GT(rise(1, 10), rise(1, 1) * 2);
  EXPECT_GT(rise(3, 1), rise(1, 1) * 2);
}

TEST(LearnNextItemTest, HashAfterAStreamIsPinned) {
  ModelConfig config;
  config.rank = 37;
  Order order(config, 40);
  std::vector<std::vector<uint32_t>> users(7);
  for (uint32_t t = 0; t < 2000; ++t) {
    order.TakeUp(&users[Mix64(t) % 7], static_cast<uint32_t>(Mix64(~uint64_t{t}) % 40));
  }
  uint64_t hash = 0;
  for (uint32_t i = 0; i < 40; ++i) {
    hash = HashBytes64(absl::string_view(reinterpret_cast<const char*>(order.items().ranking(i)),
                                         order.items().stride() * sizeof(float)),
                       hash);
  }
  EXPECT_EQ(hash, 0x67e3f0ef77c9e6cu);
}

}  // namespace
}  // namespace factord
