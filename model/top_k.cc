#include "model/top_k.h"

#include <algorithm>

#include "model/kernels.h"

namespace factord {
namespace {

// Better first: higher score, then smaller id. Total, since ids differ.
class Better {
 public:
  explicit Better(const IdMap* ids) : ids_(ids) {}
  bool operator()(const ScoredIndex& a, const ScoredIndex& b) const {
    if (a.score != b.score) return a.score > b.score;
    return a.item != b.item && ids_->id(a.item) < ids_->id(b.item);
  }

 private:
  const IdMap* ids_;
};

// The best k so far: a heap with the worst of them on top.
class Best {
 public:
  Best(size_t k, Better better) : k_(k), better_(better) { heap_.reserve(k); }

  // True if this score may enter. The common answer is no, and costs one comparison.
  bool MayEnter(float score) const { return heap_.size() < k_ || score >= heap_.front().score; }

  void Enter(const ScoredIndex& candidate) {
    if (heap_.size() == k_) {
      if (!better_(candidate, heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), better_);
      heap_.pop_back();
    }
    heap_.push_back(candidate);
    std::push_heap(heap_.begin(), heap_.end(), better_);
  }

  std::vector<ScoredIndex> Take() {
    std::sort_heap(heap_.begin(), heap_.end(), better_);
    return std::move(heap_);
  }

 private:
  const size_t k_;
  const Better better_;
  std::vector<ScoredIndex> heap_;
};

bool Contains(absl::Span<const uint32_t> sorted, uint32_t item) {
  return std::binary_search(sorted.begin(), sorted.end(), item);
}

// Leaves lie anywhere, so the hardware does not see the next one coming.
void PrefetchLeaf(const float* factors, size_t floats) {
  for (size_t k = 0; k < floats; k += kLanes) __builtin_prefetch(factors + k);
}

}  // namespace

std::vector<ScoredIndex> TopK(const ItemView& view, const IdMap& ids, const float* query,
                              absl::Span<const uint32_t> excluded, size_t k,
                              const std::function<bool()>& keep_going) {
  // 8,192 rows, some tens of microseconds: often enough to stop in time.
  constexpr uint32_t kLeavesBetweenQuestions = 1024;
  constexpr uint32_t kLeafRows = ItemView::kLeafRows;

  const uint32_t size = view.size();
  k = std::min<size_t>(k, size);
  if (k == 0) return {};
  const Kernels& kernels = ActiveKernels();
  const size_t stride = view.stride();
  const uint32_t leaves = (size + kLeafRows - 1) / kLeafRows;
  const bool has_ranking = view.has_ranking();
  Best best(k, Better(&ids));
  for (uint32_t leaf = 0; leaf < leaves; ++leaf) {
    if (leaf % kLeavesBetweenQuestions == 0 && keep_going && !keep_going()) break;
    if (leaf + 1 < leaves) PrefetchLeaf(view.leaf_scored(leaf + 1), kLeafRows * stride);
    const uint32_t first = leaf * kLeafRows;
    const uint32_t rows = std::min(kLeafRows, size - first);
    float scores[kLeafRows];
    kernels.score_rows(view.leaf_scored(leaf), rows, query, stride, scores);
    if (has_ranking) {
      const RowState* const states = view.leaf_states(leaf);
      for (uint32_t r = 0; r < rows; ++r) scores[r] += states[r].ranking_bias;
    }
    for (uint32_t r = 0; r < rows; ++r) {
      if (best.MayEnter(scores[r]) && !Contains(excluded, first + r)) {
        best.Enter({first + r, scores[r]});
      }
    }
  }
  return best.Take();
}

std::vector<ScoredIndex> TopKReference(const ItemView& view, const IdMap& ids, const float* query,
                                       absl::Span<const uint32_t> excluded, size_t k) {
  const Kernels& kernels = ActiveKernels();
  std::vector<ScoredIndex> all;
  for (uint32_t item = 0; item < view.size(); ++item) {
    if (std::find(excluded.begin(), excluded.end(), item) != excluded.end()) continue;
    const float* const row = view.has_ranking() ? view.ranking(item) : view.factors(item);
    const float bias = view.has_ranking() ? view.state(item).ranking_bias : 0;
    all.push_back({item, kernels.dot(row, query, view.stride()) + bias});
  }
  std::sort(all.begin(), all.end(), [&ids](const ScoredIndex& a, const ScoredIndex& b) {
    if (a.score != b.score) return a.score > b.score;
    return ids.id(a.item) < ids.id(b.item);
  });
  if (all.size() > k) all.resize(k);
  return all;
}

}  // namespace factord
