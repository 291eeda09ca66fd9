// Counts in a row that grow one by one, and which of them holds a given unit: draws an index with a
// chance in proportion to its count. (A Fenwick tree.)
//
//   tree.Add(7, 3);
//   auto [index, rest] = tree.Find(Below(tree.total(), random));   // rest < the count of `index`
//
// Thread-compatible.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace factord {

class CountTree {
 public:
  struct Unit {
    size_t index;
    uint64_t rest;  // how many units of `index` come before
  };

  uint64_t total() const { return total_; }

  size_t MemoryBytes() const { return sums_.capacity() * sizeof(uint64_t); }

  // O(log index). Indices come in any order.
  void Add(size_t index, uint64_t n) {
    while (sums_.size() <= index) Append();
    total_ += n;
    for (size_t i = index + 1; i <= sums_.size(); i += i & (~i + 1)) sums_[i - 1] += n;
  }

  // REQUIRES: unit < total().
  Unit Find(uint64_t unit) const {
    size_t index = 0;
    for (size_t step = std::bit_floor(sums_.size()); step > 0; step /= 2) {
      if (index + step > sums_.size() || sums_[index + step - 1] > unit) continue;
      index += step;
      unit -= sums_[index - 1];
    }
    return {index, unit};
  }

 private:
  // A count of 0: its node holds the sum of what the nodes below it hold.
  void Append() {
    const size_t node = sums_.size() + 1;
    uint64_t sum = 0;
    for (size_t i = node - 1, end = node - (node & (~node + 1)); i > end; i -= i & (~i + 1)) {
      sum += sums_[i - 1];
    }
    sums_.push_back(sum);
  }

  // sums_[i - 1]: of the last (i & -i) counts up to count i - 1.
  std::vector<uint64_t> sums_;
  uint64_t total_ = 0;
};

}  // namespace factord
