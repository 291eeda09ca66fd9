#include "model/block_pool.h"

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(BlockPoolTest, BlocksAreAlignedAndDoNotOverlap) {
  constexpr size_t kBytes = 1000;
  BlockPool pool(kBytes);
  std::set<uintptr_t> starts;
  for (int i = 0; i < 1000; ++i) {
    void* const block = pool.Allocate();
    std::memset(block, i, kBytes);
    starts.insert(reinterpret_cast<uintptr_t>(block));
  }
  ASSERT_EQ(starts.size(), 1000u);
  uintptr_t end = 0;
  for (const uintptr_t start : starts) {
    EXPECT_EQ(start % BlockPool::kAlignment, 0u);
    EXPECT_GE(start, end);
    end = start + kBytes;
  }
  EXPECT_GE(pool.MemoryBytes(), 1000 * kBytes);
}

TEST(BlockPoolTest, FreedBlocksComeBackFirst) {
  BlockPool pool(64);
  void* const a = pool.Allocate();
  void* const b = pool.Allocate();
  const size_t bytes = pool.MemoryBytes();
  pool.Free(a);
  pool.Free(b);
  EXPECT_EQ(pool.Allocate(), b);
  EXPECT_EQ(pool.Allocate(), a);
  for (int i = 0; i < 100'000; ++i) pool.Free(pool.Allocate());
  EXPECT_EQ(pool.MemoryBytes(), bytes);
}

TEST(BlockPoolTest, BlocksLargerThanASlab) {
  BlockPool pool(size_t{1} << 20);
  void* const a = pool.Allocate();
  void* const b = pool.Allocate();
  EXPECT_NE(a, b);
  EXPECT_EQ(pool.MemoryBytes(), size_t{2} << 20);
}

}  // namespace
}  // namespace factord
