// Fixed-size blocks of memory, kept for ever and handed out again.
//
// New memory comes in slabs whose pages are touched at once: a page fault in the middle of a group
// of events was the only thing that took the writer milliseconds. A pool that has become large
// takes huge pages, where the system has them: rows are read in no order, and each would miss the
// TLB. Thread-compatible.
#pragma once

#include <cstddef>
#include <vector>

namespace factord {

class BlockPool {
 public:
  // Every block is aligned to this.
  static constexpr size_t kAlignment = 64;

  explicit BlockPool(size_t block_bytes);
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // Contents undefined. The block freed last comes first: it is the one most likely in cache.
  void* Allocate();
  void Free(void* block) { free_.push_back(block); }

  // Bytes taken from the system.
  size_t MemoryBytes() const { return bytes_; }

 private:
  void AddSlab();

  const size_t block_bytes_;
  size_t bytes_ = 0;
  size_t blocks_ = 0;
  std::vector<void*> slabs_;
  std::vector<void*> free_;
};

}  // namespace factord
