#include "engine/dedupe_window.h"

#include <algorithm>
#include <optional>

#include "engine/hash_seeds.h"

namespace factord {

DedupeWindow::DedupeWindow(int64_t window) : window_(window) {}

const DedupeEntry* DedupeWindow::Find(const Hash128& key, int64_t next_sequence) const {
  const std::optional<uint32_t> slot =
      index_.Find(ShortHash(key), [&](uint32_t candidate) { return slots_[candidate].key == key; });
  if (!slot.has_value()) return nullptr;
  const DedupeEntry& entry = slots_[*slot];
  return entry.sequence >= next_sequence - window_ ? &entry : nullptr;
}

Hash128 DedupeWindow::HashEntry(const DedupeEntry& entry) const {
  scratch_.clear();
  EncodeDedupeEntry(entry, &scratch_);
  return HashBytes128(scratch_, kDedupeHashSeed);
}

void DedupeWindow::Prefetch(int64_t sequence, const Hash128& key) const {
  PrefetchFind(key);
  const uint64_t slot = SlotOf(sequence);
  if (slot < slots_.size() && slots_[slot].sequence != 0) PrefetchFind(slots_[slot].key);
}

DedupeEntry& DedupeWindow::Vacate(uint64_t slot) {
  if (slot >= slots_.size()) {
    slots_.resize(std::min<uint64_t>(static_cast<uint64_t>(window_),
                                     std::max<uint64_t>(slot + 1, slots_.size() * 2)));
  }
  DedupeEntry& entry = slots_[slot];
  if (entry.sequence != 0) {
    hash_ -= HashEntry(entry);
    index_.Erase(ShortHash(entry.key), static_cast<uint32_t>(slot));
    entry = DedupeEntry();
    ++evictions_;
  }
  return entry;
}

void DedupeWindow::Add(const DedupeEntry& entry) {
  const uint64_t slot = SlotOf(entry.sequence);
  Vacate(slot) = entry;
  index_.Insert(ShortHash(entry.key), static_cast<uint32_t>(slot));
  hash_ += HashEntry(entry);
}

void DedupeWindow::AddWithoutId(int64_t sequence) {
  const uint64_t slot = SlotOf(sequence);
  // Slots that were never used need not exist to be empty.
  if (slot < slots_.size()) Vacate(slot);
}

size_t DedupeWindow::MemoryBytes() const {
  return slots_.capacity() * sizeof(DedupeEntry) + index_.MemoryBytes();
}

Hash128 DedupeWindow::ComputeHash() const {
  Hash128 sum;
  for (const DedupeEntry& entry : slots_) {
    if (entry.sequence != 0) sum += HashEntry(entry);
  }
  return sum;
}

}  // namespace factord
