// P: the users' rows with their histories, changed in place under a small lock a row.
//
// One writer adds and changes rows; any thread reads a row by locking it for the time of a copy. A
// query needs one row of P but all rows of Q, so P needs no views (item_matrix.h has them for Q).
//
//   UserTable::LockedRow row = users.Lock(index);
//   std::copy_n(row.factors(), users.stride(), copy);
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/types/span.h"
#include "model/row.h"

namespace factord {

// What a history holds in place of the rating of an item that was taken up and never rated: a NaN.
inline constexpr float kUnrated = std::numeric_limits<float>::quiet_NaN();
inline bool IsRating(float value) { return value == value; }

// What a user has rated or taken up: each item once with its latest rating, or kUnrated, the one
// longest ago first. Never capped. Adding is O(items) by a scan over packed indices (some 20 ns at
// a hundred of them). One item takes no memory beside the object: many users never have two.
// Thread-compatible.
class RatingHistory {
 public:
  RatingHistory() {}
  ~RatingHistory() {
    if (!is_inline()) delete[] memory_.words;
  }
  RatingHistory(const RatingHistory&) = delete;
  RatingHistory& operator=(const RatingHistory&) = delete;

  absl::Span<const uint32_t> items() const { return {items_begin(), size_}; }
  absl::Span<const float> ratings() const { return {ratings_begin(), size_}; }

  // Puts `item` at the end with this rating; kUnrated keeps a former one. What it had before is
  // returned.
  std::optional<float> Record(uint32_t item, float value);
  // Replaces everything. REQUIRES: equal sizes, items distinct.
  void Assign(absl::Span<const uint32_t> items, absl::Span<const float> ratings);

  // Beside the object.
  size_t MemoryBytes() const { return is_inline() ? 0 : size_t{capacity_} * kItemBytes; }

 private:
  static constexpr size_t kItemBytes = sizeof(uint32_t) + sizeof(float);

  void Grow(uint32_t capacity);
  bool is_inline() const { return capacity_ == 1; }
  const uint32_t* items_begin() const {
    return is_inline() ? &memory_.one.item : reinterpret_cast<const uint32_t*>(memory_.words);
  }
  const float* ratings_begin() const {
    return is_inline() ? &memory_.one.rating
                       : reinterpret_cast<const float*>(memory_.words +
                                                        size_t{capacity_} * sizeof(uint32_t));
  }
  uint32_t* items_begin() { return const_cast<uint32_t*>(std::as_const(*this).items_begin()); }
  float* ratings_begin() { return const_cast<float*>(std::as_const(*this).ratings_begin()); }

  union {
    struct {
      uint32_t item;
      float rating;
    } one;
    char* words;  // capacity_ item indices, then capacity_ ratings
  } memory_;
  uint32_t size_ = 0;
  uint32_t capacity_ = 1;
};

class UserTable {
 public:
  // What a row holds beside its factors.
  struct Row {
    RowState state;
    RatingHistory history;
    // For the owner's bookkeeping of what has changed since a snapshot; 0 in a new row.
    uint32_t dirty_cut = 0;

   private:
    friend class UserTable;
    std::atomic<bool> locked{false};
  };
  static_assert(sizeof(Row) == 56);  // no cache line: there are millions of them

  // Holds the row's lock. Movable.
  class LockedRow {
   public:
    LockedRow(LockedRow&& other) noexcept : row_(other.row_), factors_(other.factors_) {
      other.row_ = nullptr;
    }
    LockedRow& operator=(LockedRow&&) = delete;
    ~LockedRow() {
      if (row_ != nullptr) row_->locked.store(false, std::memory_order_release);
    }
    Row* operator->() const { return row_; }
    // stride() floats, those from rank on 0.
    float* factors() const { return factors_; }

   private:
    friend class UserTable;
    LockedRow(Row* row, float* factors) : row_(row), factors_(factors) {}
    Row* row_;
    float* factors_;
  };

  // Rows at the most; Add refuses beyond.
  static constexpr uint32_t kMaxRows = uint32_t{1} << 28;

  explicit UserTable(size_t rank);
  ~UserTable();
  UserTable(const UserTable&) = delete;
  UserTable& operator=(const UserTable&) = delete;

  // Writer: appends a row of zeros. REQUIRES: size() < kMaxRows.
  uint32_t Add();
  // Any thread. REQUIRES: index < size() as seen by this thread. Held only for short, bounded work.
  LockedRow Lock(uint32_t index) const;
  // Writer: hints the row, and the end of its history, into the cache.
  void Prefetch(uint32_t index) const;
  void PrefetchHistory(uint32_t index) const;
  // Writer: the items of the row's history, without its lock, if the writer alone changes it.
  absl::Span<const uint32_t> HistoryAsWriter(uint32_t index) const;

  uint32_t size() const { return size_.load(std::memory_order_acquire); }
  size_t rank() const { return rank_; }
  size_t stride() const { return stride_; }
  // Any thread: bytes in use for this many rows, but for their histories.
  size_t MemoryBytes(uint32_t rows) const;
  size_t MemoryBytes() const { return MemoryBytes(size()); }

 private:
  // Rows of a chunk are allocated together and never move.
  static constexpr uint32_t kChunkBits = 12;
  static constexpr uint32_t kChunkRows = uint32_t{1} << kChunkBits;
  static constexpr uint32_t kMaxChunks = kMaxRows / kChunkRows;
  struct Chunk;

  Chunk* chunk(uint32_t index) const {
    return chunks_[index >> kChunkBits].load(std::memory_order_acquire);
  }

  const size_t rank_;
  const size_t stride_;
  std::unique_ptr<std::atomic<Chunk*>[]> chunks_;
  std::atomic<uint32_t> size_{0};
};

}  // namespace factord
