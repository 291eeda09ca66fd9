#include "model/block_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/prefetch.h"

namespace factord {
namespace {

// Touching a slab of this size takes some 30 us: short enough for one event to pay. Of a huge page
// it takes some 200 us, once for thousands of rows.
constexpr size_t kSlabBytes = size_t{256} << 10;
constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kLargePoolBytes = 8 * kHugePageBytes;

size_t RoundUp(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

BlockPool::BlockPool(size_t block_bytes) : block_bytes_(RoundUp(block_bytes, kAlignment)) {}

BlockPool::~BlockPool() {
  for (void* slab : slabs_) std::free(slab);
}

void* BlockPool::Allocate() {
  if (free_.empty()) AddSlab();
  void* const block = free_.back();
  free_.pop_back();
  // Blocks are written as soon as they are handed out: ask memory for one of the next.
  constexpr size_t kAhead = 2;
  if (free_.size() >= kAhead) {
    const char* const later = static_cast<const char*>(free_[free_.size() - kAhead]);
    for (size_t at = 0; at < block_bytes_; at += kAlignment) PrefetchLine(later + at);
  }
  return block;
}

void BlockPool::AddSlab() {
  const bool is_large = bytes_ >= kLargePoolBytes;
  const size_t alignment = is_large ? kHugePageBytes : kAlignment;
  const size_t bytes =
      is_large ? RoundUp(block_bytes_, kHugePageBytes) : RoundUp(block_bytes_, kSlabBytes);
  char* const slab = static_cast<char*>(std::aligned_alloc(alignment, bytes));
  if (slab == nullptr) throw std::bad_alloc();
  if (is_large) madvise(slab, bytes, MADV_HUGEPAGE);  // a hint
  std::memset(slab, 0, bytes);
  slabs_.push_back(slab);
  bytes_ += bytes;
  const size_t blocks = bytes / block_bytes_;
  blocks_ += blocks;
  // Room for every block there is, so that Free never allocates.
  free_.reserve(blocks_);
  // Last to first, so that blocks are handed out in the order of their addresses.
  for (size_t i = blocks; i > 0; --i) free_.push_back(slab + (i - 1) * block_bytes_);
}

}  // namespace factord
