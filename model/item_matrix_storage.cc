#include "model/item_matrix_storage.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/prefetch.h"
#include "model/kernels.h"
#include "model/row_codes.h"

namespace factord::item_matrix_internal {
namespace {

constexpr uint32_t kFirstRootCapacity = 16;

// Sets values[i] and brings *max, the largest of them, up to date.
void SetAndKeepMax(float* values, size_t n, size_t i, float value, float* max) {
  const float before = std::exchange(values[i], value);
  if (value >= *max) {
    *max = value;
  } else if (before == *max) {
    *max = *std::max_element(values, values + n);
  }
}

size_t RootBytes(uint32_t capacity) { return sizeof(Root) + capacity * sizeof(Page*); }

}  // namespace

Storage::Storage(size_t rank, bool has_ranking)
    : rank_(rank),
      shape_{RowStride(rank), has_ranking},
      row_pool_(Row::Bytes(shape_)),
      ranking_pool_(shape_.ScoredBytes()),
      leaf_pool_(sizeof(Leaf)),
      page_pool_(sizeof(Page)),
      no_row_(shape_.ScoredBytes() / sizeof(float)) {
  Root* const root = NewRoot();
  root->epoch = 0;
  root->sequence = 0;
  root->globals = {};
  root->size = 0;
  current_.store(root, std::memory_order_seq_cst);
  UpdateCounters();
}

Storage::~Storage() {
#ifndef NDEBUG
  slots_.ForEachPinned([](const Root*) { assert(false && "an ItemView outlives its ItemMatrix"); });
#endif
  // The other blocks go with their pools.
  for (PinnedRoot& pinned : pinned_) {
    for (const Retired& retired : pinned.waiting) {
      if (retired.kind == Kind::kRoot) std::free(retired.block);
    }
  }
  for (Root* root : spare_roots_) std::free(root);
  std::free(const_cast<Root*>(current_.load(std::memory_order_relaxed)));
}

uint32_t Storage::Add() {
  const uint32_t index = size();
  Row* const row = static_cast<Row*>(row_pool_.Allocate());
  std::memset(static_cast<void*>(row), 0, Row::Bytes(shape_));
  row->created = epoch_;
  float* ranking = nullptr;
  if (shape_.has_ranking) {
    ranking = static_cast<float*>(ranking_pool_.Allocate());
    std::memset(ranking, 0, shape_.FactorBytes());
  }
  places_.push_back({row, ranking, epoch_});
  if (index % kLeafRows == 0) changed_rows_.push_back(0);
  NoteChange(index);
  return index;
}

void Storage::NoteChange(uint32_t row) {
  uint16_t& rows = changed_rows_[row >> kLeafRowsLog2];
  if (rows == 0) changed_leaves_.push_back(row >> kLeafRowsLog2);
  rows = static_cast<uint16_t>(rows | 1u << (row & (kLeafRows - 1)));
}

Row* Storage::MutableRow(uint32_t index) {
  Row* const old = places_[index].row;
  if (old->created == epoch_) return old;
  Row* const copy = static_cast<Row*>(row_pool_.Allocate());
  std::memcpy(static_cast<void*>(copy), old, Row::Bytes(shape_));
  copy->created = epoch_;
  retired_.push_back({old, old->created, epoch_ - 1, Kind::kRow});
  NoteChange(index);
  return places_[index].row = copy;
}

float* Storage::MutableRanking(uint32_t index) {
  Place& place = places_[index];
  if (place.ranking_created == epoch_) return place.ranking;
  float* const copy = static_cast<float*>(ranking_pool_.Allocate());
  std::memcpy(copy, place.ranking, shape_.FactorBytes());
  retired_.push_back({place.ranking, place.ranking_created, epoch_ - 1, Kind::kRanking});
  place.ranking_created = epoch_;
  NoteChange(index);
  return place.ranking = copy;
}

Page* Storage::MutablePage(uint32_t index) {
  if (index == pages_.size()) {
    Page* const page = static_cast<Page*>(page_pool_.Allocate());
    std::memset(static_cast<void*>(page), 0, sizeof(Page));
    page->created = epoch_;
    pages_.push_back(page);
  }
  Page* const old = pages_[index];
  if (old->created == epoch_) return old;
  Page* const copy = static_cast<Page*>(page_pool_.Allocate());
  std::memcpy(static_cast<void*>(copy), old, sizeof(Page));
  copy->created = epoch_;
  retired_.push_back({old, old->created, epoch_ - 1, Kind::kPage});
  return pages_[index] = copy;
}

Leaf* Storage::NewLeaf(const Leaf* former) {
  Leaf* const leaf = static_cast<Leaf*>(leaf_pool_.Allocate());
  if (former == nullptr) {
    *leaf = {};
    std::fill_n(leaf->scored, kLeafRows, no_row_.data());
  } else {
    *leaf = *former;
  }
  leaf->created = epoch_;
  return leaf;
}

void Storage::Link(uint32_t index, uint32_t changed) {
  Page* const page = MutablePage(index >> kPageLeavesLog2);
  const uint32_t l = index & (kPageLeaves - 1);
  Leaf* const former = page->leaves[l];
  Leaf* const leaf = NewLeaf(former);
  if (former != nullptr) retired_.push_back({former, former->created, epoch_ - 1, Kind::kLeaf});
  page->leaves[l] = leaf;
  const Kernels& kernels = ActiveKernels();
  for (uint32_t rows = changed; rows != 0; rows &= rows - 1) {
    const auto r = static_cast<uint32_t>(std::countr_zero(rows));
    const Place& place = places_[(index << kLeafRowsLog2) + r];
    leaf->rows[r] = place.row;
    const float bias = shape_.has_ranking ? place.row->ranking_bias : 0;
    SetAndKeepMax(leaf->biases, kLeafRows, r, bias, &page->biases[l]);
    float* const scored = ScoredOf(place);
    if (leaf->scored[r] == scored) continue;
    leaf->scored[r] = scored;
    leaf->scales[r] = kernels.code_row(scored, shape_.stride);
    const float norm = UpperNorm(kernels.dot(scored, scored, shape_.stride));
    SetAndKeepMax(leaf->norms, kLeafRows, r, norm, &page->norms[l]);
  }
}

float* Storage::ScoredOf(const Place& place) const {
  return shape_.has_ranking ? place.ranking : place.row->factors();
}

void Storage::PrefetchPlaces(uint32_t index) const {
  const uint32_t page = index >> kPageLeavesLog2;
  if (page < pages_.size()) PrefetchLine(&pages_[page]->leaves[index & (kPageLeaves - 1)]);
  for (uint32_t rows = changed_rows_[index]; rows != 0; rows &= rows - 1) {
    PrefetchLine(
        &places_[(index << kLeafRowsLog2) + static_cast<uint32_t>(std::countr_zero(rows))]);
  }
}

void Storage::PrefetchForLink(uint32_t index) const {
  const uint32_t page = index >> kPageLeavesLog2;
  if (page < pages_.size()) {
    const char* const former =
        reinterpret_cast<const char*>(pages_[page]->leaves[index & (kPageLeaves - 1)]);
    for (size_t at = 0; former != nullptr && at < sizeof(Leaf); at += 64) PrefetchLine(former + at);
  }
  for (uint32_t rows = changed_rows_[index]; rows != 0; rows &= rows - 1) {
    const auto r = static_cast<uint32_t>(std::countr_zero(rows));
    const Place& place = places_[(index << kLeafRowsLog2) + r];
    PrefetchLine(place.row);
    const float* const scored = ScoredOf(place);
    for (size_t k = 0; k < shape_.stride; k += kLanes) PrefetchLine(scored + k);
  }
}

void Storage::Publish(int64_t sequence, const ModelGlobals& globals) {
  // In order, as leaves and pages mostly lie; rows come from anywhere.
  std::sort(changed_leaves_.begin(), changed_leaves_.end());
  constexpr size_t kPlaces = 6, kBlocks = 3;  // leaves ahead
  for (size_t i = 0; i < changed_leaves_.size(); ++i) {
    if (i + kPlaces < changed_leaves_.size()) PrefetchPlaces(changed_leaves_[i + kPlaces]);
    if (i + kBlocks < changed_leaves_.size()) PrefetchForLink(changed_leaves_[i + kBlocks]);
    Link(changed_leaves_[i], std::exchange(changed_rows_[changed_leaves_[i]], uint16_t{0}));
  }
  changed_leaves_.clear();
  Root* const root = NewRoot();
  root->epoch = epoch_;
  root->sequence = sequence;
  root->globals = globals;
  root->size = size();
  std::copy(pages_.begin(), pages_.end(), root->pages());

  const Root* const old = current_.load(std::memory_order_relaxed);
  retired_.push_back({const_cast<Root*>(old), old->epoch, old->epoch, Kind::kRoot});
  pinned_.push_back({old, old->epoch, {}});  // perhaps; Reclaim finds out
  current_.store(root, std::memory_order_seq_cst);
  ++epoch_;
  Reclaim();
  UpdateCounters();
}

void Storage::Reclaim() {
  std::vector<const Root*> in_slots;
  slots_.ForEachPinned([&in_slots](const Root* root) { in_slots.push_back(root); });
  std::sort(in_slots.begin(), in_slots.end());

  // Roots that are pinned no more leave the list first, so that nothing is filed under them.
  std::vector<Retired> released;
  std::erase_if(pinned_, [&](PinnedRoot& pinned) {
    if (std::binary_search(in_slots.begin(), in_slots.end(), pinned.root)) return false;
    released.insert(released.end(), pinned.waiting.begin(), pinned.waiting.end());
    return true;
  });
  waiting_blocks_ -= released.size();
  for (const Retired& retired : released) FreeOrKeep(retired);
  for (const Retired& retired : retired_) FreeOrKeep(retired);
  retired_.clear();
}

void Storage::FreeOrKeep(const Retired& retired) {
  // The oldest pinned epoch that keeps the block: the one pinned longest is likely to stay longest,
  // so blocks are seldom filed twice.
  const auto it = std::lower_bound(
      pinned_.begin(), pinned_.end(), retired.created,
      [](const PinnedRoot& pinned, uint64_t created) { return pinned.epoch < created; });
  if (it == pinned_.end() || it->epoch > retired.last) {
    Free(retired);
    return;
  }
  it->waiting.push_back(retired);
  ++waiting_blocks_;
}

void Storage::Free(const Retired& retired) {
  switch (retired.kind) {
    case Kind::kRow:
      row_pool_.Free(retired.block);
      break;
    case Kind::kRanking:
      ranking_pool_.Free(retired.block);
      break;
    case Kind::kLeaf:
      leaf_pool_.Free(retired.block);
      break;
    case Kind::kPage:
      page_pool_.Free(retired.block);
      break;
    case Kind::kRoot:
      FreeRoot(static_cast<Root*>(retired.block));
      break;
  }
}

// A spare one that is large enough, or a new one with room to grow.
Root* Storage::NewRoot() {
  const uint32_t needed = static_cast<uint32_t>(pages_.size());
  while (!spare_roots_.empty()) {
    Root* const root = spare_roots_.back();
    spare_roots_.pop_back();
    if (root->capacity >= needed) return root;
    root_bytes_ -= RootBytes(root->capacity);
    std::free(root);
  }
  const uint32_t capacity = std::bit_ceil(std::max(needed, kFirstRootCapacity));
  Root* const root = static_cast<Root*>(std::malloc(RootBytes(capacity)));
  if (root == nullptr) throw std::bad_alloc();
  root->capacity = capacity;
  root->shape = shape_;
  root_bytes_ += RootBytes(capacity);
  return root;
}

void Storage::FreeRoot(Root* root) { spare_roots_.push_back(root); }

size_t Storage::RowBytes() const {
  return Row::Bytes(shape_) + (shape_.has_ranking ? shape_.ScoredBytes() : 0) + sizeof(Place) +
         sizeof(Leaf) / kLeafRows;
}

void Storage::UpdateCounters() {
  memory_bytes_.store(row_pool_.MemoryBytes() + ranking_pool_.MemoryBytes() +
                          leaf_pool_.MemoryBytes() + page_pool_.MemoryBytes() + root_bytes_ +
                          places_.capacity() * sizeof(Place) +
                          changed_rows_.capacity() * sizeof(uint16_t),
                      std::memory_order_relaxed);
  pending_blocks_.store(waiting_blocks_, std::memory_order_relaxed);
}

}  // namespace factord::item_matrix_internal
