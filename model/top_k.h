// Exact top-k: the k items with the largest scores of a pinned view. The score is the query's inner
// product with the item's ranking row plus its ranking bias (model/next_item.h), or with the row of
// factors where there are no ranking rows.
//
//   ItemView view = items.Pin();
//   for (const ScoredIndex& s : TopK(view, ids, query, rated, 10, {})) { ... ids.id(s.item) ... }
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "model/id_map.h"
#include "model/item_matrix.h"

namespace factord {

struct ScoredIndex {
  uint32_t item;
  float score;
};

// Best first; ties by item id, bytewise. Scores come from the deterministic kernel (Dot), so the
// result equals that of scoring and sorting every row. `query` has view.stride() floats, zero from
// rank on. `excluded` is sorted. `keep_going` (may be empty) is asked now and then; once it says
// false the scan stops and what was found is returned. Thread-safe.
std::vector<ScoredIndex> TopK(const ItemView& view, const IdMap& ids, const float* query,
                              absl::Span<const uint32_t> excluded, size_t k,
                              const std::function<bool()>& keep_going);

// The same by scoring and sorting everything: the reference that tests hold TopK against.
std::vector<ScoredIndex> TopKReference(const ItemView& view, const IdMap& ids, const float* query,
                                       absl::Span<const uint32_t> excluded, size_t k);

}  // namespace factord
