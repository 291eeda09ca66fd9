#include "engine/dedupe_window.h"

#include <map>
#include <random>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace factord {
namespace {

DedupeEntry Entry(int64_t sequence, const std::string& id) {
  return {sequence, DedupeWindow::KeyOf(id), static_cast<uint64_t>(sequence)};
}

TEST(DedupeWindowTest, RemembersExactlyTheLastWSequences) {
  DedupeWindow window(3);
  window.Add(Entry(1, "a"));
  window.AddWithoutId(2);
  window.Add(Entry(3, "c"));
  const Hash128 a = DedupeWindow::KeyOf("a"), c = DedupeWindow::KeyOf("c");
  // When sequence 4 arrives, 1 to 3 are remembered.
  ASSERT_NE(window.Find(a, 4), nullptr);
  EXPECT_EQ(window.Find(a, 4)->sequence, 1);
  // When 5 arrives, 1 no longer is, although its slot is not overwritten yet.
  EXPECT_EQ(window.Find(a, 5), nullptr);
  EXPECT_NE(window.Find(c, 5), nullptr);
  window.AddWithoutId(4);
  EXPECT_EQ(window.Find(a, 4), nullptr);
  EXPECT_EQ(window.size(), 1u);
}

TEST(DedupeWindowTest, AgreesWithANaiveMapAndItsHashWithAFreshOne) {
  constexpr int64_t kWindow = 97;
  std::mt19937 random(3);
  DedupeWindow window(kWindow);
  std::map<std::string, int64_t> naive;
  for (int64_t sequence = 1; sequence <= 5000; ++sequence) {
    const std::string id = "e" + std::to_string(random() % 300);
    const DedupeEntry* const found = window.Find(DedupeWindow::KeyOf(id), sequence);
    const auto it = naive.find(id);
    const bool remembered = it != naive.end() && it->second >= sequence - kWindow;
    ASSERT_EQ(found != nullptr, remembered) << sequence;
    if (remembered) {
      ASSERT_EQ(found->sequence, it->second);
    }
    if (remembered || random() % 5 == 0) {
      window.AddWithoutId(sequence);
    } else {
      window.Add(Entry(sequence, id));
      naive[id] = sequence;
    }
    if (sequence % 500 == 0) {
      ASSERT_EQ(window.hash(), window.ComputeHash());
    }
  }
  EXPECT_LE(window.size(), static_cast<size_t>(kWindow));
}

// Ids that agree in half of their key can be found; they must not lie together.
TEST(DedupeWindowTest, IdsAreFoundByAllOfTheirKey) {
  std::set<uint32_t> by_high, by_low;
  for (uint64_t i = 0; i < 1000; ++i) {
    by_high.insert(DedupeWindow::ShortHash({i, 5}));
    by_low.insert(DedupeWindow::ShortHash({5, i}));
  }
  EXPECT_GT(by_high.size(), 990u);
  EXPECT_GT(by_low.size(), 990u);
}

TEST(DedupeWindowTest, CountsWhatItForgetsAndWhatItTakes) {
  DedupeWindow window(100);
  EXPECT_LT(window.MemoryBytes(), 100u);
  for (int64_t sequence = 1; sequence <= 100; ++sequence) {
    window.Add(Entry(sequence, std::to_string(sequence)));
  }
  EXPECT_EQ(window.evictions(), 0);
  const size_t full = window.MemoryBytes();
  EXPECT_GE(full, 100 * (sizeof(DedupeEntry) + 5));
  window.Add(Entry(101, "101"));
  window.AddWithoutId(102);
  EXPECT_EQ(window.evictions(), 2);
  window.AddWithoutId(202);  // its slot is empty by now
  EXPECT_EQ(window.evictions(), 2);
  EXPECT_EQ(window.MemoryBytes(), full);
}

TEST(DedupeWindowTest, HashTellsSequenceKeyAndContentApart) {
  DedupeWindow a(10), b(10), c(10);
  a.Add({1, DedupeWindow::KeyOf("x"), 1});
  b.Add({2, DedupeWindow::KeyOf("x"), 1});
  c.Add({1, DedupeWindow::KeyOf("x"), 2});
  EXPECT_NE(a.hash(), b.hash());
  EXPECT_NE(a.hash(), c.hash());
}

}  // namespace
}  // namespace factord
