#include "engine/snapshotter.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/kill_point.h"
#include "base/low_priority.h"

namespace factord {
namespace {

// After a failed snapshot the next try waits this long.
constexpr std::chrono::seconds kRetryDelay{10};

SnapshotMeta MetaOf(const Cut& cut, const Hash128& hash) {
  SnapshotMeta meta;
  meta.sequence = cut.sequence;
  meta.hash = hash;
  meta.users = cut.users;
  meta.items = cut.items;
  meta.producers = cut.producer_count;
  meta.scored_events = cut.statistics.events;
  meta.absolute_error_sum = cut.statistics.absolute_error_sum;
  meta.squared_error_sum = cut.statistics.squared_error_sum;
  meta.fading_absolute_error = cut.statistics.fading_absolute_error;
  meta.fading_squared_error = cut.statistics.fading_squared_error;
  meta.fading_weight = cut.statistics.fading_weight;
  meta.passive_updates = cut.statistics.passive_updates;
  meta.clipped_updates = cut.statistics.clipped_updates;
  meta.globals = cut.globals;
  return meta;
}

// The entries that the window still holds at the cut, in order of their slots.
absl::Status WriteDedupeEntries(const Cut& cut, const DedupeWindow& window,
                                SnapshotWriter* writer) {
  const auto first_since = [&](int64_t sequence) {
    return std::lower_bound(
        cut.dedupe_entries.begin(), cut.dedupe_entries.end(), sequence,
        [](const DedupeEntry& entry, int64_t from) { return entry.sequence < from; });
  };
  const auto write = [&](auto from, auto to) {
    for (; from != to; ++from) {
      FACTORD_RETURN_IF_ERROR(writer->AddDedupeEntry(window.SlotOf(from->sequence), *from));
    }
    return absl::OkStatus();
  };
  // They are in order of their sequences, and slots go round.
  const auto held = first_since(cut.sequence - window.window() + 1);
  const auto slot_zero = first_since(cut.sequence - cut.sequence % window.window());
  FACTORD_RETURN_IF_ERROR(write(slot_zero, cut.dedupe_entries.end()));
  return write(held, slot_zero);
}

absl::Status WriteProducers(const Cut& cut, SnapshotWriter* writer) {
  const std::map<absl::string_view, int64_t> by_id(cut.producers.begin(), cut.producers.end());
  for (const auto& [id, number] : by_id) {
    FACTORD_RETURN_IF_ERROR(writer->AddProducer({id, number}));
  }
  return absl::OkStatus();
}

}  // namespace

Snapshotter::Snapshotter(Options options, Store* store, ModelState* state, Ingest* ingest)
    : options_(options),
      store_(store),
      state_(state),
      ingest_(ingest),
      snapshot_sequence_(store->snapshot().sequence),
      thread_([this] { Loop(); }) {}

Snapshotter::~Snapshotter() { Stop(); }

void Snapshotter::Stop() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  changed_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

void Snapshotter::OnLogged(int64_t bytes) {
  bool due;
  {
    MutexLock lock(&mu_);
    bytes_since_snapshot_ += bytes;
    due = options_.log_bytes > 0 && bytes_since_snapshot_ >= options_.log_bytes;
  }
  if (due) changed_.NotifyOne();
}

void Snapshotter::Loop() {
  using Clock = std::chrono::steady_clock;
  const bool timed = options_.interval.count() > 0;
  Clock::time_point next = timed ? Clock::now() + options_.interval : Clock::time_point::max();
  Clock::time_point not_before = Clock::now();
  while (true) {
    {
      MutexLock lock(&mu_);
      while (!stop_) {
        const Clock::time_point now = Clock::now();
        const bool full = options_.log_bytes > 0 && bytes_since_snapshot_ >= options_.log_bytes;
        if ((full && now >= not_before) || now >= next) break;
        const Clock::time_point wake = full ? std::min(next, not_before) : next;
        if (wake == Clock::time_point::max()) {
          changed_.Wait(&mu_);
        } else {
          changed_.WaitUntil(&mu_, wake);
        }
      }
      if (stop_) return;
    }
    const bool failed = state_->visible_sequence() > snapshot_sequence() && !Snapshot().ok();
    const Clock::time_point now = Clock::now();
    next = timed ? now + options_.interval : Clock::time_point::max();
    if (failed) {  // on_snapshot has been told
      not_before = now + kRetryDelay;
      next = std::min(next, not_before);
    }
  }
}

absl::StatusOr<SnapshotInfo> Snapshotter::Snapshot() {
  MutexLock lock(&snapshot_mu_);
  return SnapshotLocked();
}

absl::StatusOr<SnapshotInfo> Snapshotter::SnapshotLocked() {
  const auto start = std::chrono::steady_clock::now();
  running_.store(true, std::memory_order_relaxed);
  KillPoint("snapshot.begin");
  absl::StatusOr<SnapshotInfo> info = absl::InternalError("no snapshot was written");
  AtLowPriority([&] { info = WriteSnapshot(); });  // queries do not wait for a processor
  KillPoint("snapshot.end");
  running_.store(false, std::memory_order_relaxed);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (info.ok()) {
    seconds_.Observe(seconds);
  } else {
    failures_.fetch_add(1, std::memory_order_relaxed);
  }
  if (options_.on_snapshot) options_.on_snapshot(info, seconds);
  return info;
}

void Snapshotter::AddMetrics(EngineMetrics* metrics) const {
  metrics->snapshot_running = running_.load(std::memory_order_relaxed);
  metrics->snapshot_failures = failures_.load(std::memory_order_relaxed);
  metrics->snapshot_seconds = seconds_.Snapshot();
  metrics->snapshot_unix_seconds = store_->snapshot_unix_seconds();
}

absl::StatusOr<SnapshotInfo> Snapshotter::WriteSnapshot() {
  FACTORD_RETURN_IF_ERROR(ingest_->write_health());
  auto writer = store_->NewSnapshot();
  if (!writer.ok()) return writer.status();

  std::optional<Cut> cut;
  FACTORD_RETURN_IF_ERROR(ingest_->RunOnWriter([&] {
    cut = state_->BeginCut();
    MutexLock lock(&mu_);
    bytes_since_snapshot_ = 0;
  }));
  KillPoint("snapshot.cut");

  SnapshotInfo info;
  info.sequence = cut->sequence;
  info.rows_written = static_cast<int64_t>(cut->dirty_users.size() + cut->dirty_items.size());
  absl::Status status;
  Hash128 row_hash;
  WriteRows(*cut, writer->get(), &row_hash, &status);
  info.hash = cut->hash_without_dirty_rows + row_hash;
  if (status.ok()) status = WriteDedupeEntries(*cut, state_->dedupe(), writer->get());
  if (status.ok()) status = WriteProducers(*cut, writer->get());
  KillPoint("snapshot.written");
  if (status.ok()) status = (*writer)->Commit(MetaOf(*cut, info.hash));
  KillPoint("snapshot.committed");
  writer->reset();

  FACTORD_RETURN_IF_ERROR(
      ingest_->RunOnWriter([&] { state_->EndCut(*std::move(cut), row_hash, status.ok()); }));
  FACTORD_RETURN_IF_ERROR(status);
  snapshot_sequence_.store(info.sequence, std::memory_order_release);
  if (options_.log_retention == LogRetention::kSnapshot) {
    KillPoint("trim.before");
    FACTORD_RETURN_IF_ERROR(store_->log()->TrimThrough(info.sequence));
    KillPoint("trim.after");
  }
  return info;
}

void Snapshotter::WriteRows(Cut& cut, SnapshotWriter* writer, Hash128* row_hash,
                            absl::Status* status) {
  std::string payload;
  // Every dirty row is walked, also after a failure: the cut counts them as hashed.
  const auto write = [&](Side side, uint32_t index) {
    *row_hash += ModelState::HashRow(side, payload);
    if (status->ok()) *status = writer->AddRow(side, index, payload);
    payload.clear();
  };
  std::sort(cut.dirty_items.begin(), cut.dirty_items.end());
  for (const uint32_t index : cut.dirty_items) {
    state_->EncodeCutItem(cut, index, &payload);
    write(Side::kItem, index);
  }
  cut.item_view.reset();  // old leaves can go while the users are written
  std::sort(cut.dirty_users.begin(), cut.dirty_users.end());
  for (const uint32_t index : cut.dirty_users) {
    state_->EncodeCutUser(cut, index, &payload);
    write(Side::kUser, index);
  }
}

absl::StatusOr<BackupInfo> Snapshotter::Backup(const std::string& path) {
  MutexLock lock(&snapshot_mu_);
  FACTORD_RETURN_IF_ERROR(SnapshotLocked().status());
  BackupInfo info;
  info.path = path;
  absl::Status status;
  FACTORD_RETURN_IF_ERROR(ingest_->RunOnWriter([&] {
    info.sequence = state_->sequence();
    // Few rows have changed since the snapshot, so this pause is short.
    info.hash = state_->RunningHash();
    status = store_->CopyTo(path, {info.sequence, info.hash});
  }));
  FACTORD_RETURN_IF_ERROR(status);
  return info;
}

}  // namespace factord
