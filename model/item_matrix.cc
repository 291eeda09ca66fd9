#include "model/item_matrix.h"

#include <utility>

#include "model/item_matrix_storage.h"

namespace factord {
namespace {

using item_matrix_internal::Leaf;
using item_matrix_internal::Root;
using item_matrix_internal::Row;

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
  return root_->row(index)->factors(root_->shape);
}

const RowState& ItemView::state(uint32_t index) const { return root_->row(index)->state; }

const float* ItemView::ranking(uint32_t index) const {
  return has_ranking() ? root_->row(index)->ranking() : nullptr;
}

ItemMatrix::ItemMatrix(size_t rank, bool has_ranking)
    : storage_(std::make_unique<item_matrix_internal::Storage>(rank, has_ranking)) {}
ItemMatrix::~ItemMatrix() = default;

uint32_t ItemMatrix::size() const { return storage_->size(); }
ItemRow ItemMatrix::Add() { return Mutable(storage_->Add()); }

ItemRow ItemMatrix::Mutable(uint32_t index) {
  Row* const row = storage_->MutableRow(index);
  return {row->factors(storage_->shape()), has_ranking() ? row->ranking() : nullptr, &row->state};
}

const float* ItemMatrix::factors(uint32_t index) const {
  return storage_->row(index)->factors(storage_->shape());
}

const RowState& ItemMatrix::state(uint32_t index) const { return storage_->row(index)->state; }

const float* ItemMatrix::ranking(uint32_t index) const {
  return has_ranking() ? storage_->row(index)->ranking() : nullptr;
}

void ItemMatrix::Publish(int64_t sequence, const ModelGlobals& globals) {
  storage_->Publish(sequence, globals);
}

void ItemMatrix::Prefetch(uint32_t index) const {
  Row* const row = storage_->row(index);
  const size_t bytes = Row::Bytes(storage_->shape());
  for (size_t at = 0; at < bytes; at += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(row) + at, 1);
  }
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
  return rows * (Row::Bytes(storage_->shape()) + sizeof(Row*) +
                 Leaf::Bytes(storage_->shape()) / item_matrix_internal::kLeafRows);
}
size_t ItemMatrix::MemoryBytes() const { return storage_->MemoryBytes(); }
size_t ItemMatrix::PendingBlocks() const { return storage_->PendingBlocks(); }

}  // namespace factord
