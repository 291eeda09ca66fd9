#include "evaluation/training_counts.h"

#include <algorithm>
#include <utility>

namespace factord {

void TrainingCounts::Add(const Interaction& event) {
  ++ratings_[event.item];
  rated_[event.user].push_back(event.item);
}

std::vector<uint32_t> TrainingCounts::Best(uint32_t user, size_t k,
                                           const std::function<double(uint32_t)>& score) const {
  std::vector<bool> is_rated(ratings_.size());
  for (const uint32_t item : rated_[user]) is_rated[item] = true;
  std::vector<std::pair<double, uint32_t>> scored;
  for (uint32_t item = 0; item < ratings_.size(); ++item) {
    if (ratings_[item] > 0 && !is_rated[item]) scored.emplace_back(-score(item), item);
  }
  k = std::min(k, scored.size());
  std::partial_sort(scored.begin(), scored.begin() + static_cast<ptrdiff_t>(k), scored.end());
  std::vector<uint32_t> best;
  for (size_t i = 0; i < k; ++i) best.push_back(scored[i].second);
  return best;
}

}  // namespace factord
