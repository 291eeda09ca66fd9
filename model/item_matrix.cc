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
size_t ItemView::stride() const { return root_->shape.stride; }
bool ItemView::has_ranking() const { return root_->shape.has_ranking; }

const float* ItemView::factors(uint32_t index) const {
  return root_->leaf(LeafOf(index))->factors(RowOf(index), root_->shape);
}

const RowState& ItemView::state(uint32_t index) const {
  return *root_->leaf(LeafOf(index))->state(RowOf(index), root_->shape);
}

const float* ItemView::ranking(uint32_t index) const {
  if (!has_ranking()) return nullptr;
  return root_->leaf(LeafOf(index))->ranking(RowOf(index), root_->shape);
}

const float* ItemView::leaf_scored(uint32_t leaf) const {
  return root_->leaf(leaf)->ranking(0, root_->shape);
}

const RowState* ItemView::leaf_states(uint32_t leaf) const {
  return root_->leaf(leaf)->state(0, root_->shape);
}

ItemMatrix::ItemMatrix(size_t rank, bool has_ranking)
    : storage_(std::make_unique<item_matrix_internal::Storage>(rank, has_ranking)) {}
ItemMatrix::~ItemMatrix() = default;

uint32_t ItemMatrix::size() const { return storage_->size(); }
ItemRow ItemMatrix::Add() { return Mutable(storage_->Add()); }

ItemRow ItemMatrix::Mutable(uint32_t index) {
  Leaf* const leaf = storage_->MutableLeaf(LeafOf(index));
  const auto& shape = storage_->shape();
  return {leaf->factors(RowOf(index), shape),
          shape.has_ranking ? leaf->ranking(RowOf(index), shape) : nullptr,
          leaf->state(RowOf(index), shape)};
}

const float* ItemMatrix::factors(uint32_t index) const {
  return storage_->leaf(LeafOf(index))->factors(RowOf(index), storage_->shape());
}

const RowState& ItemMatrix::state(uint32_t index) const {
  return *storage_->leaf(LeafOf(index))->state(RowOf(index), storage_->shape());
}

const float* ItemMatrix::ranking(uint32_t index) const {
  if (!has_ranking()) return nullptr;
  return storage_->leaf(LeafOf(index))->ranking(RowOf(index), storage_->shape());
}

void ItemMatrix::Publish(int64_t sequence, const ModelGlobals& globals) {
  storage_->Publish(sequence, globals);
}

void ItemMatrix::Prefetch(uint32_t index) const {
  Leaf* const leaf = storage_->leaf(LeafOf(index));
  __builtin_prefetch(leaf);
  const float* const row = leaf->factors(RowOf(index), storage_->shape());
  for (size_t k = 0; k < stride(); k += kLanes) __builtin_prefetch(row + k, 1);
}

ItemView ItemMatrix::Pin() const {
  const Root* root;
  const int slot = storage_->Pin(&root);
  return ItemView(storage_.get(), root, slot);
}

size_t ItemMatrix::rank() const { return storage_->rank(); }
size_t ItemMatrix::stride() const { return storage_->shape().stride; }
bool ItemMatrix::has_ranking() const { return storage_->shape().has_ranking; }
size_t ItemMatrix::RowBytes(size_t rows) const {
  return rows * Leaf::Bytes(storage_->shape()) / ItemView::kLeafRows;
}
size_t ItemMatrix::MemoryBytes() const { return storage_->MemoryBytes(); }
size_t ItemMatrix::PendingBlocks() const { return storage_->PendingBlocks(); }

}  // namespace factord
