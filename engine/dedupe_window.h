// The event ids of the last W sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "base/hash128.h"
#include "storage/records.h"

namespace factord {

// Remembers the id of an event of sequence s until sequence s + W has been applied: never a clock.
// Part of the model's state. Entries lie in slot s % W. Memory grows with the sequences up to W
// slots of 40 bytes. Thread-compatible.
class DedupeWindow {
 public:
  explicit DedupeWindow(int64_t window);
  // The index refers to the slots: not movable.
  DedupeWindow(const DedupeWindow&) = delete;
  DedupeWindow& operator=(const DedupeWindow&) = delete;

  // The key under which an event id is remembered.
  static Hash128 KeyOf(absl::string_view event_id) { return HashBytes128(event_id); }

  // The entry of `key` if it will still be remembered when `next_sequence` arrives, else null.
  const DedupeEntry* Find(const Hash128& key, int64_t next_sequence) const;

  // Tells that `entry.sequence` was applied with this id, or, without an id, just that it was: the
  // event W sequences before it is forgotten. REQUIRES: sequences increase; the key is not
  // remembered.
  void Add(const DedupeEntry& entry);
  void AddWithoutId(int64_t sequence);

  // Asks memory for what Find(key) will read.
  void PrefetchFind(const Hash128& key) const { index_.prefetch(key); }
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
  struct SlotHash {
    using is_transparent = void;
    const std::vector<DedupeEntry>* slots;
    size_t operator()(const Hash128& key) const { return key.low; }
    size_t operator()(uint32_t slot) const { return (*slots)[slot].key.low; }
  };
  struct SlotEqual {
    using is_transparent = void;
    const std::vector<DedupeEntry>* slots;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t slot, const Hash128& key) const { return (*slots)[slot].key == key; }
    bool operator()(const Hash128& key, uint32_t slot) const { return (*slots)[slot].key == key; }
  };

  Hash128 HashEntry(const DedupeEntry& entry) const;
  // The slot's place, emptied.
  DedupeEntry& Vacate(uint64_t slot);

  const int64_t window_;
  // Sequence 0: empty.
  std::vector<DedupeEntry> slots_;
  absl::flat_hash_set<uint32_t, SlotHash, SlotEqual> index_;
  Hash128 hash_;
  int64_t evictions_ = 0;
  mutable std::string scratch_;
};

}  // namespace factord
