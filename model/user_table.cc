#include "model/user_table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "base/prefetch.h"

namespace factord {
namespace {

// Where the item is, or n.
size_t FindItem(const uint32_t* items, size_t n, uint32_t item) {
  // In blocks without a way out, which the compiler makes vectors of.
  constexpr size_t kBlock = 16;
  size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    uint32_t found = 0;
    for (size_t k = 0; k < kBlock; ++k) found |= items[i + k] == item;
    if (found != 0) break;
  }
  return static_cast<size_t>(std::find(items + i, items + n, item) - items);
}

}  // namespace

void RatingHistory::Grow(uint32_t capacity) {
  char* const words = new char[size_t{capacity} * kItemBytes];
  std::memcpy(words, items_begin(), size_ * sizeof(uint32_t));
  std::memcpy(words + size_t{capacity} * sizeof(uint32_t), ratings_begin(), size_ * sizeof(float));
  if (!is_inline()) delete[] memory_.words;
  memory_.words = words;
  capacity_ = capacity;
}

std::optional<float> RatingHistory::Record(uint32_t item, float value) {
  std::optional<float> former;
  uint32_t* const items = items_begin();
  if (const size_t at = FindItem(items, size_, item); at < size_) {
    float* const ratings = ratings_begin();
    former = ratings[at];
    if (!IsRating(value)) value = *former;
    const size_t later = size_ - at - 1;
    std::memmove(items + at, items + at + 1, later * sizeof(uint32_t));
    std::memmove(ratings + at, ratings + at + 1, later * sizeof(float));
    --size_;
  } else if (size_ == capacity_) {
    // A quarter more: most users have few ratings and the slack counts for millions of them.
    constexpr uint32_t kFirst = 4;
    Grow(std::max(kFirst, capacity_ + capacity_ / 4));
  }
  items_begin()[size_] = item;
  ratings_begin()[size_] = value;
  ++size_;
  return former;
}

void RatingHistory::Assign(absl::Span<const uint32_t> items, absl::Span<const float> ratings) {
  size_ = 0;
  if (items.size() > capacity_) Grow(static_cast<uint32_t>(items.size()));
  std::copy(items.begin(), items.end(), items_begin());
  std::copy(ratings.begin(), ratings.end(), ratings_begin());
  size_ = static_cast<uint32_t>(items.size());
}

struct UserTable::Chunk {
  explicit Chunk(size_t stride)
      : factors(static_cast<float*>(
            ::operator new[](kChunkRows* stride * sizeof(float), std::align_val_t{64}))) {
    std::memset(factors, 0, kChunkRows * stride * sizeof(float));
  }
  ~Chunk() { ::operator delete[](factors, std::align_val_t{64}); }

  Row rows[kChunkRows];
  float* const factors;
};

UserTable::UserTable(size_t rank)
    : rank_(rank),
      stride_(RowStride(rank)),
      chunks_(std::make_unique<std::atomic<Chunk*>[]>(kMaxChunks)) {}

UserTable::~UserTable() {
  for (uint32_t i = 0; i < kMaxChunks && chunks_[i] != nullptr; ++i) delete chunks_[i].load();
}

uint32_t UserTable::Add() {
  const uint32_t index = size_.load(std::memory_order_relaxed);
  std::atomic<Chunk*>& slot = chunks_[index >> kChunkBits];
  if (slot.load(std::memory_order_relaxed) == nullptr) {
    slot.store(new Chunk(stride_), std::memory_order_release);
  }
  size_.store(index + 1, std::memory_order_release);
  return index;
}

UserTable::LockedRow UserTable::Lock(uint32_t index) const {
  Chunk* const c = chunk(index);
  const uint32_t within = index & (kChunkRows - 1);
  Row* const row = &c->rows[within];
  while (row->locked.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
  return LockedRow(row, c->factors + within * stride_);
}

size_t UserTable::MemoryBytes(uint32_t rows) const {
  const size_t chunks = (size_t{rows} + kChunkRows - 1) / kChunkRows;
  return kMaxChunks * sizeof(chunks_[0]) +
         chunks * (sizeof(Chunk) + kChunkRows * stride_ * sizeof(float));
}

absl::Span<const uint32_t> UserTable::HistoryAsWriter(uint32_t index) const {
  return chunk(index)->rows[index & (kChunkRows - 1)].history.items();
}

void UserTable::PrefetchHistory(uint32_t index) const {
  const RatingHistory& history = chunk(index)->rows[index & (kChunkRows - 1)].history;
  PrefetchLine(history.items().end());
  PrefetchLine(history.ratings().end());
}

void UserTable::Prefetch(uint32_t index) const {
  const Chunk* const c = chunk(index);
  const uint32_t within = index & (kChunkRows - 1);
  PrefetchLine(&c->rows[within]);
  PrefetchLine(reinterpret_cast<const char*>(&c->rows[within + 1]) - 1);  // two lines, mostly
  const float* const factors = c->factors + within * stride_;
  for (size_t i = 0; i < stride_; i += 16) PrefetchLine(factors + i);
}

}  // namespace factord
