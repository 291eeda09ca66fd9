#include "model/top_k.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/prefetch.h"
#include "model/item_matrix_storage.h"
#include "model/kernels.h"
#include "model/row_codes.h"

namespace factord {
namespace {

using item_matrix_internal::kLeafRows;
using item_matrix_internal::kPageLeaves;
using item_matrix_internal::Leaf;
using item_matrix_internal::Page;
using item_matrix_internal::Root;

constexpr size_t kCacheLine = 64;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

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

  // No lower score may enter.
  float threshold() const { return heap_.size() < k_ ? kLowest : heap_.front().score; }
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

// What cannot be better than the worst of the best is passed over: whole leaves of the matrix by
// the largest norm and bias in them, then single rows, by the inequality of Cauchy and Schwarz
//   p . q + bias <= |p| |q| + bias
// and by their codes.
class Search {
 public:
  Search(const Root& root, const IdMap& ids, const float* query,
         absl::Span<const uint32_t> excluded, size_t k)
      : root_(root),
        kernels_(ActiveKernels()),
        query_(query),
        coded_query_(query, root.shape.stride),
        excluded_(excluded),
        first_leaves_(kFirstLeaves + LeavesOf(root) / kLeavesAFirst + k / kLeafRows),
        best_(k, Better(&ids)) {}

  std::vector<ScoredIndex> Run(const std::function<bool()>& keep_going) {
    // The leaves with the largest bounds, best first: then there is little to be found in the
    // others.
    std::vector<BoundedLeaf> leaves = FindFirstLeaves();
    if (!SearchLeaves(leaves, keep_going)) return best_.Take();
    std::sort(leaves.begin(), leaves.end(),
              [](const BoundedLeaf& a, const BoundedLeaf& b) { return a.leaf < b.leaf; });
    SearchLeaves(FindLeavesBut(leaves), keep_going);
    return best_.Take();
  }

 private:
  // How many leaves are looked at before all others: some, and one of so many.
  static constexpr size_t kFirstLeaves = 16, kLeavesAFirst = 1024;
  // 8,192 rows, some tens of microseconds: often enough to stop in time.
  static constexpr size_t kLeavesBetweenQuestions = 8192 / kLeafRows;
  // Leaves that are searched together, at the most: what is asked for ahead has to stay in the
  // first-level cache.
  static constexpr size_t kChunk = 8;
  // Rows that are scored together.
  static constexpr size_t kBatch = 8;

  // What its scores are at the most.
  struct BoundedLeaf {
    float bound;
    uint32_t leaf;
  };
  // Rows of a leaf that may be good enough, as bits.
  struct LeafRows {
    const Leaf* leaf;
    uint32_t first;
    uint32_t rows;
  };
  struct Candidate {
    float bound;
    float bias;
    uint32_t item;
    const float* scored;
  };

  // Calls visit(bound, leaf) for each leaf whose bound is at least threshold() just before.
  template <typename Threshold, typename Visit>
  void ForLeavesAbove(Threshold threshold, Visit visit) const {
    const auto leaves = static_cast<uint32_t>(LeavesOf(root_));
    for (uint32_t first = 0; first < leaves; first += kCodedRows) {
      const Page& page = *root_.page(first / kPageLeaves);
      float bounds[kCodedRows];
      uint32_t above = kernels_.bound_by_norms(page.norms + first % kPageLeaves,
                                               page.biases + first % kPageLeaves,
                                               coded_query_.norm(), threshold(), bounds) &
                       FirstBits(leaves - first);
      for (; above != 0; above &= above - 1) {
        const int i = std::countr_zero(above);
        visit(bounds[i], first + static_cast<uint32_t>(i));
      }
    }
  }

  std::vector<BoundedLeaf> FindFirstLeaves() const {
    const auto larger = [](const BoundedLeaf& a, const BoundedLeaf& b) {
      return a.bound > b.bound;
    };
    std::vector<BoundedLeaf> found;  // a heap with the smallest on top
    const auto smallest = [&] {
      return found.size() < first_leaves_ ? kLowest : found.front().bound;
    };
    ForLeavesAbove(smallest, [&](float bound, uint32_t leaf) {
      if (bound < smallest()) return;
      if (found.size() == first_leaves_) {
        std::pop_heap(found.begin(), found.end(), larger);
        found.pop_back();
      }
      found.push_back({bound, leaf});
      std::push_heap(found.begin(), found.end(), larger);
    });
    std::sort_heap(found.begin(), found.end(), larger);
    return found;
  }

  // Those in which something may be found, without `searched`, which is sorted by index.
  std::vector<BoundedLeaf> FindLeavesBut(const std::vector<BoundedLeaf>& searched) const {
    std::vector<BoundedLeaf> found;
    auto next = searched.begin();
    ForLeavesAbove([this] { return best_.threshold(); },
                   [&](float bound, uint32_t leaf) {
                     while (next != searched.end() && next->leaf < leaf) ++next;
                     if (next != searched.end() && next->leaf == leaf) return;
                     found.push_back({bound, leaf});
                   });
    return found;
  }

  const Leaf& LeafAt(uint32_t leaf) const {
    return *root_.page(leaf / kPageLeaves)->leaves[leaf % kPageLeaves];
  }

  // False if it was told to stop.
  bool SearchLeaves(const std::vector<BoundedLeaf>& leaves,
                    const std::function<bool()>& keep_going) {
    const absl::Span<const BoundedLeaf> all(leaves);
    size_t searched = 0, asked = 0;
    // In growing chunks: the first ones tell what the others need not look at.
    for (size_t chunk = 4; searched < all.size(); chunk = std::min(chunk * 2, kChunk)) {
      if (searched >= asked) {
        if (keep_going && !keep_going()) return false;
        asked = searched + kLeavesBetweenQuestions;
      }
      SearchChunk(all.subspan(searched, chunk),
                  all.subspan(std::min(searched + chunk, all.size()), std::min(chunk * 2, kChunk)));
      searched += chunk;
    }
    return true;
  }

  // Rows and leaves lie anywhere, so the hardware does not see them coming: each step asks for what
  // the next one reads.
  void SearchChunk(absl::Span<const BoundedLeaf> leaves, absl::Span<const BoundedLeaf> next) {
    for (const BoundedLeaf& ahead : next) {
      const Leaf& leaf = LeafAt(ahead.leaf);
      PrefetchLine(leaf.norms);
      PrefetchLine(leaf.biases);
    }
    const size_t stride = root_.shape.stride;
    leaves_.clear();
    for (const BoundedLeaf& bounded : leaves) {
      if (!best_.MayEnter(bounded.bound)) continue;
      const Leaf& leaf = LeafAt(bounded.leaf);
      const uint32_t first = bounded.leaf * kLeafRows;
      float bounds[kLeafRows];
      const uint32_t above = kernels_.bound_by_norms(leaf.norms, leaf.biases, coded_query_.norm(),
                                                     best_.threshold(), bounds) &
                             FirstBits(root_.size - first);
      if (above == 0) continue;
      PrefetchLine(leaf.scales);
      PrefetchLine(leaf.scored);
      PrefetchLine(leaf.scored + kLeafRows / 2);
      leaves_.push_back({&leaf, first, above});
    }
    for (const auto& [leaf, first, above] : leaves_) {
      // Of many rows the CPU asks ahead itself, since it multiplies all, whatever comes of each.
      if (HasMoreThanFew(above)) continue;
      for (uint32_t rows = above; rows != 0; rows &= rows - 1) {
        const uint8_t* const codes = CodesOf(leaf->scored[std::countr_zero(rows)], stride);
        for (size_t k = 0; k < stride; k += kCacheLine) PrefetchLine(codes + k);
      }
    }
    candidates_.clear();
    for (const auto& [leaf, first, rows] : leaves_) {
      float bounds[kLeafRows];
      uint32_t above =
          kernels_.bound_coded({leaf->scored, leaf->scales, leaf->norms, leaf->biases},
                               coded_query_.code(), stride, rows, best_.threshold(), bounds);
      for (; above != 0; above &= above - 1) {
        const auto r = static_cast<uint32_t>(std::countr_zero(above));
        candidates_.push_back({bounds[r], leaf->biases[r], first + r, leaf->scored[r]});
      }
    }
    for (const Candidate& candidate : candidates_) {
      for (size_t k = 0; k < stride; k += kLanes) PrefetchLine(candidate.scored + k);
    }
    absl::Span<const Candidate> candidates(candidates_);
    for (size_t i = 0; i < candidates.size(); i += kBatch) Score(candidates.subspan(i, kBatch));
  }

  void Score(absl::Span<const Candidate> candidates) {
    const Candidate* left[kBatch];
    const float* rows[kBatch];
    size_t n = 0;
    for (const Candidate& candidate : candidates) {
      if (!best_.MayEnter(candidate.bound)) continue;  // the best have become better meanwhile
      left[n] = &candidate;
      rows[n++] = candidate.scored;
    }
    float products[kBatch];
    kernels_.score_rows(rows, n, query_, root_.shape.stride, products);
    for (size_t i = 0; i < n; ++i) {
      const ScoredIndex row = {left[i]->item, products[i] + left[i]->bias};
      if (best_.MayEnter(row.score) && !Contains(excluded_, row.item)) best_.Enter(row);
    }
  }

  // std::popcount is a call where the CPU may not have it.
  static bool HasMoreThanFew(uint32_t rows) {
    for (int few = 0; few < kFewRows; ++few) rows &= rows - 1;
    return rows != 0;
  }
  static size_t LeavesOf(const Root& root) { return (root.size + kLeafRows - 1) / kLeafRows; }
  static uint32_t FirstBits(uint32_t n) { return n < kCodedRows ? (1u << n) - 1 : ~0u; }

  const Root& root_;
  const Kernels& kernels_;
  const float* const query_;
  const CodedQuery coded_query_;
  const absl::Span<const uint32_t> excluded_;
  const size_t first_leaves_;
  Best best_;
  std::vector<LeafRows> leaves_;
  std::vector<Candidate> candidates_;
};

}  // namespace

std::vector<ScoredIndex> TopK(const ItemView& view, const IdMap& ids, const float* query,
                              absl::Span<const uint32_t> excluded, size_t k,
                              const std::function<bool()>& keep_going) {
  k = std::min<size_t>(k, view.size());
  if (k == 0) return {};
  return Search(view.root(), ids, query, excluded, k).Run(keep_going);
}

std::vector<ScoredIndex> TopKReference(const ItemView& view, const IdMap& ids, const float* query,
                                       absl::Span<const uint32_t> excluded, size_t k) {
  const Kernels& kernels = ActiveKernels();
  std::vector<ScoredIndex> all;
  for (uint32_t item = 0; item < view.size(); ++item) {
    if (std::find(excluded.begin(), excluded.end(), item) != excluded.end()) continue;
    const float* const row = view.has_ranking() ? view.ranking(item) : view.factors(item);
    all.push_back({item, kernels.dot(row, query, view.stride()) + view.ranking_bias(item)});
  }
  std::sort(all.begin(), all.end(), [&ids](const ScoredIndex& a, const ScoredIndex& b) {
    if (a.score != b.score) return a.score > b.score;
    return ids.id(a.item) < ids.id(b.item);
  });
  if (all.size() > k) all.resize(k);
  return all;
}

}  // namespace factord
