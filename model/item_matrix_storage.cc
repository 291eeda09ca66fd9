#include "model/item_matrix_storage.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace factord::item_matrix_internal {
namespace {

constexpr uint32_t kFirstRootCapacity = 16;

size_t RootBytes(uint32_t capacity) { return sizeof(Root) + capacity * sizeof(Page*); }

}  // namespace

Storage::Storage(size_t rank, bool has_ranking)
    : rank_(rank),
      shape_{RowStride(rank), has_ranking},
      leaf_pool_(Leaf::Bytes(shape_)),
      page_pool_(sizeof(Page)) {
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
  // Leaves and pages go with their pools.
  for (PinnedRoot& pinned : pinned_) {
    for (const Retired& retired : pinned.waiting) {
      if (retired.kind == Kind::kRoot) std::free(retired.block);
    }
  }
  for (Root* root : spare_roots_) std::free(root);
  std::free(const_cast<Root*>(current_.load(std::memory_order_relaxed)));
}

uint32_t Storage::Add() {
  const uint32_t index = size_;
  const uint32_t leaf_index = index >> kLeafRowsLog2;
  if ((index & (kLeafRows - 1)) != 0) {
    MutableLeaf(leaf_index);
  } else {
    Leaf* const leaf = static_cast<Leaf*>(leaf_pool_.Allocate());
    std::memset(static_cast<void*>(leaf), 0, Leaf::Bytes(shape_));
    leaf->created = epoch_;
    if ((leaf_index & (kPageLeaves - 1)) == 0) {
      Page* const page = static_cast<Page*>(page_pool_.Allocate());
      std::memset(static_cast<void*>(page), 0, sizeof(Page));
      page->created = epoch_;
      pages_.push_back(page);
    }
    MutablePage(leaf_index >> kPageLeavesLog2)->leaves[leaf_index & (kPageLeaves - 1)] = leaf;
  }
  ++size_;
  return index;
}

Page* Storage::MutablePage(uint32_t page) {
  Page* const old = pages_[page];
  if (old->created == epoch_) return old;
  Page* const copy = static_cast<Page*>(page_pool_.Allocate());
  std::memcpy(static_cast<void*>(copy), old, sizeof(Page));
  copy->created = epoch_;
  retired_.push_back({old, old->created, epoch_ - 1, Kind::kPage});
  return pages_[page] = copy;
}

Leaf* Storage::MutableLeaf(uint32_t leaf_index) {
  Leaf* const old = leaf(leaf_index);
  if (old->created == epoch_) return old;
  Page* const page = MutablePage(leaf_index >> kPageLeavesLog2);
  Leaf* const copy = static_cast<Leaf*>(leaf_pool_.Allocate());
  std::memcpy(static_cast<void*>(copy), old, Leaf::Bytes(shape_));
  copy->created = epoch_;
  retired_.push_back({old, old->created, epoch_ - 1, Kind::kLeaf});
  return page->leaves[leaf_index & (kPageLeaves - 1)] = copy;
}

void Storage::Publish(int64_t sequence, const ModelGlobals& globals) {
  Root* const root = NewRoot();
  root->epoch = epoch_;
  root->sequence = sequence;
  root->globals = globals;
  root->size = size_;
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

void Storage::UpdateCounters() {
  memory_bytes_.store(leaf_pool_.MemoryBytes() + page_pool_.MemoryBytes() + root_bytes_,
                      std::memory_order_relaxed);
  pending_blocks_.store(waiting_blocks_, std::memory_order_relaxed);
}

}  // namespace factord::item_matrix_internal
