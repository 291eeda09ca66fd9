#include "model/item_matrix.h"

#include <utility>

#include "model/item_matrix_storage.h"

namespace factord {
namespace {

using item_matrix_internal::kLeafRowsLog2;
using item_matrix_internal::Leaf;
using item_matrix_internal::Root;

static_assert(ItemView::kLeafRows == item_matrix_internal::kLeafRows);

constexpr uint32_t LeafOf(uint32_t index) { return index >> kLeafRowsLog2; }
constexpr uint32_t RowOf(uint32_t index) { return index & (ItemView::kLeafRows - 1); }

}  // namespace

ItemView::ItemView(ItemView&& other) noexcept
    : storage_(std::exchange(other.storage_, nullptr)), root_(other.root_), slot_(other.slot_) {}

ItemView& ItemView::operator=(ItemView&& other) noexcept {
  if (this != &other) {
    if (storage_ != nullptr) storage_->Unpin(slot_);
    storage_ = std::exchange(other.storage_, nullptr);
    root_ = other.root_;
    slot_ = other.slot_;
  }
  return *this;
}

ItemView::~ItemView() {
  if (storage_ != nullptr) storage_->Unpin(slot_);
}

int64_t ItemView::sequence() const { return root_->sequence; }
const ModelGlobals& ItemView::globals() const { return root_->globals; }
uint32_t ItemView::size() const { return root_->size; }
size_t ItemView::stride() const { return root_->stride; }

const float* ItemView::factors(uint32_t index) const {
  return root_->leaf(LeafOf(index))->factors(RowOf(index), root_->stride);
}

const RowState& ItemView::state(uint32_t index) const {
  return *root_->leaf(LeafOf(index))->state(RowOf(index), root_->stride);
}

const float* ItemView::leaf_factors(uint32_t leaf) const {
  return root_->leaf(leaf)->factors(0, root_->stride);
}

ItemMatrix::ItemMatrix(size_t rank)
    : storage_(std::make_unique<item_matrix_internal::Storage>(rank)) {}
ItemMatrix::~ItemMatrix() = default;

uint32_t ItemMatrix::size() const { return storage_->size(); }
ItemRow ItemMatrix::Add() { return Mutable(storage_->Add()); }

ItemRow ItemMatrix::Mutable(uint32_t index) {
  Leaf* const leaf = storage_->MutableLeaf(LeafOf(index));
  const size_t stride = storage_->stride();
  return {leaf->factors(RowOf(index), stride), leaf->state(RowOf(index), stride)};
}

const float* ItemMatrix::factors(uint32_t index) const {
  return storage_->leaf(LeafOf(index))->factors(RowOf(index), storage_->stride());
}

const RowState& ItemMatrix::state(uint32_t index) const {
  return *storage_->leaf(LeafOf(index))->state(RowOf(index), storage_->stride());
}

void ItemMatrix::Publish(int64_t sequence, const ModelGlobals& globals) {
  storage_->Publish(sequence, globals);
}

void ItemMatrix::Prefetch(uint32_t index) const {
  Leaf* const leaf = storage_->leaf(LeafOf(index));
  __builtin_prefetch(leaf);
  const float* const row = leaf->factors(RowOf(index), storage_->stride());
  for (size_t k = 0; k < storage_->stride(); k += kLanes) __builtin_prefetch(row + k, 1);
}

ItemView ItemMatrix::Pin() const {
  const Root* root;
  const int slot = storage_->Pin(&root);
  return ItemView(storage_.get(), root, slot);
}

size_t ItemMatrix::rank() const { return storage_->rank(); }
size_t ItemMatrix::stride() const { return storage_->stride(); }
size_t ItemMatrix::RowBytes(size_t rows) const {
  return rows * Leaf::Bytes(storage_->stride()) / ItemView::kLeafRows;
}
size_t ItemMatrix::MemoryBytes() const { return storage_->MemoryBytes(); }
size_t ItemMatrix::PendingBlocks() const { return storage_->PendingBlocks(); }

}  // namespace factord
