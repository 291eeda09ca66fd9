#include "model/id_map.h"

#include <atomic>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(IdMapTest, IndicesAreTheOrderOfAdding) {
  IdMap ids;
  EXPECT_EQ(ids.size(), 0u);
  EXPECT_EQ(ids.FindAsWriter("alice"), std::nullopt);
  EXPECT_EQ(ids.Find("alice"), std::nullopt);
  EXPECT_EQ(ids.Add("alice"), 0u);
  EXPECT_EQ(ids.Add("bob"), 1u);
  EXPECT_EQ(ids.FindAsWriter("alice"), 0u);
  EXPECT_EQ(ids.Find("bob"), 1u);
  EXPECT_EQ(ids.Find("bobby"), std::nullopt);
  EXPECT_EQ(ids.id(0), "alice");
  EXPECT_EQ(ids.id(1), "bob");
  EXPECT_EQ(ids.size(), 2u);
}

TEST(IdMapTest, IdsAreBytes) {
  IdMap ids;
  const std::string zeros(3, '\0');
  const std::string longest(65'534, 'x');
  const std::vector<std::string> all = {
      "", zeros, zeros + "a", longest, longest.substr(1), "\xff", "caf\xc3\xa9"};
  for (const std::string& id : all) ids.Add(id);
  for (uint32_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(ids.id(i), all[i]);
    EXPECT_EQ(ids.Find(all[i]), i);
  }
}

std::string IdNumber(uint32_t i) { return "user-" + std::to_string(i * 2654435761u); }

TEST(IdMapTest, ManyIdsKeepTheirIndicesAndAddresses) {
  constexpr uint32_t kIds = 100'000;  // several chunks of the table and of the arena
  IdMap ids;
  std::vector<const char*> addresses;
  for (uint32_t i = 0; i < kIds; ++i) {
    ASSERT_EQ(ids.Add(IdNumber(i)), i);
    addresses.push_back(ids.id(i).data());
  }
  for (uint32_t i = 0; i < kIds; ++i) {
    ASSERT_EQ(ids.id(i), IdNumber(i));
    ASSERT_EQ(ids.id(i).data(), addresses[i]);
    ASSERT_EQ(ids.FindAsWriter(IdNumber(i)), i);
  }
  EXPECT_EQ(ids.Find(IdNumber(kIds)), std::nullopt);
}

TEST(IdMapTest, MemoryIsCountedAndLean) {
  constexpr uint32_t kIds = 100'000;
  IdMap ids;
  EXPECT_LT(ids.MemoryBytes(), 10'000u);
  size_t text = 0;
  for (uint32_t i = 0; i < kIds; ++i) {
    text += IdNumber(i).size();
    ids.Add(IdNumber(i));
  }
  EXPECT_GT(ids.MemoryBytes(), text + kIds * 13u);
  EXPECT_LT(ids.MemoryBytes(), text + kIds * 20u);
}

// By the four steps of the writer.
std::optional<uint32_t> FindInSteps(const IdMap& ids, const std::string& id) {
  IdMap::Probe probe = ids.PrefetchAsWriter(id);
  ids.FindCandidateAsWriter(&probe);
  ids.PrefetchTextAsWriter(probe);
  return ids.FindAsWriter(probe);
}

TEST(IdMapTest, TellsIdsOfTheSameHashApart) {
  IdMap ids;
  std::map<uint32_t, std::string> by_hash;
  std::string first, second;
  for (int i = 0; second.empty(); ++i) {  // some 80,000: half of the hash has 32 bits
    const std::string id = std::to_string(i);
    const auto [it, is_new] = by_hash.try_emplace(ids.PrefetchAsWriter(id).hash, id);
    if (is_new) continue;
    first = it->second;
    second = id;
  }
  EXPECT_EQ(FindInSteps(ids, first), std::nullopt);
  EXPECT_EQ(ids.Add(first), 0u);
  EXPECT_EQ(FindInSteps(ids, first), 0u);
  EXPECT_EQ(FindInSteps(ids, second), std::nullopt);
  EXPECT_EQ(ids.Add(second), 1u);
  EXPECT_EQ(FindInSteps(ids, first), 0u);
  EXPECT_EQ(FindInSteps(ids, second), 1u);
}

TEST(IdMapTest, FindsInStepsWhatWasAddedBetweenThem) {
  IdMap ids;
  IdMap::Probe probe = ids.PrefetchAsWriter("alice");
  ids.FindCandidateAsWriter(&probe);
  ids.Add("alice");
  ids.PrefetchTextAsWriter(probe);
  EXPECT_EQ(ids.FindAsWriter(probe), 0u);
}

TEST(IdMapTest, LookupsWhileAdding) {
  constexpr uint32_t kIds = 5000;
  IdMap ids;
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937 random(r);
      bool last = false;
      while (!last) {
        last = done;  // one round more after the end, so that every reader sees everything once
        const uint32_t size = ids.size();
        for (int n = 0; n < 10 && size > 1; ++n) {
          const uint32_t i = random() % size;
          if (ids.id(i) != IdNumber(i)) ++wrong;
          // The last one may be on its way into the set.
          if (i + 1 < size && ids.Find(IdNumber(i)) != i) ++wrong;
          // An id not added yet is not found, or has just been added and is within size().
          const std::optional<uint32_t> next = ids.Find(IdNumber(size));
          if (next && (*next != size || *next >= ids.size() || ids.id(*next) != IdNumber(size))) {
            ++wrong;
          }
        }
        std::this_thread::yield();  // the lock prefers readers
      }
    });
  }
  for (uint32_t i = 0; i < kIds; ++i) ids.Add(IdNumber(i));
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST(IdMapTest, ForetellsItsGrowth) {
  IdMap ids;
  size_t next = 0;
  for (size_t step : {1u, 1u, 5u, 100u, 1000u, 1u, 3000u, 10'000u, 1u, 300'000u}) {
    const size_t foretold = ids.GrowthFor(step, step * 14);
    const size_t before = ids.MemoryBytes();
    // With its two bytes of length such an id leaves no rest at the end of a chunk.
    for (size_t i = 0; i < step; ++i) ids.Add(absl::StrFormat("%014d", next++));
    EXPECT_EQ(ids.MemoryBytes() - before, foretold) << next;
  }
  EXPECT_EQ(ids.GrowthFor(0, 0), 0u);
  // One after the other, past all steps.
  for (int i = 0; i < 50'000; ++i) {
    const size_t foretold = ids.GrowthFor(1, 14);
    const size_t before = ids.MemoryBytes();
    ids.Add(absl::StrFormat("%014d", next++));
    ASSERT_EQ(ids.MemoryBytes() - before, foretold) << next;
  }
}

}  // namespace
}  // namespace factord
