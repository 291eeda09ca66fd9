#include "model/pin_slots.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace factord {
namespace {

using Slots = PinSlots<int>;

std::multiset<const int*> Pinned(const Slots& slots) {
  std::multiset<const int*> roots;
  slots.ForEachPinned([&roots](const int* root) { roots.insert(root); });
  return roots;
}

TEST(PinSlotsTest, PinsAndUnpins) {
  Slots slots;
  const int a = 1, b = 2;
  std::atomic<const int*> current{&a};
  const int *first, *second, *third;
  const int first_slot = slots.Pin(current, &first);
  const int second_slot = slots.Pin(current, &second);
  current = &b;
  const int third_slot = slots.Pin(current, &third);
  EXPECT_EQ(first, &a);
  EXPECT_EQ(second, &a);
  EXPECT_EQ(third, &b);
  EXPECT_EQ(Pinned(slots), (std::multiset<const int*>{&a, &a, &b}));
  slots.Unpin(first_slot);
  EXPECT_EQ(Pinned(slots), (std::multiset<const int*>{&a, &b}));
  slots.Unpin(second_slot);
  slots.Unpin(third_slot);
  EXPECT_TRUE(Pinned(slots).empty());
}

// A current root that a writer replaces right after each of the reader's first looks: the moment
// that decides whether the scheme is safe, and that threads hardly ever hit.
struct ReplacedWhileLooking {
  std::vector<const int*> roots;  // what successive looks find; the last one stays
  mutable size_t looks = 0;

  const int* load(std::memory_order) const { return roots[std::min(looks++, roots.size() - 1)]; }
};

TEST(PinSlotsTest, ARootReplacedBeforeTheSecondLookIsNotPinned) {
  Slots slots;
  const int a = 1, b = 2, c = 3;
  const ReplacedWhileLooking current{{&a, &b, &c}};
  const int* pinned;
  slots.Pin(current, &pinned);
  EXPECT_EQ(pinned, &c);
  EXPECT_EQ(Pinned(slots), (std::multiset<const int*>{&c}));
}

TEST(PinSlotsTest, EverySlotCanBeUsedAndThenUsedAgain) {
  Slots slots;
  const int a = 1;
  const std::atomic<const int*> current{&a};
  const int* pinned;
  std::set<int> taken;
  for (int i = 0; i < Slots::kSlots; ++i) taken.insert(slots.Pin(current, &pinned));
  EXPECT_EQ(taken.size(), static_cast<size_t>(Slots::kSlots));
  EXPECT_EQ(Pinned(slots).size(), static_cast<size_t>(Slots::kSlots));
  slots.Unpin(77);
  EXPECT_EQ(slots.Pin(current, &pinned), 77);
}

TEST(PinSlotsTest, ThreadsStartAtDifferentSlots) {
  Slots slots;
  const int a = 1;
  const std::atomic<const int*> current{&a};
  std::set<int> first;
  for (int i = 0; i < 8; ++i) {
    std::thread([&] {
      const int* pinned;
      const int slot = slots.Pin(current, &pinned);
      first.insert(slot);
      slots.Unpin(slot);
    }).join();
  }
  EXPECT_EQ(first.size(), 8u);
}

}  // namespace
}  // namespace factord
