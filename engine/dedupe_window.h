// The event ids of the last W sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/hash128.h"
#include "base/hash_index.h"
#include "storage/records.h"

namespace factord {

// Remembers the id of an event of sequence s until sequence s + W has been applied: never a clock.
// Part of the model's state. Entries lie in slot s % W. Memory grows with the sequences up to W
// slots of 40 bytes. Thread-compatible.
class DedupeWindow {
 public:
  explicit DedupeWindow(int64_t window);

  // The key under which an event id is remembered.
  static Hash128 KeyOf(absl::string_view event_id) { return HashBytes128(event_id); }

  // What the key is found by in a HashIndex.
  static uint32_t ShortHash(const Hash128& key) {
    // All of the key: ids can be found that agree in half of it.
    const absl::string_view bytes(reinterpret_cast<const char*>(&key), sizeof(key));
    return static_cast<uint32_t>(HashBytes64(bytes, HashIndex::Secret()) >> 32);
  }

  // The entry of `key` if it will still be remembered when `next_sequence` arrives, else null.
  const DedupeEntry* Find(const Hash128& key, int64_t next_sequence) const;

  // Tells that `entry.sequence` was applied with this id, or, without an id, just that it was: the
  // event W sequences before it is forgotten. REQUIRES: sequences increase; the key is not
  // remembered.
  void Add(const DedupeEntry& entry);
  void AddWithoutId(int64_t sequence);

  // Asks memory for what Find(key) will read.
  void PrefetchFind(const Hash128& key) const { index_.Prefetch(ShortHash(key)); }
  // Asks memory for what Add(an entry with this key and sequence) will read.
  void Prefetch(int64_t sequence, const Hash128& key) const;

  int64_t window() const { return window_; }
  uint64_t SlotOf(int64_t sequence) const { return static_cast<uint64_t>(sequence % window_); }
  size_t size() const { return index_.size(); }
  // How many ids have been forgotten.
  int64_t evictions() const { return evictions_; }
  size_t MemoryBytes() const;

  // Sum of the entries' hashes: kept up to date, and computed afresh.
  const Hash128& hash() const { return hash_; }
  Hash128 ComputeHash() const;

 private:
  Hash128 HashEntry(const DedupeEntry& entry) const;
  // The slot's place, emptied.
  DedupeEntry& Vacate(uint64_t slot);

  const int64_t window_;
  // Sequence 0: empty.
  std::vector<DedupeEntry> slots_;
  HashIndex index_;  // of slots that are not empty
  Hash128 hash_;
  int64_t evictions_ = 0;
  mutable std::string scratch_;
};

}  // namespace factord
