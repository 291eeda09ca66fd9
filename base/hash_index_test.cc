#include "base/hash_index.h"

#include <map>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace factord {
namespace {

// Whether both have the same indices under the hash.
void ExpectSame(const HashIndex& index, const std::set<uint32_t>& expected, uint32_t hash) {
  std::set<uint32_t> found;
  EXPECT_EQ(index.Find(hash, [&found](uint32_t i) { return !found.insert(i).second; }),
            std::nullopt);
  EXPECT_EQ(found, expected) << hash;
}

// Against a naive map: hashes from `hashes`, growing and shrinking.
void CompareWithNaiveMap(const std::vector<uint32_t>& hashes, uint32_t seed) {
  constexpr size_t kLargest = 2'000;
  std::mt19937 random(seed);
  HashIndex index;
  std::map<uint32_t, std::set<uint32_t>> naive;
  std::vector<std::pair<uint32_t, uint32_t>> pairs;  // that are there
  uint32_t next = 0;
  while (next < 3 * kLargest) {
    const bool grows = next / kLargest % 2 == 0;
    if (pairs.empty() || random() % 10 < (grows ? 8 : 3)) {
      const uint32_t hash = hashes[random() % hashes.size()];
      index.Insert(hash, next);
      naive[hash].insert(next);
      pairs.emplace_back(hash, next++);
    } else {
      std::swap(pairs[random() % pairs.size()], pairs.back());
      const auto [hash, erased] = pairs.back();
      pairs.pop_back();
      index.Erase(hash, erased);
      naive[hash].erase(erased);
    }
    ASSERT_EQ(index.size(), pairs.size());
    const uint32_t hash = hashes[random() % hashes.size()];
    ExpectSame(index, naive[hash], hash);
  }
  for (const auto& [hash, expected] : naive) ExpectSame(index, expected, hash);
}

std::vector<uint32_t> RandomHashes(size_t n, uint32_t first, uint32_t last) {
  std::mt19937 random(7);
  std::uniform_int_distribution<uint32_t> in_range(first, last);
  std::vector<uint32_t> hashes(n);
  for (uint32_t& hash : hashes) hash = in_range(random);
  return hashes;
}

TEST(HashIndexTest, AgreesWithANaiveMap) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    CompareWithNaiveMap(RandomHashes(5'000, 0, 0xffffffff), seed);
  }
}

TEST(HashIndexTest, AgreesWithANaiveMapWhereHashesAreTheSame) {
  CompareWithNaiveMap({0}, 1);
  CompareWithNaiveMap({0xffffffff}, 2);
  CompareWithNaiveMap({0, 1, 0x80000000, 0xfffffffe, 0xffffffff}, 3);
}

TEST(HashIndexTest, AgreesWithANaiveMapWhereHashesAreCloseTogether) {
  CompareWithNaiveMap(RandomHashes(500, 0x40000000, 0x40001000), 1);
  CompareWithNaiveMap(RandomHashes(500, 0xffff0000, 0xffffffff), 2);  // beyond the last place
}

TEST(HashIndexTest, TakesTheLargestIndexUnderTheLargestHash) {
  HashIndex index;
  index.Insert(0xffffffff, HashIndex::kMaxIndex);
  const auto any = [](uint32_t) { return true; };
  EXPECT_EQ(index.Find(0xffffffff, any), HashIndex::kMaxIndex);
  EXPECT_EQ(index.Find(0xfffffffe, any), std::nullopt);
  index.Erase(0xffffffff, HashIndex::kMaxIndex);
  EXPECT_EQ(index.Find(0xffffffff, any), std::nullopt);
}

TEST(HashIndexTest, CountsAndForetellsItsMemory) {
  HashIndex index;
  EXPECT_EQ(index.MemoryBytes(), 0u);
  EXPECT_EQ(index.GrowthFor(0), 0u);
  const std::vector<uint32_t> hashes = RandomHashes(100'000, 0, 0xffffffff);
  for (uint32_t i = 0; i < hashes.size(); ++i) {
    const size_t foretold = index.GrowthFor(1), before = index.MemoryBytes();
    index.Insert(hashes[i], i);
    ASSERT_EQ(index.MemoryBytes() - before, foretold) << i;
  }
  EXPECT_GE(index.MemoryBytes(), hashes.size() * 10);
  EXPECT_LE(index.MemoryBytes(), hashes.size() * 13);
}

TEST(HashIndexTest, ForetellsItsGrowthByMany) {
  HashIndex index;
  const std::vector<uint32_t> hashes = RandomHashes(50'000, 0, 0xffffffff);
  size_t next = 0;
  for (const size_t more : {1u, 1u, 20u, 3u, 1'000u, 30'000u}) {
    const size_t foretold = index.GrowthFor(more), before = index.MemoryBytes();
    for (size_t i = 0; i < more; ++i, ++next) {
      index.Insert(hashes[next], static_cast<uint32_t>(next));
    }
    EXPECT_EQ(index.MemoryBytes() - before, foretold) << next;
  }
}

TEST(HashIndexTest, AnEmptyOneMayBeAskedAhead) {
  HashIndex index;
  index.Prefetch(0);
  index.Prefetch(0xffffffff);
  EXPECT_EQ(index.Find(0, [](uint32_t) { return true; }), std::nullopt);
}

TEST(HashIndexTest, DoesNotGrowWithinWhatIsReserved) {
  HashIndex index;
  index.Reserve(1'000);
  const size_t reserved = index.MemoryBytes();
  EXPECT_GE(reserved, 10'000u);
  for (uint32_t i = 0; i < 1'000; ++i) index.Insert(i * 4'000'000, i);
  EXPECT_EQ(index.MemoryBytes(), reserved);
  index.Reserve(10'000);  // takes them along
  for (uint32_t i = 0; i < 1'000; ++i) ExpectSame(index, {i}, i * 4'000'000);
}

}  // namespace
}  // namespace factord
