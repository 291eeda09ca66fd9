// What every method has to know of the training part to recommend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "evaluation/data_set.h"

namespace factord {

// How often each item was rated, and what each user rated.
class TrainingCounts {
 public:
  TrainingCounts(size_t users, size_t items) : ratings_(items), rated_(users) {}

  void Add(const Interaction& event);
  int64_t ratings(uint32_t item) const { return ratings_[item]; }

  // The k items with the largest score, best first, ties by index; without those that the user
  // rated, and without those that nobody did.
  std::vector<uint32_t> Best(uint32_t user, size_t k,
                             const std::function<double(uint32_t)>& score) const;

 private:
  std::vector<int64_t> ratings_;              // by item
  std::vector<std::vector<uint32_t>> rated_;  // by user
};

}  // namespace factord
