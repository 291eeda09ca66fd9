#include "model/user_table.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;

TEST(RatingHistoryTest, KeepsTheLatestValueAtTheEnd) {
  RatingHistory history;
  history.Record(7, 1);
  history.Record(9, 2);
  EXPECT_EQ(history.Record(5, 3), std::nullopt);
  EXPECT_EQ(history.Record(7, 4), 1.0f);
  EXPECT_THAT(history.items(), ElementsAre(9, 5, 7));
  EXPECT_THAT(history.ratings(), ElementsAre(2, 3, 4));
}

TEST(RatingHistoryTest, WhatIsTakenUpKeepsItsRating) {
  RatingHistory history;
  history.Record(7, 1);
  EXPECT_EQ(history.Record(9, kUnrated), std::nullopt);
  EXPECT_EQ(history.Record(7, kUnrated), 1.0f);
  EXPECT_THAT(history.items(), ElementsAre(9, 7));
  EXPECT_FALSE(IsRating(history.ratings()[0]));
  EXPECT_EQ(history.ratings()[1], 1);
  EXPECT_FALSE(IsRating(*history.Record(9, 3)));
  EXPECT_THAT(history.items(), ElementsAre(7, 9));
  EXPECT_THAT(history.ratings(), ElementsAre(1, 3));
}

TEST(RatingHistoryTest, AgreesWithANaiveListOverManySizes) {
  std::mt19937 random(1);
  RatingHistory history;
  std::vector<std::pair<uint32_t, float>> naive;
  for (int i = 0; i < 5000; ++i) {
    const uint32_t item = random() % 700;
    const float rating = static_cast<float>(i);
    std::erase_if(naive, [item](const auto& entry) { return entry.first == item; });
    naive.emplace_back(item, rating);
    history.Record(item, rating);
  }
  ASSERT_EQ(history.items().size(), naive.size());
  for (size_t i = 0; i < naive.size(); ++i) {
    EXPECT_EQ(history.items()[i], naive[i].first);
    EXPECT_EQ(history.ratings()[i], naive[i].second);
  }
  RatingHistory copy;
  copy.Record(1, 1);
  copy.Assign(history.items(), history.ratings());
  EXPECT_EQ(copy.items(), history.items());
  EXPECT_EQ(copy.ratings(), history.ratings());
}

TEST(UserTableTest, RowsStartAtZeroAndStayInPlaceAcrossChunks) {
  UserTable users(20);
  EXPECT_EQ(users.stride(), 32u);
  users.Add();
  float* const first = users.Lock(0).factors();
  for (int i = 1; i < 10000; ++i) users.Add();
  EXPECT_EQ(users.size(), 10000u);
  EXPECT_EQ(users.Lock(0).factors(), first);
  for (const uint32_t index : {0u, 4095u, 4096u, 9999u}) {
    UserTable::LockedRow row = users.Lock(index);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(row.factors()) % 64, 0u);
    for (size_t k = 0; k < users.stride(); ++k) EXPECT_EQ(row.factors()[k], 0.0f);
    EXPECT_EQ(row->state.count, 0u);
    EXPECT_TRUE(row->history.items().empty());
  }
}

TEST(UserTableTest, MemoryGrowsByChunks) {
  UserTable users(64);
  const size_t empty = users.MemoryBytes();
  users.Add();
  const size_t one = users.MemoryBytes();
  EXPECT_GE(one - empty, 4096 * 64 * sizeof(float));
  while (users.size() < 4096) users.Add();
  EXPECT_EQ(users.MemoryBytes(), one);
  EXPECT_EQ(users.MemoryBytes(4097) - one, one - empty);
  users.Add();
  EXPECT_EQ(users.MemoryBytes() - one, one - empty);
}

// A reader must never see half of an update; each sees many, amid them.
TEST(UserTableTest, ReadersSeeWholeRows) {
  UserTable users(64);
  users.Add();
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0}, readers_left{3};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      uint64_t last = 0;
      int seen = 0;
      while (!stop) {
        UserTable::LockedRow row = users.Lock(0);
        if (std::exchange(last, row->state.count) != row->state.count && ++seen == 20) {
          --readers_left;
        }
        const float expected = static_cast<float>(row->state.count);
        for (size_t k = 0; k < 64; ++k) torn += row.factors()[k] != expected;
        torn += row->history.items().size() != row->state.count;
      }
    });
  }
  for (uint32_t i = 1; i <= 3000 || readers_left > 0; ++i) {
    UserTable::LockedRow row = users.Lock(0);
    row->state.count = i;
    std::fill_n(row.factors(), 64, static_cast<float>(i));
    row->history.Record(i, 1);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
}

}  // namespace
}  // namespace factord
