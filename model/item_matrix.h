// Q: the items' rows, for one writer and many readers who never wait.
//
//   writer:  ItemRow row = items.Mutable(index);  ... change it ...;  items.Publish(sequence);
//   reader:  ItemView view = items.Pin();  // the state at view.sequence(), as long as it lives
//
// The first change of a row after a Publish copies it; Publish links the copies into a tree under a
// new root, which shares all the rest with the former one. A reader pins a root by writing its
// address into a slot (a hazard pointer). Each block knows the epochs [created, last] in which it
// was reachable, and is taken back at once unless a pinned epoch lies between: so a view pinned for
// long holds each old leaf at most once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "model/globals.h"
#include "model/row.h"

namespace factord {

// A writable row. `factors` has RowStride(rank) floats; those from rank on must stay 0.
struct ItemRow {
  float* factors;
  RowState* state;
  float* ranking_bias;  // what is added to the item's score (model/next_item.h): at least 0
};

namespace item_matrix_internal {
struct Root;
class Storage;
}  // namespace item_matrix_internal

// A pinned state of all rows. Movable; may be used by many threads at once, destroyed by any. Must
// not outlive its ItemMatrix.
class ItemView {
 public:
  ItemView(ItemView&& other) noexcept;
  ItemView& operator=(ItemView&& other) noexcept;
  ~ItemView();

  // What Publish was told.
  int64_t sequence() const;
  const ModelGlobals& globals() const;
  uint32_t size() const;
  // REQUIRES: index < size().
  const float* factors(uint32_t index) const;
  const RowState& state(uint32_t index) const;
  // Null, and 0, where there are no ranking rows.
  const float* ranking(uint32_t index) const;
  float ranking_bias(uint32_t index) const;
  size_t stride() const;
  bool has_ranking() const;
  // For TopK.
  const item_matrix_internal::Root& root() const { return *root_; }

 private:
  friend class ItemMatrix;
  ItemView(item_matrix_internal::Storage* storage, const item_matrix_internal::Root* root, int slot)
      : storage_(storage), root_(root), slot_(slot) {}

  item_matrix_internal::Storage* storage_;
  const item_matrix_internal::Root* root_;
  int slot_;
};

// One thread calls the writer's methods; any thread calls Pin.
class ItemMatrix {
 public:
  // `has_ranking`: each item has a second row, by which it is ranked (model/next_item.h).
  explicit ItemMatrix(size_t rank, bool has_ranking = false);
  ~ItemMatrix();
  ItemMatrix(const ItemMatrix&) = delete;
  ItemMatrix& operator=(const ItemMatrix&) = delete;

  // Writer: rows, including those not yet published.
  uint32_t size() const;
  // Writer: appends a row of zeros and returns it for writing; its index is the former size().
  ItemRow Add();
  // Writer: the row as it will be published, for changing. Valid until the next Publish.
  ItemRow Mutable(uint32_t index);
  // Writer: the same of its ranking row, as long as that of factors. REQUIRES: has_ranking().
  float* MutableRanking(uint32_t index);
  // Writer: the row as it will be published, for reading.
  const float* factors(uint32_t index) const;
  const float* ranking(uint32_t index) const;  // null where there are none
  float ranking_bias(uint32_t index) const;    // 0 where there are none
  const RowState& state(uint32_t index) const;
  // Writer: what readers pin from now on.
  void Publish(int64_t sequence, const ModelGlobals& globals = {});
  // Writer: hints the whole row into the cache, or state and ranking row.
  void Prefetch(uint32_t index) const;
  void PrefetchRanking(uint32_t index) const;

  // The state last published. Waits only if all slots (some hundreds) are taken.
  ItemView Pin() const;

  size_t rank() const;
  size_t stride() const;
  bool has_ranking() const;
  // Bytes of so many rows.
  size_t RowBytes(size_t rows) const;
  // Any thread: bytes in use, and how many retired blocks wait for a reader.
  size_t MemoryBytes() const;
  size_t PendingBlocks() const;

 private:
  std::unique_ptr<item_matrix_internal::Storage> storage_;
};

}  // namespace factord
