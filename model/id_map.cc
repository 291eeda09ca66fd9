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

// Where an id's bytes lie: two bytes of length, then the id.
using Record = const char*;
constexpr size_t kMaxIdBytes = 65'535;

absl::string_view Text(Record record) {
  uint16_t length;
  std::memcpy(&length, record, sizeof(length));
  return absl::string_view(record + sizeof(length), length);
}

// Bytes that never move.
class Arena {
 public:
  // Returns the bytes newly reserved from the system, usually 0.
  size_t Append(absl::string_view id, Record* record) {
    const uint16_t length = static_cast<uint16_t>(id.size());
    const size_t bytes = sizeof(length) + id.size();
    const size_t reserved = bytes > static_cast<size_t>(end_ - next_) ? Grow(bytes) : 0;
    std::memcpy(next_, &length, sizeof(length));
    if (!id.empty()) std::memcpy(next_ + sizeof(length), id.data(), id.size());
    *record = next_;
    next_ += bytes;
    return reserved;
  }

  // What appending `bytes` would reserve, but for what is left over at the ends of chunks.
  size_t GrowthFor(size_t bytes) const {
    size_t room = static_cast<size_t>(end_ - next_);
    size_t reserved = 0;
    for (size_t size = next_size_; room < bytes; size = std::min(size * 2, kLargestChunk)) {
      room += size;
      reserved += size;
    }
    return reserved;
  }

 private:
  static constexpr size_t kFirstChunk = size_t{64} << 10;
  static constexpr size_t kLargestChunk = size_t{1} << 20;

  size_t Grow(size_t at_least) {
    const size_t size = std::max(next_size_, at_least);
    next_size_ = std::min(next_size_ * 2, kLargestChunk);
    chunks_.emplace_back(new char[size]);
    next_ = chunks_.back().get();
    end_ = next_ + size;
    return size;
  }

  std::vector<std::unique_ptr<char[]>> chunks_;
  size_t next_size_ = kFirstChunk;
  char* next_ = nullptr;
  char* end_ = nullptr;
};

// index -> record. Chunk c holds (kFirst << c) entries, so a fixed handful of chunk pointers covers
// all indices and no entry ever moves: readers need no lock.
class RecordTable {
 public:
  ~RecordTable() {
    for (std::atomic<Record*>& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
  }
  Record Get(uint32_t index) const { return *At(index); }
  void Prefetch(uint32_t index) const { PrefetchLine(At(index)); }
  // Writer. Returns the bytes newly reserved.
  size_t Set(uint32_t index, Record record) {
    const Place place = PlaceOf(index);
    Record* chunk = chunks_[place.chunk].load(std::memory_order_relaxed);
    size_t reserved = 0;
    if (chunk == nullptr) {
      const size_t entries = kFirst << place.chunk;
      chunk = new Record[entries];
      reserved = entries * sizeof(Record);
      chunks_[place.chunk].store(chunk, std::memory_order_release);
    }
    chunk[place.offset] = record;
    return reserved;
  }
  // Writer. What setting the entries up to `size` would reserve. REQUIRES: size > 0.
  size_t GrowthFor(uint32_t size) const {
    size_t reserved = 0;
    for (int c = PlaceOf(size - 1).chunk;
         c >= 0 && chunks_[c].load(std::memory_order_relaxed) == nullptr; --c) {
      reserved += (kFirst << c) * sizeof(Record);
    }
    return reserved;
  }

 private:
  static constexpr int kFirstBits = 10;
  static constexpr uint64_t kFirst = uint64_t{1} << kFirstBits;
  static constexpr int kChunks = 33 - kFirstBits;

  struct Place {
    int chunk;
    uint64_t offset;
  };
  const Record* At(uint32_t index) const {
    const Place place = PlaceOf(index);
    return &chunks_[place.chunk].load(std::memory_order_acquire)[place.offset];
  }
  static Place PlaceOf(uint32_t index) {
    const uint64_t shifted = index + kFirst;
    const int chunk = std::bit_width(shifted) - 1 - kFirstBits;
    return {chunk, shifted - (kFirst << chunk)};
  }

  std::atomic<Record*> chunks_[kChunks] = {};
};

using Probe = IdMap::Probe;

Probe ProbeFor(absl::string_view id) {
  return {static_cast<uint32_t>(HashBytes64(id, HashIndex::Secret()) >> 32), id, std::nullopt};
}

}  // namespace

struct IdMap::Impl {
  std::optional<uint32_t> FindIn(const HashIndex& index, const Probe& probe) const {
    return index.Find(probe.hash,
                      [&](uint32_t candidate) { return Text(records.Get(candidate)) == probe.id; });
  }
  // The writer alone changes `by_hash`, so for it reading needs no lock.
  const HashIndex& IndexAsWriter() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return by_hash; }

  Arena arena;          // writer only
  RecordTable records;  // written by the writer, read by all
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
  if (probe->candidate.has_value()) impl_->records.Prefetch(*probe->candidate);
}

void IdMap::PrefetchTextAsWriter(const Probe& probe) const {
  if (probe.candidate.has_value()) PrefetchLine(impl_->records.Get(*probe.candidate));
}

std::optional<uint32_t> IdMap::FindAsWriter(const Probe& probe) const {
  if (probe.candidate.has_value() && id(*probe.candidate) == probe.id) return probe.candidate;
  return impl_->FindIn(impl_->IndexAsWriter(), probe);
}

uint32_t IdMap::Add(absl::string_view id) {
  assert(id.size() <= kMaxIdBytes);
  const uint32_t index = impl_->size.load(std::memory_order_relaxed);
  Record record;
  size_t reserved = impl_->arena.Append(id.substr(0, kMaxIdBytes), &record);
  reserved += impl_->records.Set(index, record);
  // Before the hash, so that whoever finds the id also finds size() beyond its index.
  impl_->size.store(index + 1, std::memory_order_release);
  {
    WriterMutexLock lock(&impl_->mu);
    reserved += impl_->by_hash.GrowthFor(1);
    impl_->by_hash.Insert(ProbeFor(id).hash, index);
  }
  impl_->bytes.fetch_add(reserved, std::memory_order_relaxed);
  return index;
}

size_t IdMap::GrowthFor(size_t ids, size_t text_bytes) const {
  if (ids == 0) return 0;
  const size_t size = this->size() + ids;
  return impl_->arena.GrowthFor(text_bytes + ids * sizeof(uint16_t)) +
         impl_->records.GrowthFor(static_cast<uint32_t>(size)) +
         impl_->IndexAsWriter().GrowthFor(ids);
}

std::optional<uint32_t> IdMap::Find(absl::string_view id) const {
  ReaderMutexLock lock(&impl_->mu);
  return impl_->FindIn(impl_->by_hash, ProbeFor(id));
}

absl::string_view IdMap::id(uint32_t index) const { return Text(impl_->records.Get(index)); }

uint32_t IdMap::size() const { return impl_->size.load(std::memory_order_acquire); }

size_t IdMap::MemoryBytes() const {
  return sizeof(Impl) + impl_->bytes.load(std::memory_order_relaxed);
}

}  // namespace factord
