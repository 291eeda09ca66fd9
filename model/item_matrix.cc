#include "model/item_matrix.h"

#include <utility>

#include "base/prefetch.h"
#include "model/item_matrix_storage.h"

namespace factord {
namespace {

using item_matrix_internal::Root;
using item_matrix_internal::Row;

void PrefetchFloats(const float* row, size_t stride) {
  for (size_t k = 0; k < stride; k += kLanes) PrefetchLine(row + k);
}

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

const float* ItemView::factors(uint32_t index) const { return root_->row(index)->factors(); }

const RowState& ItemView::state(uint32_t index) const { return root_->row(index)->state; }

const float* ItemView::ranking(uint32_t index) const {
  return has_ranking() ? root_->ranking(index) : nullptr;
}

float ItemView::ranking_bias(uint32_t index) const { return root_->row(index)->ranking_bias; }

ItemMatrix::ItemMatrix(size_t rank, bool has_ranking)
    : storage_(std::make_unique<item_matrix_internal::Storage>(rank, has_ranking)) {}
ItemMatrix::~ItemMatrix() = default;

uint32_t ItemMatrix::size() const { return storage_->size(); }
ItemRow ItemMatrix::Add() { return Mutable(storage_->Add()); }

ItemRow ItemMatrix::Mutable(uint32_t index) {
  Row* const row = storage_->MutableRow(index);
  return {row->factors(), &row->state, &row->ranking_bias};
}

float* ItemMatrix::MutableRanking(uint32_t index) { return storage_->MutableRanking(index); }

const float* ItemMatrix::factors(uint32_t index) const { return storage_->row(index)->factors(); }

const RowState& ItemMatrix::state(uint32_t index) const { return storage_->row(index)->state; }

const float* ItemMatrix::ranking(uint32_t index) const { return storage_->ranking(index); }

float ItemMatrix::ranking_bias(uint32_t index) const { return storage_->row(index)->ranking_bias; }

void ItemMatrix::Publish(int64_t sequence, const ModelGlobals& globals) {
  storage_->Publish(sequence, globals);
}

void ItemMatrix::Prefetch(uint32_t index) const {
  Row* const row = storage_->row(index);
  PrefetchLine(row);
  PrefetchFloats(row->factors(), stride());
  PrefetchRanking(index);
}

void ItemMatrix::PrefetchRanking(uint32_t index) const {
  if (!has_ranking()) return;
  PrefetchLine(storage_->row(index));
  PrefetchFloats(storage_->ranking(index), stride());
}

ItemView ItemMatrix::Pin() const {
  const Root* root;
  const int slot = storage_->Pin(&root);
  return ItemView(storage_.get(), root, slot);
}

size_t ItemMatrix::rank() const { return storage_->rank(); }
size_t ItemMatrix::stride() const { return storage_->shape().stride; }
bool ItemMatrix::has_ranking() const { return storage_->shape().has_ranking; }
size_t ItemMatrix::RowBytes(size_t rows) const { return rows * storage_->RowBytes(); }
size_t ItemMatrix::MemoryBytes() const { return storage_->MemoryBytes(); }
size_t ItemMatrix::PendingBlocks() const { return storage_->PendingBlocks(); }

}  // namespace factord
