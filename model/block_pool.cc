#include "model/block_pool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace factord {
namespace {

// Touching a slab of this size takes some 30 us: short enough for one event to pay.
constexpr size_t kSlabBytes = size_t{256} << 10;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

BlockPool::BlockPool(size_t block_bytes)
    : block_bytes_(RoundUp(block_bytes, kAlignment)),
      slab_bytes_(std::max(kSlabBytes / block_bytes_, size_t{1}) * block_bytes_) {}

BlockPool::~BlockPool() {
  for (void* slab : slabs_) std::free(slab);
}

void* BlockPool::Allocate() {
  if (free_.empty()) AddSlab();
  void* const block = free_.back();
  free_.pop_back();
  return block;
}

void BlockPool::AddSlab() {
  char* const slab = static_cast<char*>(std::aligned_alloc(kAlignment, slab_bytes_));
  if (slab == nullptr) throw std::bad_alloc();
  std::memset(slab, 0, slab_bytes_);
  slabs_.push_back(slab);
  const size_t blocks = slab_bytes_ / block_bytes_;
  // Room for every block there is, so that Free never allocates.
  free_.reserve(slabs_.size() * blocks);
  // Last to first, so that blocks are handed out in the order of their addresses.
  for (size_t i = blocks; i > 0; --i) free_.push_back(slab + (i - 1) * block_bytes_);
}

}  // namespace factord
