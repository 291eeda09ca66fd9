// The event log in the log family of the database. Internal to storage.
//
// An Append becomes one WriteBatch of log records ("chunks"), each under the sequence of its first
// event; RocksDB's WAL makes the batch atomic and durable. Trimming writes, in one batch too, how
// far the log has been trimmed and a tombstone over the range, so that an empty log still knows
// where it goes on, and a log that lost its beginning is told from one that was trimmed.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "rocksdb/write_batch.h"
#include "storage/event_log.h"
#include "storage/rocks_database.h"
#include "storage/store.h"

namespace factord {

// Thread-safe, but for one appending thread (EventLog's contract).
class RocksLog : public EventLog {
 public:
  // Reads where the log begins and ends, and checks that it goes on from `snapshot_sequence`.
  // `database` and `failure` outlive the log. DATA_LOSS: a damaged record, or events that ought to
  // be there are not.
  static absl::StatusOr<std::unique_ptr<RocksLog>> Open(const RocksDatabase* database,
                                                        FailureLatch* failure,
                                                        Durability durability,
                                                        int64_t snapshot_sequence);

  absl::Status Append(absl::Span<const Event> events) override;
  absl::Status Sync() override;
  absl::StatusOr<std::unique_ptr<LogCursor>> ReadFrom(int64_t sequence) override;
  LogRange range() const override;
  absl::Status TrimThrough(int64_t sequence) override;
  absl::Status health() const override { return failure_->Get(); }
  LogMetrics metrics() const override;

  // From now on appends, syncs and trims return `why`, an error, and nothing is written; until
  // AllowWrites.
  void RefuseWrites(absl::Status why);
  void AllowWrites() { RefuseWrites(absl::OkStatus()); }

  // A snapshot has been committed: the log may be trimmed through `sequence`, and no further.
  void SetSnapshotSequence(int64_t sequence);

 private:
  RocksLog(const RocksDatabase* database, FailureLatch* failure, Durability durability)
      : database_(database), failure_(failure), durability_(durability) {}

  absl::Status ReadRange(int64_t snapshot_sequence);
  // DATA_LOSS if a record begins at `sequence`, or where it would lie cannot be read. A scan does
  // not always tell: RocksDB 7.8's ends before a file that cannot be read as if there were none.
  absl::Status CheckNothingAt(int64_t sequence) const;
  absl::StatusOr<int64_t> ReadTrimmed() const;
  absl::Status CheckWritable() const;
  absl::Status CheckEvents(absl::Span<const Event> events) const;
  // Latches a failed write and passes it on.
  absl::Status Failed(const absl::Status& status);
  absl::StatusOr<int64_t> RecordStart(int64_t sequence) const;
  void SetFirst(int64_t first);
  absl::Status WriteTrim(int64_t first, int64_t new_first);
  absl::Status WriteEvents(absl::Span<const Event> events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);

  const RocksDatabase* const database_;
  FailureLatch* const failure_;
  const Durability durability_;
  Histogram append_seconds_{kSecondsBounds};
  Histogram sync_seconds_{kSecondsBounds};

  // Held while the WAL is written or synced, and while it is asked whether it may be: after a
  // failure RocksDB is not to be called again (Debian's build would assert). Taken before mu_.
  Mutex write_mu_;
  rocksdb::WriteBatch batch_ ABSL_GUARDED_BY(write_mu_);
  std::string record_ ABSL_GUARDED_BY(write_mu_);

  mutable Mutex mu_;
  LogRange range_ ABSL_GUARDED_BY(mu_);
  int64_t snapshot_sequence_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
};

}  // namespace factord
