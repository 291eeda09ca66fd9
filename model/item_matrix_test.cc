#include "model/item_matrix.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "model/pin_slots.h"

namespace factord {
namespace {

constexpr size_t kRank = 20;  // stride 32: with padding

// A row that tells by itself whether it is whole: every factor, those of the ranking row, and the
// count hold the same number.
void FillRow(ItemMatrix* items, uint32_t index, uint32_t value) {
  const ItemRow row = items->Mutable(index);
  std::fill_n(row.factors, kRank, static_cast<float>(value));
  row.state->count = value;
  if (items->has_ranking()) {
    std::fill_n(items->MutableRanking(index), kRank, static_cast<float>(value));
  }
}

// The number of all factors, or -1 if they have several.
int64_t ValueOf(const float* factors) {
  const bool is_whole =
      std::all_of(factors, factors + kRank, [&](float v) { return v == factors[0]; }) &&
      std::all_of(factors + kRank, factors + RowStride(kRank), [](float v) { return v == 0; });
  return is_whole ? static_cast<int64_t>(factors[0]) : -1;
}

// The number of a row, or -1 if the row is torn. Of a view, or of a matrix as the writer sees it.
template <typename Rows>
int64_t RowValue(const Rows& rows, uint32_t index) {
  const int64_t value = rows.state(index).count;
  if (ValueOf(rows.factors(index)) != value) return -1;
  if (rows.has_ranking() && ValueOf(rows.ranking(index)) != value) return -1;
  return value;
}

void AddRow(ItemMatrix* items, uint32_t value) {
  items->Add();
  FillRow(items, items->size() - 1, value);
}

void AddRows(ItemMatrix* items, uint32_t rows, uint32_t value) {
  for (uint32_t i = 0; i < rows; ++i) AddRow(items, value);
}

void ChangeAll(ItemMatrix* items, uint32_t value) {
  for (uint32_t i = 0; i < items->size(); ++i) FillRow(items, i, value);
}

// How many rows of the view do not hold `value`.
int RowsOtherThan(const ItemView& view, int64_t value) {
  int other = 0;
  for (uint32_t i = 0; i < view.size(); ++i) other += RowValue(view, i) != value;
  return other;
}

TEST(ItemMatrixTest, StartsEmpty) {
  ItemMatrix items(kRank);
  EXPECT_EQ(items.rank(), kRank);
  EXPECT_EQ(items.stride(), 32u);
  const ItemView view = items.Pin();
  EXPECT_EQ(view.size(), 0u);
  EXPECT_EQ(view.sequence(), 0);
  EXPECT_EQ(view.stride(), 32u);
}

TEST(ItemMatrixTest, NothingShowsBeforePublish) {
  ItemMatrix items(kRank);
  AddRows(&items, 3, 7);
  EXPECT_EQ(items.size(), 3u);
  EXPECT_EQ(items.Pin().size(), 0u);
  items.Publish(42);
  const ItemView view = items.Pin();
  EXPECT_EQ(view.size(), 3u);
  EXPECT_EQ(view.sequence(), 42);
  EXPECT_EQ(RowValue(view, 2), 7);
  FillRow(&items, 2, 8);
  EXPECT_EQ(RowValue(view, 2), 7);
  EXPECT_EQ(RowValue(items.Pin(), 2), 7);
  // The writer sees its own change.
  EXPECT_EQ(RowValue(items, 2), 8);
  items.Publish(43);
  EXPECT_EQ(RowValue(items.Pin(), 2), 8);
  EXPECT_EQ(RowValue(view, 2), 7);
}

TEST(ItemMatrixTest, NewRowsAreZeroAlsoInUsedMemory) {
  ItemMatrix items(kRank, /*has_ranking=*/true);
  AddRows(&items, 8, 5);
  items.Publish(1);
  // Every publish hands the former row back, full of old numbers.
  for (int i = 2; i < 10; ++i) {
    FillRow(&items, 0, i);
    items.Publish(i);
  }
  for (int n = 0; n < 100; ++n) {
    const ItemRow row = items.Add();
    const float* const ranking = items.ranking(items.size() - 1);
    for (size_t k = 0; k < items.stride(); ++k) ASSERT_EQ(row.factors[k] + ranking[k], 0);
    ASSERT_EQ(row.state->count, 0u);
    ASSERT_EQ(row.state->bias, 0);
  }
}

TEST(ItemMatrixTest, ManyRowsOverPagesAndLeaves) {
  constexpr uint32_t kRows = 40'000;  // 2,500 leaves, 40 pages: more than the first roots hold
  ItemMatrix items(kRank, /*has_ranking=*/true);
  for (uint32_t i = 0; i < kRows; ++i) {
    AddRow(&items, i);
    if (i % 700 == 0) items.Publish(i);
  }
  items.Publish(kRows);
  const ItemView view = items.Pin();
  ASSERT_EQ(view.size(), kRows);
  for (uint32_t i = 0; i < kRows; ++i) {
    ASSERT_EQ(RowValue(view, i), i);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(view.factors(i)) % 64, 0u);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(view.ranking(i)) % 64, 0u);
  }
}

TEST(ItemMatrixTest, OnlyTheFirstTouchAfterAPublishCopies) {
  ItemMatrix items(kRank);
  AddRows(&items, 8, 1);
  items.Publish(1);
  const ItemView view = items.Pin();
  float* const first = items.Mutable(3).factors;
  EXPECT_NE(first, view.factors(3));
  EXPECT_EQ(items.Mutable(3).factors, first);
  items.Publish(2);
  EXPECT_EQ(items.Pin().factors(3), first);
  EXPECT_EQ(items.Pin().factors(4), view.factors(4));
}

TEST(ItemMatrixTest, StateAndRankingRowChangeByThemselves) {
  ItemMatrix items(kRank, /*has_ranking=*/true);
  AddRows(&items, 8, 1);
  items.Publish(1);
  const ItemView first = items.Pin();
  std::fill_n(items.MutableRanking(3), kRank, 2.0f);
  items.Mutable(4).state->count = 7;
  items.Publish(2);
  const ItemView second = items.Pin();
  EXPECT_EQ(RowsOtherThan(first, 1), 0);
  EXPECT_EQ(ValueOf(second.ranking(3)), 2);
  EXPECT_EQ(second.factors(3), first.factors(3));
  EXPECT_EQ(second.state(4).count, 7u);
  EXPECT_EQ(second.ranking(4), first.ranking(4));
  // A ranking row, a row, their leaf, its page and the root.
  EXPECT_EQ(items.PendingBlocks(), 5u);
}

TEST(ItemMatrixTest, UnpinnedBlocksComeBackAtOnce) {
  ItemMatrix items(kRank, /*has_ranking=*/true);
  AddRows(&items, 1000, 0);
  items.Publish(1);
  ChangeAll(&items, 1);
  items.Publish(2);
  const size_t bytes = items.MemoryBytes();
  for (uint32_t i = 3; i < 300; ++i) {
    ChangeAll(&items, i);
    items.Publish(i);
    ASSERT_EQ(items.PendingBlocks(), 0u);
  }
  EXPECT_EQ(items.MemoryBytes(), bytes);
}

TEST(ItemMatrixTest, ALongPinHoldsEachOldRowAtMostOnce) {
  constexpr uint32_t kRows = 4096;  // 256 leaves, four pages
  ItemMatrix items(kRank);
  AddRows(&items, kRows, 1);
  items.Publish(1);
  const ItemView pinned = items.Pin();
  size_t bytes = 0;
  for (uint32_t i = 2; i < 100; ++i) {
    ChangeAll(&items, i);
    items.Publish(i);
    // The rows, 256 leaves, four pages and the root.
    ASSERT_EQ(items.PendingBlocks(), kRows + 261u);
    // The third generation lies in what the second gave back.
    if (i == 3) bytes = items.MemoryBytes();
    if (i > 3) {
      ASSERT_EQ(items.MemoryBytes(), bytes) << i;
    }
  }
  EXPECT_EQ(RowsOtherThan(pinned, 1), 0);
}

TEST(ItemMatrixTest, APinInTheMiddleKeepsWhatItSeesAndNoMore) {
  ItemMatrix items(kRank);
  AddRows(&items, 80, 1);
  items.Publish(1);
  std::vector<ItemView> views;
  for (uint32_t i = 2; i <= 20; ++i) {
    ChangeAll(&items, i);
    items.Publish(i);
    if (i % 5 == 0) views.push_back(items.Pin());
  }
  ASSERT_EQ(views.size(), 4u);
  // 5, 10 and 15 each keep 80 rows, five leaves, a page and a root; 20 is current.
  EXPECT_EQ(items.PendingBlocks(), 3u * 87);
  for (uint32_t v = 0; v < 4; ++v) EXPECT_EQ(RowsOtherThan(views[v], 5 * (v + 1)), 0);
  // Dropping one in the middle frees its own blocks at the next publish; the others stay whole.
  views.erase(views.begin() + 1);
  items.Publish(21);
  EXPECT_EQ(items.PendingBlocks(), 2u * 87 + 1);  // and the root of 20
  EXPECT_EQ(RowsOtherThan(views[0], 5), 0);
  EXPECT_EQ(RowsOtherThan(views[1], 15), 0);
  views.clear();
  items.Publish(22);
  EXPECT_EQ(items.PendingBlocks(), 0u);
}

TEST(ItemMatrixTest, ABlockThatTwoViewsSeeStaysForTheLatter) {
  ItemMatrix items(kRank);
  AddRows(&items, 32, 1);  // two leaves
  items.Publish(1);
  auto first = std::make_unique<ItemView>(items.Pin());
  FillRow(&items, 0, 2);
  items.Publish(2);
  const ItemView second = items.Pin();  // shares the second leaf with the first view
  ChangeAll(&items, 3);
  items.Publish(3);
  first.reset();
  // Write over whatever has been freed.
  items.Publish(4);
  AddRows(&items, 4000, 9);
  items.Publish(5);
  EXPECT_EQ(RowValue(second, 0), 2);
  EXPECT_EQ(RowValue(second, 1), 1);
  EXPECT_EQ(RowValue(second, 16), 1);
  EXPECT_EQ(RowValue(second, 31), 1);
}

TEST(ItemMatrixTest, BlocksUnchangedOverSeveralPublishesStayForTheirFirstView) {
  ItemMatrix items(kRank);
  AddRows(&items, 3000, 1);  // three pages
  items.Publish(1);
  const ItemView view = items.Pin();
  for (uint32_t i = 2; i < 10; ++i) {
    FillRow(&items, 0, i);
    items.Publish(i);
  }
  // The last page and its leaves lived from the first publish to the last.
  for (uint32_t i = 2048; i < 3000; ++i) FillRow(&items, i, 2);
  items.Publish(10);
  // Write over whatever has been freed.
  AddRows(&items, 20'000, 9);
  items.Publish(11);
  EXPECT_EQ(RowsOtherThan(view, 1), 0);
}

TEST(ItemMatrixTest, MemoryOfDroppedViewsIsUsedAgain) {
  ItemMatrix items(kRank);
  AddRows(&items, 3000, 0);
  items.Publish(1);
  size_t bytes = 0;
  for (uint32_t i = 2; i < 200; ++i) {
    const ItemView view = items.Pin();
    ChangeAll(&items, i);
    items.Publish(i);
    if (i == 5) bytes = items.MemoryBytes();
    if (i > 5) {
      ASSERT_EQ(items.MemoryBytes(), bytes) << i;
    }
  }
}

TEST(ItemMatrixTest, ViewsMove) {
  ItemMatrix items(kRank);
  AddRows(&items, 8, 1);
  items.Publish(1);
  ItemView a = items.Pin();
  ItemView b = std::move(a);
  ChangeAll(&items, 2);
  items.Publish(2);
  EXPECT_EQ(RowsOtherThan(b, 1), 0);
  b = items.Pin();  // lets the first go
  EXPECT_EQ(RowsOtherThan(b, 2), 0);
  ItemView& self = b;
  b = std::move(self);
  EXPECT_EQ(b.sequence(), 2);
  items.Publish(3);
  EXPECT_EQ(items.PendingBlocks(), 1u);  // the root of 2, which b pins
}

TEST(ItemMatrixTest, BlocksThatStillWaitGoWithTheMatrix) {
  // Leaks would be the address sanitizer's to find.
  auto items = std::make_unique<ItemMatrix>(kRank);
  AddRows(items.get(), 100, 1);
  items->Publish(1);
  auto view = std::make_unique<ItemView>(items->Pin());
  ChangeAll(items.get(), 2);
  items->Publish(2);
  ChangeAll(items.get(), 3);  // not published
  EXPECT_GT(items->PendingBlocks(), 0u);
  view.reset();
  items.reset();
}

TEST(ItemMatrixTest, PinWaitsForAFreeSlot) {
  ItemMatrix items(kRank);
  AddRows(&items, 8, 1);
  items.Publish(1);
  std::vector<ItemView> views;
  for (int i = 0; i < PinSlots<int>::kSlots; ++i) views.push_back(items.Pin());
  std::promise<void> started;
  std::atomic<bool> pinned{false};
  std::thread late([&] {
    started.set_value();
    const ItemView view = items.Pin();
    pinned = true;
    EXPECT_EQ(RowsOtherThan(view, 2), 0);
  });
  started.get_future().wait();
  // The writer does not wait for anyone.
  for (int i = 2; i < 50; ++i) {
    ChangeAll(&items, 2);
    items.Publish(i);
    EXPECT_FALSE(pinned);
  }
  views.erase(views.begin() + 100);
  late.join();
  EXPECT_TRUE(pinned);
  for (const ItemView& view : views) EXPECT_EQ(RowsOtherThan(view, 1), 0);
}

// Readers check, in every view, that rows are whole, that the view is of one moment and that it
// does not change, while the writer changes rows and publishes as fast as it can.
TEST(ItemMatrixTest, ViewsAreImmutableWhileTheWriterRuns) {
  constexpr uint32_t kRows = 300;
  constexpr uint32_t kPublishes = 10000;
  ItemMatrix items(kRank, /*has_ranking=*/true);
  AddRows(&items, kRows, 0);
  items.Publish(0);
  std::atomic<bool> done{false};
  std::atomic<int> torn{0}, mixed{0}, changed{0}, backwards{0}, views{0};

  const auto sum_of = [&torn](const ItemView& view) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < view.size(); ++i) {
      const int64_t value = RowValue(view, i);
      if (value < 0) ++torn;
      sum += value;
    }
    return sum;
  };
  std::vector<std::thread> readers;
  for (int r = 0; r < 4; ++r) {
    readers.emplace_back([&, r] {
      int64_t last = 0;
      std::vector<ItemView> kept;
      std::vector<int64_t> kept_sums;
      for (int n = 0; !done || n < 20; ++n) {
        ItemView view = items.Pin();
        ++views;
        if (view.sequence() < last) ++backwards;
        last = view.sequence();
        // The writer adds 1 to ten rows (and perhaps a new row of 0) between two publishes.
        const int64_t sum = sum_of(view);
        if (sum != 10 * view.sequence()) ++mixed;
        // Some views are kept for long.
        if (n % (5 + r) == 0) {
          kept.push_back(std::move(view));
          kept_sums.push_back(sum);
        }
        if (kept.size() > 10) {
          for (size_t i = 0; i < kept.size(); ++i) {
            if (sum_of(kept[i]) != kept_sums[i]) ++changed;
          }
          kept.clear();
          kept_sums.clear();
        }
      }
    });
  }
  std::mt19937 random(1);
  for (uint32_t s = 1; s <= kPublishes; ++s) {
    for (int n = 0; n < 10; ++n) {
      const uint32_t index = random() % items.size();
      FillRow(&items, index, items.state(index).count + 1);
    }
    if (s % 20 == 0) items.Add();
    items.Publish(s);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(mixed, 0);
  EXPECT_EQ(changed, 0);
  EXPECT_EQ(backwards, 0);
  EXPECT_GE(views, 4 * 20);
  items.Publish(kPublishes + 1);
  EXPECT_EQ(items.PendingBlocks(), 0u);
}

}  // namespace
}  // namespace factord
