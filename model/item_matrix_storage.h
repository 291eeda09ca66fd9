// What lies behind ItemMatrix: blocks, their epochs, and when they are taken back.
//
// Epochs count publishes. The writer works in epoch E, the published root has epoch E - 1.
//   1. A block (row, ranking row, leaf, page or root) created in epoch c and replaced while working
//      in epoch E was reachable from the roots of epochs [c, E - 1] and from no other.
//   2. Only the current root can be newly pinned. So once a block is not reachable from the current
//      root, the pinned epochs decide about it, and none can join them in [c, E - 1].
//   3. A block that a pinned epoch keeps waits in that epoch's list, and is looked at again when
//      that epoch is not pinned any more.
//
// The writer finds rows in a table of its own. The tree of leaves and pages is the readers':
// Publish links what has changed into it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/block_pool.h"
#include "model/globals.h"
#include "model/kernel_table.h"
#include "model/pin_slots.h"
#include "model/row.h"

namespace factord::item_matrix_internal {

struct RowShape {
  size_t stride;
  bool has_ranking;

  size_t FactorBytes() const { return stride * sizeof(float); }
  // Of what a search multiplies with the query: factors, then their codes (model/row_codes.h),
  // which are made when it is published.
  size_t ScoredBytes() const { return FactorBytes() + stride; }
};

inline constexpr uint32_t kLeafRowsLog2 = 4;
inline constexpr uint32_t kLeafRows = 1u << kLeafRowsLog2;
static_assert(kLeafRows == kCodedRows);
inline constexpr uint32_t kPageLeavesLog2 = 6;
inline constexpr uint32_t kPageLeaves = 1u << kPageLeavesLog2;
inline constexpr uint32_t kPageRowsLog2 = kLeafRowsLog2 + kPageLeavesLog2;
inline constexpr uint32_t kPageRows = 1u << kPageRowsLog2;

// A row: this header in a cache line of its own, then the factors; with codes, if there are no
// ranking rows. A ranking row is a block by itself, with codes: an event changes those of some six
// items, and the factors of one.
struct alignas(64) Row {
  uint64_t created;
  RowState state;
  float ranking_bias;

  float* factors() { return reinterpret_cast<float*>(this + 1); }
  static size_t Bytes(const RowShape& shape) {
    return sizeof(Row) + (shape.has_ranking ? shape.FactorBytes() : shape.ScoredBytes());
  }
};

// Sixteen rows, and what a search has to know of each to pass over it: its score is at most
// |query| * norm + bias.
struct alignas(64) Leaf {
  float norms[kLeafRows];   // UpperNorm of the scored row
  float biases[kLeafRows];  // what its score has beside the product: at least 0
  float scales[kLeafRows];  // of the codes
  // What a search multiplies with the query, and its codes: ranking rows, or else factors. There
  // are zeros beyond the last row.
  const float* scored[kLeafRows];
  Row* rows[kLeafRows];
  uint64_t created;
};

// The same of leaves: the largest norm and the largest bias in each.
struct alignas(64) Page {
  float norms[kPageLeaves];
  float biases[kPageLeaves];
  Leaf* leaves[kPageLeaves];
  uint64_t created;
};

// What a reader pins. Followed by `capacity` page pointers.
struct Root {
  uint64_t epoch;
  int64_t sequence;
  ModelGlobals globals;
  RowShape shape;
  uint32_t size;
  uint32_t capacity;

  Page** pages() { return reinterpret_cast<Page**>(this + 1); }
  const Page* page(uint32_t page) const { return reinterpret_cast<Page* const*>(this + 1)[page]; }
  const Leaf* leaf_of(uint32_t row) const {
    return page(row >> kPageRowsLog2)->leaves[row >> kLeafRowsLog2 & (kPageLeaves - 1)];
  }
  Row* row(uint32_t row) const { return leaf_of(row)->rows[row & (kLeafRows - 1)]; }
  // REQUIRES: shape.has_ranking.
  const float* ranking(uint32_t row) const { return leaf_of(row)->scored[row & (kLeafRows - 1)]; }
};

// Thread-compatible for the one writer, except where said otherwise.
class Storage {
 public:
  Storage(size_t rank, bool has_ranking);
  // REQUIRES: nothing is pinned.
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  size_t rank() const { return rank_; }
  const RowShape& shape() const { return shape_; }
  uint32_t size() const { return static_cast<uint32_t>(places_.size()); }

  // A row of zeros at the end, writable. Returns its index.
  uint32_t Add();
  // The row as readers see it or, if changed since the last Publish, as they will.
  Row* row(uint32_t row) const { return places_[row].row; }
  float* ranking(uint32_t row) const { return places_[row].ranking; }
  // For writing: copied at the first touch after a Publish. REQUIRES of the second:
  // shape().has_ranking.
  Row* MutableRow(uint32_t row);
  float* MutableRanking(uint32_t row);
  // Of a row with all that belongs to it.
  size_t RowBytes() const;
  void Publish(int64_t sequence, const ModelGlobals& globals);

  // Any thread.
  int Pin(const Root** root) { return slots_.Pin(current_, root); }
  void Unpin(int slot) { slots_.Unpin(slot); }
  size_t MemoryBytes() const { return memory_bytes_.load(std::memory_order_relaxed); }
  size_t PendingBlocks() const { return pending_blocks_.load(std::memory_order_relaxed); }

 private:
  enum class Kind : uint8_t { kRow, kRanking, kLeaf, kPage, kRoot };
  // Where a row lies, as it will be published.
  struct Place {
    Row* row;
    float* ranking;            // null where there are none
    uint64_t ranking_created;  // its epoch
  };
  // A block that no new view can reach, and the epochs whose views can.
  struct Retired {
    void* block;
    uint64_t created;
    uint64_t last;
    Kind kind;
  };
  // A root that is pinned, or was when last looked at, and the blocks that wait for it.
  struct PinnedRoot {
    const Root* root;
    uint64_t epoch;
    std::vector<Retired> waiting;
  };

  void NoteChange(uint32_t row);
  // Makes the changed rows of a leaf, as bits, reachable from the root to be. Once between
  // Publishes.
  void Link(uint32_t leaf, uint32_t changed);
  float* ScoredOf(const Place& place) const;
  // Two steps of hints into the cache: where what Link will read of the leaf lies, and that.
  void PrefetchPlaces(uint32_t leaf) const;
  void PrefetchForLink(uint32_t leaf) const;
  // A copy, or without any rows if there is none.
  Leaf* NewLeaf(const Leaf* former);
  // For writing: copied, or made, at the first touch after a Publish.
  Page* MutablePage(uint32_t page);
  Root* NewRoot();
  void FreeRoot(Root* root);
  void Free(const Retired& retired);
  // Frees or files a block under the first pinned epoch that keeps it.
  void FreeOrKeep(const Retired& retired);
  void Reclaim();
  void UpdateCounters();

  const size_t rank_;
  const RowShape shape_;

  PinSlots<Root> slots_;
  std::atomic<const Root*> current_{nullptr};
  std::atomic<size_t> memory_bytes_{0};
  std::atomic<size_t> pending_blocks_{0};

  // The writer's state.
  uint64_t epoch_ = 1;  // being worked in
  std::vector<Place> places_;
  // Since the last Publish: rows as bits, by leaf, and the leaves that have any.
  std::vector<uint16_t> changed_rows_;
  std::vector<uint32_t> changed_leaves_;
  std::vector<Page*> pages_;        // as they are published
  std::vector<Retired> retired_;    // since the last Publish
  std::vector<PinnedRoot> pinned_;  // by epoch; never the current root
  std::vector<Root*> spare_roots_;
  size_t root_bytes_ = 0;
  size_t waiting_blocks_ = 0;
  BlockPool row_pool_;
  BlockPool ranking_pool_;
  BlockPool leaf_pool_;
  BlockPool page_pool_;
  const std::vector<float> no_row_;  // and its codes: zeros
};

}  // namespace factord::item_matrix_internal
