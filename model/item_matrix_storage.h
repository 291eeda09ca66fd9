// What lies behind ItemMatrix: blocks, their epochs, and when they are taken back.
//
// Epochs count publishes. The writer works in epoch E, the published root has epoch E - 1.
//   1. A block (leaf, page or root) created in epoch c and replaced while working in epoch E was
//      reachable from the roots of epochs [c, E - 1] and from no other.
//   2. Only the current root can be newly pinned. So once a block is not reachable from the current
//      root, the pinned epochs decide about it, and none can join them in [c, E - 1].
//   3. A block that a pinned epoch keeps waits in that epoch's list, and is looked at again when
//      that epoch is not pinned any more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/block_pool.h"
#include "model/globals.h"
#include "model/pin_slots.h"
#include "model/row.h"

namespace factord::item_matrix_internal {

struct RowShape {
  size_t stride;
  bool has_ranking;
};

inline constexpr uint32_t kLeafRowsLog2 = 3;
inline constexpr uint32_t kLeafRows = 1u << kLeafRowsLog2;
// A page of 256 leaves is 2 kB, about what one leaf at rank 64 takes: copying either costs alike.
inline constexpr uint32_t kPageLeavesLog2 = 8;
inline constexpr uint32_t kPageLeaves = 1u << kPageLeavesLog2;
inline constexpr uint32_t kPageRowsLog2 = kLeafRowsLog2 + kPageLeavesLog2;

// Eight rows: this header in a cache line of its own, then, each for all eight, the ranking rows
// (what a search reads; where there are any), the rows of factors, and the RowStates.
struct alignas(64) Leaf {
  uint64_t created;

  float* ranking(uint32_t row, const RowShape& shape) {
    return reinterpret_cast<float*>(this + 1) + row * shape.stride;
  }
  float* factors(uint32_t row, const RowShape& shape) {
    return ranking(row + (shape.has_ranking ? kLeafRows : 0), shape);
  }
  RowState* state(uint32_t row, const RowShape& shape) {
    return reinterpret_cast<RowState*>(factors(kLeafRows, shape)) + row;
  }
  static size_t Bytes(const RowShape& shape) {
    return sizeof(Leaf) + kLeafRows * (shape.stride * sizeof(float) * (shape.has_ranking ? 2 : 1) +
                                       sizeof(RowState));
  }
};

struct Page {
  uint64_t created;
  Leaf* leaves[kPageLeaves];
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
  Leaf* leaf(uint32_t leaf) const {
    Page* const* const pages = reinterpret_cast<Page* const*>(this + 1);
    return pages[leaf >> kPageLeavesLog2]->leaves[leaf & (kPageLeaves - 1)];
  }
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
  uint32_t size() const { return size_; }

  // A row of zeros at the end, its leaf writable. Returns its index.
  uint32_t Add();
  // The leaf as readers see it or, if changed since the last Publish, as they will.
  Leaf* leaf(uint32_t leaf) const {
    return pages_[leaf >> kPageLeavesLog2]->leaves[leaf & (kPageLeaves - 1)];
  }
  // The leaf for writing: copied at the first touch after a Publish.
  Leaf* MutableLeaf(uint32_t leaf);
  void Publish(int64_t sequence, const ModelGlobals& globals);

  // Any thread.
  int Pin(const Root** root) { return slots_.Pin(current_, root); }
  void Unpin(int slot) { slots_.Unpin(slot); }
  size_t MemoryBytes() const { return memory_bytes_.load(std::memory_order_relaxed); }
  size_t PendingBlocks() const { return pending_blocks_.load(std::memory_order_relaxed); }

 private:
  enum class Kind : uint8_t { kLeaf, kPage, kRoot };
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
  uint32_t size_ = 0;
  std::vector<Page*> pages_;        // as they will be published
  std::vector<Retired> retired_;    // since the last Publish
  std::vector<PinnedRoot> pinned_;  // by epoch; never the current root
  std::vector<Root*> spare_roots_;
  size_t root_bytes_ = 0;
  size_t waiting_blocks_ = 0;
  BlockPool leaf_pool_;
  BlockPool page_pool_;
};

}  // namespace factord::item_matrix_internal
