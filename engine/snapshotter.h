// Writes the rows that changed since the last snapshot, beside the writer, and trims the log.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>

#include "base/histogram.h"
#include "base/mutex.h"
#include "base/status.h"
#include "engine/engine.h"
#include "engine/ingest.h"
#include "engine/model_state.h"
#include "storage/store.h"

namespace factord {

// Thread-safe. The writer pays for a snapshot with the cut (a few pointers) and with the pre-images
// of the rows that it changes before the snapshot has come to them.
class Snapshotter {
 public:
  struct Options {
    std::chrono::milliseconds interval;  // 0: none
    int64_t log_bytes;                   // 0: none
    LogRetention log_retention;
    // See EngineOptions.
    std::function<void(const absl::StatusOr<SnapshotInfo>&, double seconds)> on_snapshot;
  };

  // The borrowed objects outlive this one, and Stop comes before Ingest::Stop.
  Snapshotter(Options options, Store* store, ModelState* state, Ingest* ingest);
  ~Snapshotter();

  // Counts logged bytes and begins a snapshot when there are enough. Cheap; called by the writer.
  void OnLogged(int64_t bytes);

  // A snapshot of the present, now. Waits for one that is under way first.
  absl::StatusOr<SnapshotInfo> Snapshot();

  // A snapshot, and then, while writing pauses, a copy of the folder with its state's hash.
  absl::StatusOr<BackupInfo> Backup(const std::string& path);

  // The last committed snapshot's; 0: none.
  int64_t snapshot_sequence() const { return snapshot_sequence_.load(std::memory_order_acquire); }

  // Fills in what is said of snapshots.
  void AddMetrics(EngineMetrics* metrics) const;

  // Ends the timer thread after the snapshot that is under way.
  void Stop();

 private:
  void Loop();
  absl::StatusOr<SnapshotInfo> SnapshotLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(snapshot_mu_);
  // While snapshot_mu_ is held by another thread, which waits.
  absl::StatusOr<SnapshotInfo> WriteSnapshot();
  void WriteRows(Cut& cut, SnapshotWriter* writer, Hash128* row_hash, absl::Status* status);

  const Options options_;
  Store* const store_;
  ModelState* const state_;
  Ingest* const ingest_;

  // Held for the length of a snapshot or backup: one at a time.
  Mutex snapshot_mu_;
  std::atomic<int64_t> snapshot_sequence_;
  std::atomic<bool> running_{false};
  std::atomic<int64_t> failures_{0};
  Histogram seconds_{kLongSecondsBounds};

  Mutex mu_;
  CondVar changed_;
  int64_t bytes_since_snapshot_ ABSL_GUARDED_BY(mu_) = 0;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace factord
