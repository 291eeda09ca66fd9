// The Store over RocksDB. Internal to storage: everything else uses storage/store.h. What tests
// need besides stands here.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "rocksdb/env.h"
#include "rocksdb/rate_limiter.h"
#include "storage/file_util.h"
#include "storage/identity.h"
#include "storage/rocks_database.h"
#include "storage/rocks_log.h"
#include "storage/store.h"

namespace factord {

class RocksStore : public Store {
 public:
  // Store::Open, but RocksDB reads and writes through `env` (null: the usual one), which outlives
  // the store. Tests inject faults there.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const Options& options, rocksdb::Env* env);

  const ConfigFields& config() const override { return identity_.config; }
  EventLog* log() override { return log_.get(); }
  SnapshotMeta snapshot() const override;
  int64_t snapshot_unix_seconds() const override;
  absl::Status ReadRows(Side side, const std::function<absl::Status(const Row&)>& visit) override;
  absl::Status ReadDedupe(
      const std::function<absl::Status(uint64_t slot, const DedupeEntry&)>& visit) override;
  absl::Status ReadProducers(const std::function<absl::Status(const Producer&)>& visit) override;
  absl::StatusOr<std::unique_ptr<SnapshotWriter>> NewSnapshot() override;
  void LiftSnapshotLimit() override;
  std::optional<StateEvidence> evidence() const override;
  absl::Status ClearEvidence() override;
  absl::Status CloseClean(const StateEvidence& evidence) override;
  absl::Status CopyTo(const std::string& path, const StateEvidence& evidence) override;
  absl::StatusOr<int64_t> FreeBytes() const override;
  absl::Status NameDamage(const absl::Status& status) override;
  int64_t MemoryBytes() const override { return database_->MemoryBytes(); }

 private:
  explicit RocksStore(const Options& options);

  absl::Status OpenFolder();
  absl::Status OpenDatabase(rocksdb::Env* env);
  // All that is read when a store is opened, once there is a database.
  absl::Status ReadContents();
  absl::Status CheckIdentityCopy();
  absl::Status ReadSnapshotMeta();
  absl::Status ReadEvidence();
  absl::Status CheckNotReadOnly() const;
  // Whether `evidence` can be of the state now in the store, and all of it is known to be on disk.
  absl::Status CheckVouchable(const StateEvidence& evidence) const;
  absl::Status FillCopy(const std::string& path, const StateEvidence& evidence);
  void SetSnapshot(const SnapshotMeta& meta, int64_t unix_seconds);
  std::string PathOf(absl::string_view name) const;

  const Options options_;
  // In the order in which they depend on each other: the last goes first.
  FolderLock lock_;
  Identity identity_;
  FailureLatch failure_;
  std::unique_ptr<rocksdb::RateLimiter> snapshot_limiter_;  // null: no limit
  std::unique_ptr<RocksDatabase> database_;
  std::unique_ptr<RocksLog> log_;

  mutable Mutex mu_;
  SnapshotMeta snapshot_ ABSL_GUARDED_BY(mu_);
  int64_t snapshot_unix_seconds_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<StateEvidence> evidence_ ABSL_GUARDED_BY(mu_);
  // Alive as long as a snapshot is being written.
  std::weak_ptr<void> snapshot_token_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
