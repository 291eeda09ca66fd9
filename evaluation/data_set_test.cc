#include "evaluation/data_set.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {

bool operator==(const Interaction& a, const Interaction& b) {
  return std::tie(a.user, a.item, a.rating, a.time_micros) ==
         std::tie(b.user, b.item, b.rating, b.time_micros);
}
void PrintTo(const Interaction& event, std::ostream* out) {
  *out << "{" << event.user << ", " << event.item << ", " << event.rating << ", "
       << event.time_micros << "}";
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

std::vector<uint32_t> ItemsOf(const std::vector<Interaction>& events) {
  std::vector<uint32_t> items;
  for (const Interaction& event : events) items.push_back(event.item);
  return items;
}

// User u has u + 1 events, mixed; each event is an item of its own, in order of time backwards.
std::vector<Interaction> Staircase(uint32_t users) {
  std::vector<Interaction> events;
  for (uint32_t round = 0; round < users; ++round) {
    for (uint32_t user = round; user < users; ++user) {
      const auto item = static_cast<uint32_t>(events.size());
      events.push_back({user, item, 3, 1000 - static_cast<int64_t>(item)});
    }
  }
  return events;
}

std::map<uint32_t, size_t> CountsOfUsers(const std::vector<Interaction>& events) {
  std::map<uint32_t, size_t> counts;
  for (const Interaction& event : events) ++counts[event.user];
  return counts;
}

std::vector<Interaction> Together(const Split& split) {
  std::vector<Interaction> all = split.train;
  all.insert(all.end(), split.test.begin(), split.test.end());
  return all;
}

TEST(NamesTest, NumbersInOrderOfAppearance) {
  Names names;
  EXPECT_EQ(names.size(), 0u);
  EXPECT_EQ(names.Add("b"), 0u);
  EXPECT_EQ(names.Add("a"), 1u);
  EXPECT_EQ(names.Add("b"), 0u);
  EXPECT_EQ(names.Add(""), 2u);
  EXPECT_EQ(names.size(), 3u);
  EXPECT_EQ(names[1], "a");
}

class ReadInteractionsTest : public testing::Test {
 protected:
  const TempFolder folder_;
};

TEST_F(ReadInteractionsTest, ReadsInTheFilesOrderAndSharesIds) {
  DataSet set;
  const auto events = ReadInteractions(
      folder_.Write("a", "userId,movieId,rating,timestamp\nann,x,4.5,7\nbob,y,1,\nann,y,0,3\n"),
      &set);
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_THAT(*events, ElementsAre(Interaction{0, 0, 4.5f, 7'000'000}, Interaction{1, 1, 1, 0},
                                   Interaction{0, 1, 0, 3'000'000}));
  const auto more = ReadInteractions(folder_.Write("b", "bob::z::2::1\nann::x::3::1\n"), &set);
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_THAT(*more, ElementsAre(Interaction{1, 2, 2, 1'000'000}, Interaction{0, 0, 3, 1'000'000}));
  EXPECT_EQ(set.users.size(), 2u);
  EXPECT_EQ(set.items[2], "z");
}

TEST_F(ReadInteractionsTest, NamesTheLineThatIsMalformed) {
  DataSet set;
  const std::string path = folder_.Write("bad", "a,x,1\nb,x,2\nc,x,two\n");
  const absl::Status status = ReadInteractions(path, &set).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(path, ":3: ")));
  EXPECT_FALSE(ReadInteractions(path + ".not-there", &set).ok());
  const auto empty = ReadInteractions(folder_.Write("empty", ""), &set);
  ASSERT_TRUE(empty.ok());
  EXPECT_THAT(*empty, IsEmpty());
}

TEST(SortedByTimeTest, EqualTimesKeepTheirOrder) {
  const std::vector<Interaction> events = {{0, 0, 1, 5}, {0, 1, 1, 0}, {1, 2, 1, 5}, {1, 3, 1, 5},
                                           {0, 4, 1, 0}, {0, 5, 1, 9}, {0, 6, 1, -1}};
  EXPECT_THAT(ItemsOf(SortedByTime(events)), ElementsAre(6, 1, 4, 0, 2, 3, 5));
  EXPECT_THAT(SortedByTime({}), IsEmpty());
}

TEST(ShuffledTest, IsAPermutationThatTheSeedSays) {
  const std::vector<Interaction> events = Staircase(12);
  const std::vector<Interaction> one = Shuffled(events, 1);
  EXPECT_THAT(one, UnorderedElementsAreArray(events));
  EXPECT_EQ(one, Shuffled(events, 1));
  EXPECT_NE(one, events);
  EXPECT_NE(one, Shuffled(events, 2));
}

TEST(ShuffledTest, EveryPlaceIsEquallyLikely) {
  const std::vector<Interaction> events = {{0, 0}, {0, 1}, {0, 2}, {0, 3}};
  constexpr int kSeeds = 24'000;
  std::map<std::vector<uint32_t>, int> counts;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) ++counts[ItemsOf(Shuffled(events, seed))];
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [order, count] : counts) {
    EXPECT_NEAR(count, kSeeds / 24, 160) << testing::PrintToString(order);  // 5 deviations
  }
}

TEST(SplitAtRandomTest, TakesTheShareOfEachUserToTheNearestNumber) {
  const std::vector<Interaction> events = Staircase(23);
  for (const double share : {0.2, 0.25, 0.5}) {
    const Split split = SplitAtRandom(events, share, 5);
    EXPECT_THAT(Together(split), UnorderedElementsAreArray(events));
    std::map<uint32_t, size_t> wanted;
    for (uint32_t user = 0; user < 23; ++user) {
      const auto count = static_cast<size_t>(std::lround(share * (user + 1)));
      if (count > 0) wanted[user] = count;
    }
    EXPECT_EQ(CountsOfUsers(split.test), wanted) << share;
  }
  EXPECT_THAT(SplitAtRandom(events, 0, 5).test, IsEmpty());
  EXPECT_THAT(SplitAtRandom(events, 1, 5).train, IsEmpty());
  EXPECT_THAT(SplitAtRandom({}, 0.2, 5).train, IsEmpty());
}

TEST(SplitAtRandomTest, TestKeepsTheOrderAndTrainDoesNot) {
  const std::vector<Interaction> events = Staircase(23);
  const Split split = SplitAtRandom(events, 0.2, 5);
  EXPECT_TRUE(std::is_sorted(split.test.begin(), split.test.end(),
                             [](const auto& a, const auto& b) { return a.item < b.item; }));
  std::vector<uint32_t> train = ItemsOf(split.train);
  EXPECT_FALSE(std::is_sorted(train.begin(), train.end()));
  EXPECT_FALSE(std::is_sorted(train.rbegin(), train.rend()));
  // Users are mixed, so that no part of the stream is one user's.
  EXPECT_GT(CountsOfUsers({split.train.begin(), split.train.begin() + 40}).size(), 10u);
}

TEST(SplitAtRandomTest, TheSeedSaysWhich) {
  const std::vector<Interaction> events = Staircase(23);
  const Split one = SplitAtRandom(events, 0.2, 1), same = SplitAtRandom(events, 0.2, 1);
  EXPECT_EQ(one.test, same.test);
  EXPECT_EQ(one.train, same.train);
  EXPECT_NE(one.test, SplitAtRandom(events, 0.2, 2).test);
  // No event is favoured: two users of 10, a fifth each.
  std::vector<Interaction> few;
  for (uint32_t item = 0; item < 20; ++item) few.push_back({item % 2, item, 1, 0});
  std::map<uint32_t, int> chosen;
  constexpr int kSeeds = 10'000;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    for (const uint32_t item : ItemsOf(SplitAtRandom(few, 0.2, seed).test)) ++chosen[item];
  }
  for (uint32_t item = 0; item < 20; ++item) EXPECT_NEAR(chosen[item], kSeeds / 5, 200) << item;
  // And users with as many events are not divided alike: 1 seed in 45 does so by chance.
  int alike = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<uint32_t> test = ItemsOf(SplitAtRandom(few, 0.2, seed).test);
    std::set<uint32_t> places;
    for (const uint32_t item : test) places.insert(item / 2);
    alike += places.size() == 2 ? 1 : 0;
  }
  EXPECT_NEAR(alike, kSeeds / 45, 80);
}

// Items 0 to 4 in the order of the file, at other times.
std::vector<Interaction> NotInOrderOfTime() {
  return {{0, 0, 1, 50}, {1, 1, 1, 10}, {0, 2, 1, 40}, {1, 3, 1, 20}, {0, 4, 1, 30}};
}

TEST(SplitAtEndTest, TheLastArePredictedInTheirOrder) {
  const Split split = SplitAtEnd(NotInOrderOfTime(), 0.4);
  EXPECT_THAT(ItemsOf(split.train), ElementsAre(0, 1, 2));
  EXPECT_THAT(ItemsOf(split.test), ElementsAre(3, 4));
  EXPECT_THAT(SplitAtEnd({}, 0.2).test, IsEmpty());
}

TEST(SplitByTimeTest, TheNewestArePredicted) {
  const std::vector<Interaction> events = NotInOrderOfTime();
  const Split split = SplitByTime(events, 0.4);
  EXPECT_THAT(ItemsOf(split.train), ElementsAre(1, 3, 4));
  EXPECT_THAT(ItemsOf(split.test), ElementsAre(2, 0));
  // Ties: the later in the file is the newer. And without times it is the file's end.
  std::vector<Interaction> tied = events;
  for (Interaction& event : tied) event.time_micros = 0;
  EXPECT_THAT(ItemsOf(SplitByTime(tied, 0.2).test), ElementsAre(4));
  EXPECT_THAT(ItemsOf(SplitByTime(tied, 0.2).train), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(SplitByTime({}, 0.2).test, IsEmpty());
}

TEST(SplitLastOutTest, TheLastOfEachUserWithTwoOrMoreIsPredicted) {
  const std::vector<Interaction> events = {
      {0, 0, 1, 9}, {1, 1, 1, 5},  // user 1 has but one
      {2, 2, 1, 7}, {2, 3, 1, 7},  // a tie: the later in the file is the last
      {0, 4, 1, 2}, {2, 5, 1, 7}, {0, 6, 1, 3}};
  const Split split = SplitLastOut(events);
  EXPECT_THAT(ItemsOf(split.test), ElementsAre(5, 0));
  EXPECT_THAT(ItemsOf(split.train), ElementsAre(4, 6, 1, 2, 3));
  EXPECT_THAT(SplitLastOut({}).test, IsEmpty());
}

TEST(SplitLastOutTest, NothingIsLost) {
  const std::vector<Interaction> events = Staircase(9);
  const Split split = SplitLastOut(events);
  EXPECT_THAT(Together(split), UnorderedElementsAreArray(events));
  EXPECT_EQ(split.test.size(), 8u);  // user 0 has one event
  EXPECT_EQ(split.train, SortedByTime(split.train));
  EXPECT_EQ(CountsOfUsers(split.train)[0], 1u);
}

}  // namespace
}  // namespace factord
