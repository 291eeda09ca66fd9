// A data folder: its identity, the event log, and the last snapshot of the model's state, in
// RocksDB.
//
//   FACTORD_RETURN_IF_ERROR(Store::Create("/data", config));          // once
//   FACTORD_ASSIGN_OR_RETURN(auto store, Store::Open(options));
//   ... load rows, replay store->log() after the snapshot ...
//   FACTORD_ASSIGN_OR_RETURN(auto writer, store->NewSnapshot());
//   ... writer->AddRow(...) ...; writer->Commit(meta);                 // all or nothing
//   store->CloseClean({sequence, hash});
//
// Folder: IDENTITY (text: format version, configuration, checksum), EVIDENCE (after a clean close:
// last sequence and hash), LOCK, db/ (RocksDB), tmp/ (snapshot files being written; emptied at
// start).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/hash128.h"
#include "base/status.h"
#include "storage/event_log.h"
#include "storage/records.h"

namespace factord {

// The configuration of the model in a folder, as names and values; fixed when the folder is
// created. What they mean is the engine's business.
using ConfigFields = std::map<std::string, std::string>;

// When an appended event counts as durable.
enum class Durability {
  kSync,   // after fsync: survives a power loss
  kAsync,  // after write: survives a crash of the process; a power loss may take the newest events
};

// A state that the folder vouches for: written at a clean close and into a backup, checked at the
// next start.
struct StateEvidence {
  int64_t sequence = 0;
  Hash128 hash;
};

// Writes a snapshot. Rows of one side come in order of index, users and items in any order relative
// to each other; dedupe entries in order of slot, producers in bytewise order of id. Nothing is
// visible before Commit, and an instance that is destroyed without it leaves nothing behind. It
// must not outlive its store. Thread-compatible.
class SnapshotWriter {
 public:
  virtual ~SnapshotWriter() = default;
  // `payload` is EncodeRow's.
  virtual absl::Status AddRow(Side side, uint32_t index, absl::string_view payload) = 0;
  virtual absl::Status AddDedupeEntry(uint64_t slot, const DedupeEntry& entry) = 0;
  virtual absl::Status AddProducer(const Producer& producer) = 0;
  // Makes the rows and `meta` the store's snapshot, atomically and durably. The log is synced
  // through meta.sequence first. RESOURCE_EXHAUSTED when the disk is full; the former snapshot then
  // stays.
  virtual absl::Status Commit(const SnapshotMeta& meta) = 0;
};

// Thread-safe, but for one writer of the log and one snapshot at a time.
class Store {
 public:
  struct Options {
    std::string path;
    Durability durability = Durability::kSync;
    // Bytes a second at which a snapshot is written at the most, so that it does not starve the
    // log. 0: no limit.
    int64_t snapshot_bytes_per_second = int64_t{100} << 20;
    // Opens without writing anything (offline tools): a folder in use may not be opened.
    bool read_only = false;
  };

  // Makes a folder. FAILED_PRECONDITION if `path` holds anything already, DATA_LOSS if that is a
  // store that has lost its identity; creates it (not its parents) if it is not there. A creation
  // that was cut off is completed by calling it again.
  static absl::Status Create(const std::string& path, const ConfigFields& config);

  // True if `path` holds a completely created store.
  static bool Exists(const std::string& path);

  // NOT_FOUND: nothing there. FAILED_PRECONDITION: in use, or another format version (both are
  // named), or no data folder of ours. DATA_LOSS, naming the file: damaged. PERMISSION_DENIED:
  // read-only.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const Options& options);

  virtual ~Store() = default;

  virtual const ConfigFields& config() const = 0;
  virtual EventLog* log() = 0;

  // The committed snapshot; sequence 0 when there is none.
  virtual SnapshotMeta snapshot() const = 0;
  // When it was committed, in seconds since 1970; 0 when there is none. After a restart it is the
  // age of the file that it lies in, which a compaction may have written anew a little later.
  virtual int64_t snapshot_unix_seconds() const = 0;

  // Calls `visit` for each row of a side in order of index (the row is reused), or dedupe entry, or
  // producer; stops at its first error. DATA_LOSS, naming the key, for a damaged record; ReadRows
  // also for a missing or surplus row, against snapshot().
  virtual absl::Status ReadRows(Side side,
                                const std::function<absl::Status(const Row&)>& visit) = 0;
  virtual absl::Status ReadDedupe(
      const std::function<absl::Status(uint64_t slot, const DedupeEntry&)>& visit) = 0;
  virtual absl::Status ReadProducers(const std::function<absl::Status(const Producer&)>& visit) = 0;

  // One at a time.
  virtual absl::StatusOr<std::unique_ptr<SnapshotWriter>> NewSnapshot() = 0;
  // From now on snapshots, one that is being written included, go as fast as the disk takes them:
  // when nothing else is left to do. Any thread.
  virtual void LiftSnapshotLimit() = 0;

  // What the folder vouches for, if it was closed cleanly or is a backup.
  virtual std::optional<StateEvidence> evidence() const = 0;
  // To be called, once the evidence has been checked, before the first append.
  virtual absl::Status ClearEvidence() = 0;
  // Flushes everything and leaves the evidence. The last call before destruction.
  virtual absl::Status CloseClean(const StateEvidence& evidence) = 0;

  // Makes a complete folder at `path` (which must not exist; its parent is made if need be) with
  // the store as it is now and `evidence` in it. No append may run meanwhile. Files are hard links
  // where the file system allows it.
  virtual absl::Status CopyTo(const std::string& path, const StateEvidence& evidence) = 0;

  // `status`, and if that is DATA_LOSS also the name of a damaged file, if the checksum of any
  // block of the database does not match: reads all of it. RocksDB does not always say the name.
  // And a scan, RocksDB 7.8's, says nothing where the first block of a file is damaged: it ends
  // there as if all were read.
  virtual absl::Status NameDamage(const absl::Status& status) = 0;

  // Free bytes on the folder's file system, for this process.
  virtual absl::StatusOr<int64_t> FreeBytes() const = 0;

  // What the store keeps in memory: newest records, cached blocks, indices of files.
  virtual int64_t MemoryBytes() const = 0;
};

}  // namespace factord
