// Ids of one side and their row indices, in order of creation.
//
//   std::optional<uint32_t> index = ids.FindAsWriter("alice");
//   if (!index) index = ids.Add("alice");
//   ids.id(*index);  // "alice"
//
// An id costs its bytes plus some 15: two of length, two in the table by index, 10 to 13 where it
// is found by its hash (base/hash_index.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/strings/string_view.h"

namespace factord {

// Maps id -> index (0, 1, 2, ...) and back. Ids are never removed, and their bytes never move. One
// thread adds; any thread looks up meanwhile.
class IdMap {
 public:
  IdMap();
  ~IdMap();
  IdMap(const IdMap&) = delete;
  IdMap& operator=(const IdMap&) = delete;

  // Writer only: no lock is taken, since nobody else changes the map.
  std::optional<uint32_t> FindAsWriter(absl::string_view id) const;
  // The same in four steps: each asks memory for where the next one will look. The id lives until
  // the last.
  struct Probe {
    uint32_t hash = 0;
    absl::string_view id;
    std::optional<uint32_t> candidate;  // of the same hash, so nearly always the one
  };
  Probe PrefetchAsWriter(absl::string_view id) const;
  void FindCandidateAsWriter(Probe* probe) const;
  void PrefetchTextAsWriter(const Probe& probe) const;
  std::optional<uint32_t> FindAsWriter(const Probe& probe) const;
  // Writer only. The new id's index. REQUIRES: not there yet, at most 65,534 bytes.
  uint32_t Add(absl::string_view id);

  // Any thread: a short shared lock. What is found is below size(); the id added last may be
  // within size() a moment before it is found.
  std::optional<uint32_t> Find(absl::string_view id) const;

  // Any thread, no lock. REQUIRES: index < size() as seen by this thread.
  absl::string_view id(uint32_t index) const;
  uint32_t size() const;

  // Any thread: bytes in use.
  size_t MemoryBytes() const;
  // Writer only: by how much MemoryBytes would grow with this many more ids of `text_bytes` in all,
  // to a chunk of text (1 MiB at the most). The table of hashes grows by a quarter at times, which
  // is most of it.
  size_t GrowthFor(size_t ids, size_t text_bytes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace factord
