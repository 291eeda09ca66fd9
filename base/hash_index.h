// Indices, found by a hash of what their owner keeps under them.
//
//   HashIndex index;
//   index.Insert(HashOf(names[7]), 7);
//   index.Find(HashOf(name), [&](uint32_t i) { return names[i] == name; });  // 7, perhaps
//
// A table of (hash, index) in the order of the hashes, with gaps: a pair lies where its hash, as a
// fraction of all there are, says, or a few places after (linear probing, in order). So a search
// looks at one cache line or two, ends as soon without a match as with one, and growing reads and
// writes memory in order. Eight bytes a place; of many, .64 to .8 are taken.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "base/prefetch.h"

namespace factord {

// Hashes need not differ, but should be spread evenly over 32 bits: where many lie together, time
// grows with their number. So who hashes what clients choose mixes in Secret(). Thread-compatible.
class HashIndex {
 public:
  HashIndex() = default;
  HashIndex(HashIndex&& other) noexcept { Swap(other); }
  HashIndex& operator=(HashIndex&& other) noexcept {
    Swap(other);
    return *this;
  }

  // Random, another one in each process.
  static uint64_t Secret() {
    static const uint64_t secret = [] {
      std::random_device random;
      return uint64_t{random()} << 32 | random();
    }();
    return secret;
  }

  // Not an index.
  static constexpr uint32_t kMaxIndex = 0xfffffffe;

  // The first index of this hash that is_it(index) is true of. It is asked of no others.
  template <typename IsIt>
  std::optional<uint32_t> Find(uint32_t hash, IsIt is_it) const {
    if (places_ == 0) return std::nullopt;
    for (size_t i = LowerBound(Pair(hash, 0)); HashOf(table_[i]) == hash && table_[i] != kEmpty;
         ++i) {
      if (is_it(IndexOf(table_[i]))) return IndexOf(table_[i]);
    }
    return std::nullopt;
  }
  // Asks memory for what the other methods look at for this hash.
  void Prefetch(uint32_t hash) const {
    if (places_ == 0) return;
    const uint64_t* const home = table_.data() + Home(hash);
    PrefetchLine(home);
    PrefetchLine(home + kMostlyWithin);
  }

  // REQUIRES: the pair is not there; index <= kMaxIndex.
  void Insert(uint32_t hash, uint32_t index) {
    assert(index <= kMaxIndex);
    Reserve(size_ + 1);
    uint64_t pair = Pair(hash, index);
    // What comes after moves up by one, as far as there is no gap.
    for (size_t i = LowerBound(pair); pair != kEmpty; ++i) std::swap(pair, table_[i]);
    KeepGapAtEnd();
    ++size_;
  }
  // REQUIRES: the pair is there.
  void Erase(uint32_t hash, uint32_t index) {
    size_t i = LowerBound(Pair(hash, index));
    assert(table_[i] == Pair(hash, index));
    // What comes after moves back, as far as it is not where it belongs.
    for (; table_[i + 1] != kEmpty && Home(HashOf(table_[i + 1])) <= i; ++i) {
      table_[i] = table_[i + 1];
    }
    table_[i] = kEmpty;
    --size_;
  }
  // Room for this many in all, so that the table need not grow on the way.
  void Reserve(size_t size) {
    if (CapacityFor(size) != places_) *this = WithRoomFor(size);
  }
  // A copy with room for this many in all.
  HashIndex WithRoomFor(size_t size) const {
    HashIndex copy;
    copy.places_ = CapacityFor(size);
    copy.size_ = size_;
    copy.table_.reserve(copy.places_ + kOverhang);
    copy.table_.assign(copy.places_ + kStep, kEmpty);
    size_t next = 0;
    for (const uint64_t pair : table_) {
      // Without a branch, for gaps come at random: one is written where one is.
      next = pair == kEmpty ? next : std::max(next, copy.Home(HashOf(pair)));
      copy.table_[next] = pair;
      next += pair != kEmpty;
      copy.KeepGapAtEnd();
    }
    return copy;
  }

  size_t size() const { return size_; }
  size_t MemoryBytes() const { return BytesOf(places_); }
  // By how much MemoryBytes would grow with this many more.
  size_t GrowthFor(size_t more) const {
    return BytesOf(CapacityFor(size_ + more)) - BytesOf(places_);
  }

 private:
  // Comes after all pairs, so that whoever looks for one stops here.
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  // Beyond the places, for pairs that belong to the last of them: more than enough for hashes that
  // are spread evenly. (For others the table grows here, not counted.)
  static constexpr size_t kOverhang = 64;
  static constexpr size_t kFirstPlaces = 16;
  // A search compares so many at once: how many places it will go is not to be foreseen, and a
  // branch that the processor guesses wrong costs more than some comparisons in vain.
  static constexpr size_t kStep = 4;
  // Of a search, nearly always: in places from home.
  static constexpr size_t kMostlyWithin = 5;

  static uint64_t Pair(uint32_t hash, uint32_t index) { return uint64_t{hash} << 32 | index; }
  static uint32_t HashOf(uint64_t pair) { return static_cast<uint32_t>(pair >> 32); }
  static uint32_t IndexOf(uint64_t pair) { return static_cast<uint32_t>(pair); }
  static size_t BytesOf(size_t places) {
    return places == 0 ? 0 : (places + kOverhang) * sizeof(uint64_t);
  }

  size_t Home(uint32_t hash) const { return hash * uint64_t{places_} >> 32; }
  // The place of the first pair that is not less, or of the gap where it would come.
  size_t LowerBound(uint64_t pair) const {
    for (size_t i = Home(HashOf(pair));; i += kStep) {
      size_t less = 0;
      for (size_t k = 0; k < kStep; ++k) less += table_[i + k] < pair;
      if (less < kStep) return i + less;
    }
  }
  // How many places there are to be for this many.
  size_t CapacityFor(size_t size) const {
    size_t places = places_;
    while (size > places / 5 * 4) places = std::max(kFirstPlaces, places / 4 * 5);
    return places;
  }
  void KeepGapAtEnd() {
    if (table_[table_.size() - kStep] != kEmpty) table_.push_back(kEmpty);
  }
  void Swap(HashIndex& other) {
    std::swap(places_, other.places_);
    std::swap(size_, other.size_);
    table_.swap(other.table_);
  }

  size_t places_ = 0;  // that a hash may have
  size_t size_ = 0;
  std::vector<uint64_t> table_;  // the last kStep are empty
};

}  // namespace factord
