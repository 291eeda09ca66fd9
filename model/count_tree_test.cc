#include "model/count_tree.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(CountTreeTest, FindsEachUnit) {
  CountTree tree;
  tree.Add(2, 3);
  tree.Add(0, 1);
  tree.Add(5, 2);
  ASSERT_EQ(tree.total(), 6u);
  const std::vector<std::pair<size_t, uint64_t>> wanted = {{0, 0}, {2, 0}, {2, 1},
                                                           {2, 2}, {5, 0}, {5, 1}};
  for (uint64_t unit = 0; unit < 6; ++unit) {
    const CountTree::Unit found = tree.Find(unit);
    EXPECT_EQ(std::make_pair(found.index, found.rest), wanted[unit]) << unit;
  }
}

TEST(CountTreeTest, AgreesWithAPlainListWhileItGrows) {
  std::mt19937 random(3);
  CountTree tree;
  std::vector<uint64_t> counts;
  for (int step = 0; step < 2000; ++step) {
    const size_t index = random() % (1 + static_cast<size_t>(step) / 4);
    if (counts.size() <= index) counts.resize(index + 1);
    const uint64_t n = random() % 3;
    counts[index] += n;
    tree.Add(index, n);
    uint64_t total = 0;
    for (const uint64_t count : counts) total += count;
    ASSERT_EQ(tree.total(), total);
    if (total == 0) continue;
    const uint64_t unit = random() % total;
    uint64_t rest = unit;
    size_t expected = 0;
    while (rest >= counts[expected]) rest -= counts[expected++];
    const CountTree::Unit found = tree.Find(unit);
    ASSERT_EQ(found.index, expected) << step;
    ASSERT_EQ(found.rest, rest) << step;
  }
}

}  // namespace
}  // namespace factord
