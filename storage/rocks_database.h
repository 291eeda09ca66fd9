// What the parts of the RocksDB store share: column families, keys, options, the mapping of errors,
// and the opened database. Internal to storage.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "base/status.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "storage/records.h"

namespace factord {

// The families after kLog are only ever written by ingesting the files of a snapshot, all in one
// atomic step. A Put into one of them would leave a memtable that the next ingestion has to flush
// first.
enum class Family { kControl, kLog, kUsers, kItems, kDedupe, kProducers, kMeta };
inline constexpr int kFamilies = 7;

// Its name in RocksDB. kControl is RocksDB's "default".
absl::string_view FamilyName(Family family);

inline Family RowFamily(Side side) { return side == Side::kUser ? Family::kUsers : Family::kItems; }

// Keys. Each begins with a letter for its kind, so that a record's checksum, which covers its key,
// also tells when it lies in the wrong family. Numbers are big-endian: bytewise order is their
// order.
std::string LogKey(int64_t first_sequence);
std::string RowKey(Side side, uint32_t index);
std::string DedupeKey(uint64_t slot);
std::string ProducerKey(absl::string_view id);
inline constexpr absl::string_view kMetaKey = "M";
inline constexpr absl::string_view kIdentityKey = "identity";
inline constexpr absl::string_view kTrimmedKey = "trimmed";
// The number behind the letter of a key; false if the key is no `letter` with a number of T's size.
bool ParseKey(absl::string_view key, char letter, uint64_t* number);
bool ParseKey(absl::string_view key, char letter, uint32_t* number);

inline rocksdb::Slice ToSlice(absl::string_view v) { return {v.data(), v.size()}; }
inline absl::string_view ToView(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

// `status` as ours, its message behind `what`. RESOURCE_EXHAUSTED: disk full. DATA_LOSS:
// corruption, or a file of the database is missing. PERMISSION_DENIED: read-only. UNAVAILABLE:
// another I/O error.
absl::Status ToStatus(const rocksdb::Status& status, absl::string_view what);

// What a database says that has gone back in time: a cut-off manifest or log reads like an earlier
// one. Which of the two it was cannot be told.
inline constexpr absl::string_view kEndIsLost =
    "the end of the database's MANIFEST or of its log is lost";

// Holds the first failure for good. Thread-safe.
class FailureLatch {
 public:
  // Keeps `failure` if it is the first.
  void Set(const absl::Status& failure);
  absl::Status Get() const;

 private:
  mutable Mutex mu_;
  absl::Status first_ ABSL_GUARDED_BY(mu_);
};

// The opened database. Thread-safe.
class RocksDatabase {
 public:
  enum class Mode { kCreate, kReadWrite, kReadOnly };

  // `env` is where RocksDB reads and writes (tests inject faults there); null: the usual one.
  // Failures in the background after which RocksDB refuses writes go to *failure. Both outlive the
  // database.
  static absl::StatusOr<std::unique_ptr<RocksDatabase>> Open(const std::string& path, Mode mode,
                                                             rocksdb::Env* env,
                                                             FailureLatch* failure);
  ~RocksDatabase();

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* family(Family family) const {
    return handles_[static_cast<size_t>(family)];
  }
  // The options that a file to be ingested into `family` is written with.
  rocksdb::Options FileOptions(Family family) const;

  // A checksummed record. NOT_FOUND: there is none.
  absl::StatusOr<std::string> GetRecord(Family family, absl::string_view key) const;

  // Calls `visit` with key and payload of each record in order of their keys.
  absl::Status Scan(Family family,
                    const std::function<absl::Status(absl::string_view key,
                                                     absl::string_view payload)>& visit) const;

  // Flushes what Put and Write have written, so that no WAL is needed for it.
  absl::Status Flush() const;

  // DATA_LOSS, naming the file, if a block of a table does not match its checksum, or if a table
  // does not end as one.
  absl::Status VerifyFiles() const;

  // For monitoring: the sizes of the WALs and of the log's files, and what RocksDB keeps in memory.
  // Nothing is read from disk but the database's folder.
  int64_t LogBytes() const;
  int64_t MemoryBytes() const;
  // When the newest file of `family` was written, in seconds since 1970; 0: there is none.
  int64_t NewestFileSeconds(Family family) const;

 private:
  RocksDatabase(std::string path, const rocksdb::Options& options,
                std::unique_ptr<rocksdb::Env> env)
      : path_(std::move(path)), env_(std::move(env)), options_(options) {}

  const std::string path_;
  const std::unique_ptr<rocksdb::Env> env_;  // of options_
  const rocksdb::Options options_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies> handles_{};
};

// For reads from one end to the other: checked, read ahead, and not kept in the cache.
rocksdb::ReadOptions ScanOptions();

}  // namespace factord
