// How good predictions and rankings are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace factord {

// Collects the errors of predicted ratings. Thread-compatible.
class RatingErrors {
 public:
  void Add(double rating, double predicted);

  size_t size() const { return size_; }
  // 0 while there is none.
  double mae() const;
  double rmse() const;
  // 100 sum |r - rhat| / sum |r|: the error of Blondel, Kubo, Ueda (AISTATS 2014).
  double error_percent() const;

 private:
  size_t size_ = 0;
  double absolute_ = 0;
  double squared_ = 0;
  double ratings_ = 0;
};

// Collects lists of recommended items, each for one user with one item to be found.
// Thread-compatible.
class RankingQuality {
 public:
  explicit RankingQuality(uint32_t items) : was_recommended_(items) {}

  // Best first.
  void Add(absl::Span<const uint32_t> recommended, uint32_t target);

  size_t users() const { return users_; }
  // The share of users whose item is in the list.
  double recall() const;
  // The mean of 1 / log2(1 + its place), from 1; 0 where it is not in the list.
  double ndcg() const;
  // How many different items were recommended to anybody.
  size_t coverage() const { return coverage_; }

 private:
  size_t users_ = 0;
  size_t found_ = 0;
  double gain_ = 0;
  size_t coverage_ = 0;
  std::vector<bool> was_recommended_;
};

// Mean and standard deviation (of the sample; 0 for one value).
struct Spread {
  double mean = 0;
  double deviation = 0;
};
Spread SpreadOf(absl::Span<const double> values);

}  // namespace factord
