// Writes a snapshot as SST files and ingests them in one atomic step. Internal to storage.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rocksdb/rate_limiter.h"
#include "rocksdb/sst_file_writer.h"
#include "storage/rocks_database.h"
#include "storage/rocks_log.h"
#include "storage/store.h"

namespace factord {

// The files in the making of one family: a new one when the last is full, so that compaction later
// moves pieces of bounded size. Files that are not handed over are removed. Thread-compatible.
class SstSeries {
 public:
  // `database` and `limiter` (null: no limit) outlive it.
  SstSeries(const RocksDatabase* database, Family family, const std::string& folder,
            rocksdb::RateLimiter* limiter);
  ~SstSeries();

  // REQUIRES: keys in ascending order.
  absl::Status Put(absl::string_view key, absl::string_view value);
  // Finishes and syncs the last file.
  absl::Status Finish();
  const std::vector<std::string>& files() const { return files_; }

 private:
  absl::Status OpenFile();

  const std::string prefix_;
  const std::string what_;
  const rocksdb::Options options_;
  rocksdb::EnvOptions env_options_;
  std::unique_ptr<rocksdb::SstFileWriter> writer_;
  std::vector<std::string> files_;
};

// Store::NewSnapshot's writer. Thread-compatible.
class RocksSnapshotWriter : public SnapshotWriter {
 public:
  struct Parts {
    const RocksDatabase* database = nullptr;
    RocksLog* log = nullptr;
    std::string folder;                                  // for the files in the making
    rocksdb::RateLimiter* limiter = nullptr;             // of what is written; null: none
    int64_t former_sequence = 0;                         // of the snapshot that this one replaces
    std::function<void(const SnapshotMeta&)> on_commit;  // called when it has become the snapshot
    std::shared_ptr<void> token;                         // held as long as the writer lives
  };
  explicit RocksSnapshotWriter(Parts parts);

  absl::Status AddRow(Side side, uint32_t index, absl::string_view payload) override;
  absl::Status AddDedupeEntry(uint64_t slot, const DedupeEntry& entry) override;
  absl::Status AddProducer(const Producer& producer) override;
  absl::Status Commit(const SnapshotMeta& meta) override;

 private:
  // Seals buffer_ and adds it. After an error every later call returns it.
  absl::Status Add(Family family, absl::string_view key);
  absl::Status CommitOnce(const SnapshotMeta& meta);
  absl::Status CheckMeta(const SnapshotMeta& meta) const;
  absl::Status Ingest();
  SstSeries& series(Family family) { return *series_[static_cast<size_t>(family)]; }

  const Parts parts_;
  std::array<std::unique_ptr<SstSeries>, kFamilies> series_;  // none for the first two families
  std::string buffer_;
  absl::Status status_;
};

}  // namespace factord
