#include "model/id_map.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cassert>
#include <cstring>
#include <vector>

#include "base/hash128.h"
#include "base/hash_index.h"
#include "base/mutex.h"
#include "base/prefetch.h"

namespace factord {
namespace {

constexpr size_t kMaxIdBytes = 65'534;

// The ids by index, each behind two bytes of its length, in chunks that never move. A pointer is
// kept to each fourth; those between follow one another. Readers need no lock.
class Texts {
 public:
  ~Texts() {
    for (std::atomic<const char**>& table : tables_) delete[] table.load(std::memory_order_relaxed);
  }

  // REQUIRES: index < size of what the writer has published.
  absl::string_view Get(uint32_t index) const {
    const char* record = Follow(*PlaceOf(index));
    for (uint32_t n = index % kGroup; n > 0; --n) record = Follow(record + Bytes(Length(record)));
    return absl::string_view(record + sizeof(uint16_t), Length(record));
  }
  void PrefetchPlace(uint32_t index) const { PrefetchLine(PlaceOf(index)); }
  // Of the group's first bytes, which an index leads to.
  void PrefetchText(uint32_t index) const {
    const char* const group = *PlaceOf(index);
    PrefetchLine(group);
    PrefetchLine(group + 64);
  }

  // Writer: the id of the next index, which is `index`. Returns the bytes newly reserved from the
  // system, usually 0. REQUIRES: at most kMaxIdBytes.
  size_t Append(uint32_t index, absl::string_view id) {
    size_t reserved = 0;
    if (Bytes(id.size()) + kLinkBytes > static_cast<size_t>(end_ - next_)) {
      char* const left = next_;
      reserved += NewChunk(Bytes(id.size()) + kLinkBytes);
      if (index % kGroup != 0) WriteLink(left, next_);
    }
    if (index % kGroup == 0) {
      reserved += TableFor(index);
      *PlaceOf(index) = next_;
    }
    const auto length = static_cast<uint16_t>(id.size());
    std::memcpy(next_, &length, sizeof(length));
    if (!id.empty()) std::memcpy(next_ + sizeof(length), id.data(), id.size());
    next_ += Bytes(id.size());
    return reserved;
  }

  // Writer: what appending `ids` of `bytes` in all would reserve, `size` being there, but for what
  // is left over at the ends of chunks.
  size_t GrowthFor(uint32_t size, size_t ids, size_t bytes) const {
    size_t room = static_cast<size_t>(end_ - next_);
    size_t reserved = 0;
    const size_t needed = bytes + ids * sizeof(uint16_t) + kLinkBytes;
    for (size_t chunk = next_chunk_; room < needed; chunk = std::min(chunk * 2, kLargestChunk)) {
      room += chunk;
      reserved += chunk;
    }
    for (int t = TableOf(static_cast<uint32_t>(size + ids - 1)).table;
         t >= 0 && tables_[t].load(std::memory_order_relaxed) == nullptr; --t) {
      reserved += TableBytes(t);
    }
    return reserved;
  }

 private:
  static constexpr uint32_t kGroup = 4;
  static constexpr size_t kFirstChunk = size_t{64} << 10;
  static constexpr size_t kLargestChunk = size_t{1} << 20;
  // Where a chunk ends within a group: this in place of a length, then where the group goes on.
  static constexpr uint16_t kLink = 0xffff;
  static constexpr size_t kLinkBytes = sizeof(kLink) + sizeof(const char*);
  static_assert(kMaxIdBytes < kLink);
  // Table t has (kFirst << t) groups, so a handful of tables covers all indices and none moves.
  static constexpr int kFirstBits = 8;
  static constexpr uint64_t kFirst = uint64_t{1} << kFirstBits;
  static constexpr int kTables = 33 - kFirstBits;

  struct Place {
    int table;
    uint64_t offset;
  };
  static Place TableOf(uint32_t index) {
    const uint64_t shifted = index / kGroup + kFirst;
    const int table = std::bit_width(shifted) - 1 - kFirstBits;
    return {table, shifted - (kFirst << table)};
  }
  static size_t TableBytes(int table) { return (kFirst << table) * sizeof(const char*); }
  const char** PlaceOf(uint32_t index) const {
    const Place place = TableOf(index);
    return &tables_[place.table].load(std::memory_order_acquire)[place.offset];
  }
  static uint16_t Length(const char* record) {
    uint16_t length;
    std::memcpy(&length, record, sizeof(length));
    return length;
  }
  static size_t Bytes(size_t length) { return sizeof(uint16_t) + length; }
  static const char* Follow(const char* record) {
    if (Length(record) != kLink) return record;
    const char* next;
    std::memcpy(&next, record + sizeof(kLink), sizeof(next));
    return next;
  }
  static void WriteLink(char* at, const char* next) {
    std::memcpy(at, &kLink, sizeof(kLink));
    std::memcpy(at + sizeof(kLink), &next, sizeof(next));
  }

  size_t NewChunk(size_t at_least) {
    const size_t size = std::max(next_chunk_, at_least);
    next_chunk_ = std::min(next_chunk_ * 2, kLargestChunk);
    chunks_.emplace_back(new char[size]);
    next_ = chunks_.back().get();
    end_ = next_ + size;
    return size;
  }
  // Makes the index's table if it is the first there. Returns its bytes.
  size_t TableFor(uint32_t index) {
    const int table = TableOf(index).table;
    if (tables_[table].load(std::memory_order_relaxed) != nullptr) return 0;
    tables_[table].store(new const char*[kFirst << table], std::memory_order_release);
    return TableBytes(table);
  }

  std::vector<std::unique_ptr<char[]>> chunks_;
  size_t next_chunk_ = kFirstChunk;
  char* next_ = nullptr;
  char* end_ = nullptr;
  std::atomic<const char**> tables_[kTables] = {};
};

using Probe = IdMap::Probe;

Probe ProbeFor(absl::string_view id) {
  return {static_cast<uint32_t>(HashBytes64(id, HashIndex::Secret()) >> 32), id, std::nullopt};
}

}  // namespace

struct IdMap::Impl {
  std::optional<uint32_t> FindIn(const HashIndex& index, const Probe& probe) const {
    return index.Find(probe.hash,
                      [&](uint32_t candidate) { return texts.Get(candidate) == probe.id; });
  }
  // The writer alone changes `by_hash`, so for it reading needs no lock.
  const HashIndex& IndexAsWriter() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return by_hash; }

  Texts texts;
  std::atomic<uint32_t> size{0};
  std::atomic<size_t> bytes{0};
  mutable SharedMutex mu;
  HashIndex by_hash ABSL_GUARDED_BY(mu);
};

IdMap::IdMap() : impl_(std::make_unique<Impl>()) {}
IdMap::~IdMap() = default;

std::optional<uint32_t> IdMap::FindAsWriter(absl::string_view id) const {
  return FindAsWriter(ProbeFor(id));
}

IdMap::Probe IdMap::PrefetchAsWriter(absl::string_view id) const {
  const Probe probe = ProbeFor(id);
  impl_->IndexAsWriter().Prefetch(probe.hash);
  return probe;
}

void IdMap::FindCandidateAsWriter(Probe* probe) const {
  probe->candidate = impl_->IndexAsWriter().Find(probe->hash, [](uint32_t) { return true; });
  if (probe->candidate.has_value()) impl_->texts.PrefetchPlace(*probe->candidate);
}

void IdMap::PrefetchTextAsWriter(const Probe& probe) const {
  if (probe.candidate.has_value()) impl_->texts.PrefetchText(*probe.candidate);
}

std::optional<uint32_t> IdMap::FindAsWriter(const Probe& probe) const {
  if (probe.candidate.has_value() && id(*probe.candidate) == probe.id) return probe.candidate;
  return impl_->FindIn(impl_->IndexAsWriter(), probe);
}

uint32_t IdMap::Add(absl::string_view id) {
  assert(id.size() <= kMaxIdBytes);
  const uint32_t index = impl_->size.load(std::memory_order_relaxed);
  size_t reserved = impl_->texts.Append(index, id.substr(0, kMaxIdBytes));
  // Before the hash, so that whoever finds the id also finds size() beyond its index.
  impl_->size.store(index + 1, std::memory_order_release);
  const uint32_t hash = ProbeFor(id).hash;
  const size_t growth = impl_->IndexAsWriter().GrowthFor(1);
  reserved += growth;
  // Readers wait for the exchange alone: of millions, growing takes some time.
  HashIndex larger;
  if (growth > 0) larger = impl_->IndexAsWriter().WithRoomFor(index + size_t{1});
  {
    WriterMutexLock lock(&impl_->mu);
    if (growth > 0) std::swap(impl_->by_hash, larger);
    impl_->by_hash.Insert(hash, index);
  }
  impl_->bytes.fetch_add(reserved, std::memory_order_relaxed);
  return index;
}

size_t IdMap::GrowthFor(size_t ids, size_t text_bytes) const {
  if (ids == 0) return 0;
  return impl_->texts.GrowthFor(size(), ids, text_bytes) + impl_->IndexAsWriter().GrowthFor(ids);
}

std::optional<uint32_t> IdMap::Find(absl::string_view id) const {
  ReaderMutexLock lock(&impl_->mu);
  return impl_->FindIn(impl_->by_hash, ProbeFor(id));
}

absl::string_view IdMap::id(uint32_t index) const { return impl_->texts.Get(index); }

uint32_t IdMap::size() const { return impl_->size.load(std::memory_order_acquire); }

size_t IdMap::MemoryBytes() const {
  return sizeof(Impl) + impl_->bytes.load(std::memory_order_relaxed);
}

}  // namespace factord
