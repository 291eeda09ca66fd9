#include "storage/rocks_log.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/coding.h"
#include "base/kill_point.h"
#include "rocksdb/convenience.h"
#include "rocksdb/iostats_context.h"
#include "rocksdb/perf_level.h"

namespace factord {
namespace {

// A chunk bounds what a reader decodes at once, and how much of the log a trim may have to keep.
constexpr size_t kChunkEvents = 1000;
constexpr size_t kChunkBytes = size_t{256} << 10;

// At least what `event` takes in a record, but for the few bytes of its numbers.
size_t SizeOf(const Event& event) {
  return 48 + event.user_id.size() + event.item_id.size() + event.event_id.size() +
         event.recommendation_id.size() + event.producer_id.size();
}

// How many of `events` go into the next chunk.
size_t ChunkLength(absl::Span<const Event> events) {
  size_t bytes = 0;
  size_t length = 0;
  while (length < events.size() && length < kChunkEvents) {
    bytes += SizeOf(events[length]);
    if (bytes > kChunkBytes && length > 0) break;
    ++length;
  }
  return length;
}

// Appends the events of the record at `key` to *events.
absl::Status DecodeRecord(absl::string_view key, absl::string_view value,
                          std::vector<Event>* events) {
  uint64_t first;
  if (!ParseKey(key, 'L', &first) || first == 0 ||
      first > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::DataLossError("log: a key that is no sequence");
  }
  const auto decode = [&]() -> absl::Status {
    FACTORD_ASSIGN_OR_RETURN(const absl::string_view payload, Unseal(key, value));
    return DecodeLogRecord(payload, static_cast<int64_t>(first), events);
  };
  return Annotate(decode(), absl::StrCat("log at sequence ", first));
}

// Measures the time that RocksDB spends in fsync on this thread, while the object lives.
class SyncTimer {
 public:
  SyncTimer() { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kEnableTimeExceptForMutex); }
  ~SyncTimer() { rocksdb::SetPerfLevel(level_before_); }
  SyncTimer(const SyncTimer&) = delete;
  SyncTimer& operator=(const SyncTimer&) = delete;

  double seconds() const {
    return 1e-9 * static_cast<double>(rocksdb::get_iostats_context()->fsync_nanos - nanos_before_);
  }

 private:
  const rocksdb::PerfLevel level_before_ = rocksdb::GetPerfLevel();
  const uint64_t nanos_before_ = rocksdb::get_iostats_context()->fsync_nanos;
};

absl::Status Hole(int64_t sequence) {
  return absl::DataLossError(absl::StrCat("log: sequence ", sequence, " is missing"));
}

// Reads what the iterator, a view of one instant, saw of sequences up to `last`.
class RocksLogCursor : public LogCursor {
 public:
  RocksLogCursor(std::unique_ptr<rocksdb::Iterator> it, int64_t next, int64_t last)
      : it_(std::move(it)), next_(next), last_(last) {}

  absl::StatusOr<absl::Span<const Event>> Next() override {
    if (next_ > last_) return absl::Span<const Event>();
    // The events handed out last borrow from the iterator, so it moves on here and not after them.
    if (started_) {
      it_->Next();
    } else {
      it_->SeekForPrev(ToSlice(LogKey(next_)));  // the record that `next_` lies in
      started_ = true;
    }
    FACTORD_RETURN_IF_ERROR(ToStatus(it_->status(), absl::StrCat("log at sequence ", next_)));
    if (!it_->Valid()) return Hole(next_);
    events_.clear();
    FACTORD_RETURN_IF_ERROR(DecodeRecord(ToView(it_->key()), ToView(it_->value()), &events_));
    return Unread();
  }

 private:
  // The decoded events from next_ on.
  absl::StatusOr<absl::Span<const Event>> Unread() {
    const int64_t first = events_.front().sequence;
    const int64_t last = events_.back().sequence;
    if (first > next_ || last < next_) return Hole(next_);
    // Only the first record read may begin before next_; another that does overlaps the one before
    // it.
    if (first < next_ && !at_first_record_) {
      return absl::DataLossError(absl::StrCat("log: sequence ", first, " is there twice"));
    }
    at_first_record_ = false;
    const absl::Span<const Event> unread =
        absl::MakeConstSpan(events_).subspan(static_cast<size_t>(next_ - first));
    next_ = last + 1;
    return unread;
  }

  const std::unique_ptr<rocksdb::Iterator> it_;
  bool started_ = false;
  bool at_first_record_ = true;
  int64_t next_;
  const int64_t last_;
  std::vector<Event> events_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RocksLog>> RocksLog::Open(const RocksDatabase* database,
                                                         FailureLatch* failure,
                                                         Durability durability,
                                                         int64_t snapshot_sequence) {
  std::unique_ptr<RocksLog> log(new RocksLog(database, failure, durability));
  FACTORD_RETURN_IF_ERROR(log->ReadRange(snapshot_sequence));
  return log;
}

absl::StatusOr<int64_t> RocksLog::ReadTrimmed() const {
  const absl::StatusOr<std::string> payload = database_->GetRecord(Family::kControl, kTrimmedKey);
  if (absl::IsNotFound(payload.status())) return 0;
  FACTORD_RETURN_IF_ERROR(payload.status());
  Reader reader(*payload);
  const uint64_t sequence = reader.Fixed64();
  if (!reader.Done()) return absl::DataLossError("record of the log's beginning: malformed");
  return static_cast<int64_t>(sequence);
}

absl::Status RocksLog::CheckNothingAt(int64_t sequence) const {
  rocksdb::PinnableSlice record;
  const rocksdb::Status status = database_->db()->Get(
      rocksdb::ReadOptions(), database_->family(Family::kLog), ToSlice(LogKey(sequence)), &record);
  if (status.IsNotFound()) return absl::OkStatus();
  FACTORD_RETURN_IF_ERROR(ToStatus(status, "read the end of the log"));
  return absl::DataLossError(
      absl::StrCat("log: sequence ", sequence, " is there, but not for who reads on to it"));
}

absl::Status RocksLog::ReadRange(int64_t snapshot_sequence) {
  FACTORD_ASSIGN_OR_RETURN(const int64_t trimmed, ReadTrimmed());
  LogRange range{trimmed + 1, trimmed};
  const std::unique_ptr<rocksdb::Iterator> it(
      database_->db()->NewIterator(ScanOptions(), database_->family(Family::kLog)));
  std::vector<Event> events;
  it->Seek(ToSlice(LogKey(0)));
  if (it->Valid()) {
    FACTORD_RETURN_IF_ERROR(DecodeRecord(ToView(it->key()), ToView(it->value()), &events));
    if (events.front().sequence != range.first) return Hole(range.first);
    it->SeekToLast();
  }
  if (it->Valid()) {
    events.clear();
    FACTORD_RETURN_IF_ERROR(DecodeRecord(ToView(it->key()), ToView(it->value()), &events));
    range.last = events.back().sequence;
  }
  FACTORD_RETURN_IF_ERROR(ToStatus(it->status(), "read the end of the log"));
  FACTORD_RETURN_IF_ERROR(CheckNothingAt(range.last + 1));
  if (range.last < snapshot_sequence || range.first > snapshot_sequence + 1) {
    return absl::DataLossError(absl::StrCat(
        "the log holds sequences ", range.first, " to ", range.last,
        ", which does not meet the snapshot at sequence ", snapshot_sequence, ": ", kEndIsLost));
  }
  MutexLock lock(&mu_);
  range_ = range;
  snapshot_sequence_ = snapshot_sequence;
  return absl::OkStatus();
}

absl::Status RocksLog::CheckWritable() const {
  const absl::Status failure = failure_->Get();
  if (!failure.ok()) {
    return absl::UnavailableError(
        absl::StrCat("the log takes no more writes since one failed: ", failure.message()));
  }
  MutexLock lock(&mu_);
  return refusal_;
}

absl::Status RocksLog::CheckEvents(absl::Span<const Event> events) const {
  int64_t expected = range().last + 1;
  for (const Event& event : events) {
    if (event.sequence != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat("event has sequence ", event.sequence, ", the log goes on at ", expected));
    }
    // The decoder would refuse it, and everything after it with it.
    if (event.kind == EventKind::kRevisit) {
      if (!event.revisited.is_valid()) {
        return absl::InvalidArgumentError(absl::StrCat("event ", expected, " revisits nothing"));
      }
    } else if (event.user_id.empty() || event.item_id.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("event ", expected, " lacks an id"));
    }
    ++expected;
  }
  return events.empty() ? absl::InvalidArgumentError("no events") : absl::OkStatus();
}

absl::Status RocksLog::Failed(const absl::Status& status) {
  failure_->Set(status);
  return status;
}

absl::Status RocksLog::Append(absl::Span<const Event> events) {
  const auto start = std::chrono::steady_clock::now();
  MutexLock write_lock(&write_mu_);
  FACTORD_RETURN_IF_ERROR(CheckWritable());
  FACTORD_RETURN_IF_ERROR(CheckEvents(events));
  const absl::Status status = WriteEvents(events);
  append_seconds_.Observe(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return status;
}

absl::Status RocksLog::WriteEvents(absl::Span<const Event> events) {
  const int64_t last = events.back().sequence;
  batch_.Clear();
  while (!events.empty()) {
    const absl::Span<const Event> chunk = events.subspan(0, ChunkLength(events));
    events.remove_prefix(chunk.size());
    const std::string key = LogKey(chunk.front().sequence);
    record_.clear();
    EncodeLogRecord(chunk, &record_);
    Seal(key, &record_);
    const rocksdb::Status status =
        batch_.Put(database_->family(Family::kLog), ToSlice(key), ToSlice(record_));
    if (!status.ok()) return ToStatus(status, "append to the log");
  }
  rocksdb::WriteOptions options;
  options.sync = durability_ == Durability::kSync;
  const SyncTimer timer;
  const rocksdb::Status status = database_->db()->Write(options, &batch_);
  if (options.sync) sync_seconds_.Observe(timer.seconds());
  if (!status.ok()) return Failed(ToStatus(status, "append to the log"));
  MutexLock lock(&mu_);
  range_.last = last;
  return absl::OkStatus();
}

absl::Status RocksLog::Sync() {
  MutexLock write_lock(&write_mu_);
  FACTORD_RETURN_IF_ERROR(CheckWritable());
  if (durability_ == Durability::kSync) return absl::OkStatus();  // every append has been synced
  const SyncTimer timer;
  const rocksdb::Status status = database_->db()->SyncWAL();
  sync_seconds_.Observe(timer.seconds());
  return status.ok() ? absl::OkStatus() : Failed(ToStatus(status, "sync the log"));
}

absl::StatusOr<std::unique_ptr<LogCursor>> RocksLog::ReadFrom(int64_t sequence) {
  // The range first, the iterator then: it sees at least what the range says, unless a trim comes
  // between, and that shows in the range afterwards.
  const LogRange range = this->range();
  std::unique_ptr<rocksdb::Iterator> it(
      database_->db()->NewIterator(ScanOptions(), database_->family(Family::kLog)));
  if (sequence < this->range().first || sequence > range.last + 1) {
    return absl::OutOfRangeError(range.empty()
                                     ? absl::StrCat("the log is empty, its next sequence is ",
                                                    range.first, ", not ", sequence)
                                     : absl::StrCat("the log holds sequences ", range.first, " to ",
                                                    range.last, ", not ", sequence));
  }
  return std::make_unique<RocksLogCursor>(std::move(it), sequence, range.last);
}

LogRange RocksLog::range() const {
  MutexLock lock(&mu_);
  return range_;
}

LogMetrics RocksLog::metrics() const {
  return {append_seconds_.Snapshot(), sync_seconds_.Snapshot(), database_->LogBytes()};
}

void RocksLog::RefuseWrites(absl::Status why) {
  MutexLock lock(&mu_);
  refusal_ = std::move(why);
}

void RocksLog::SetSnapshotSequence(int64_t sequence) {
  MutexLock lock(&mu_);
  snapshot_sequence_ = sequence;
}

void RocksLog::SetFirst(int64_t first) {
  MutexLock lock(&mu_);
  range_.first = first;
}

absl::StatusOr<int64_t> RocksLog::RecordStart(int64_t sequence) const {
  const std::unique_ptr<rocksdb::Iterator> it(
      database_->db()->NewIterator(ScanOptions(), database_->family(Family::kLog)));
  it->SeekForPrev(ToSlice(LogKey(sequence)));
  FACTORD_RETURN_IF_ERROR(ToStatus(it->status(), "trim the log"));
  uint64_t start;
  if (!it->Valid() || !ParseKey(ToView(it->key()), 'L', &start)) return Hole(sequence);
  return static_cast<int64_t>(start);
}

absl::Status RocksLog::WriteTrim(int64_t first, int64_t new_first) {
  std::string trimmed;
  PutFixed64(&trimmed, static_cast<uint64_t>(new_first - 1));
  Seal(kTrimmedKey, &trimmed);
  rocksdb::WriteBatch batch;
  rocksdb::Status status =
      batch.Put(database_->family(Family::kControl), ToSlice(kTrimmedKey), ToSlice(trimmed));
  if (status.ok()) {
    status = batch.DeleteRange(database_->family(Family::kLog), ToSlice(LogKey(first)),
                               ToSlice(LogKey(new_first)));
  }
  MutexLock write_lock(&write_mu_);
  FACTORD_RETURN_IF_ERROR(CheckWritable());
  rocksdb::WriteOptions options;
  // Before any file is dropped below: a crash between must not leave a log without its beginning.
  options.sync = true;
  if (status.ok()) status = database_->db()->Write(options, &batch);
  return status.ok() ? absl::OkStatus() : Failed(ToStatus(status, "trim the log"));
}

absl::Status RocksLog::TrimThrough(int64_t sequence) {
  FACTORD_RETURN_IF_ERROR(CheckWritable());
  LogRange range;
  {
    MutexLock lock(&mu_);
    range = range_;
    if (sequence > snapshot_sequence_) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot trim through sequence ", sequence, ": the snapshot is at ",
                       snapshot_sequence_, ", and what lies behind it is in the log only"));
    }
  }
  sequence = std::min(sequence, range.last);
  if (sequence < range.first) return absl::OkStatus();
  int64_t new_first = range.last + 1;
  if (sequence < range.last) {
    FACTORD_ASSIGN_OR_RETURN(new_first, RecordStart(sequence + 1));
    if (new_first <= range.first) return absl::OkStatus();
  }
  // Before the write: a reader looks at the range after it has made its iterator, and so learns of
  // a trim that the iterator saw.
  SetFirst(new_first);
  const absl::Status written = WriteTrim(range.first, new_first);
  if (!written.ok()) {
    SetFirst(range.first);
    return written;
  }
  KillPoint("trim.recorded");
  // Frees the space: whole files at once, the rest with a flush, which also lets the WALs go, so
  // that the next start does not replay what has been trimmed.
  const std::string begin = LogKey(range.first);
  const std::string end = LogKey(new_first);
  const rocksdb::Slice begin_slice = ToSlice(begin);
  const rocksdb::Slice end_slice = ToSlice(end);
  FACTORD_RETURN_IF_ERROR(
      ToStatus(rocksdb::DeleteFilesInRange(database_->db(), database_->family(Family::kLog),
                                           &begin_slice, &end_slice, /*include_end=*/false),
               "trim the log"));
  KillPoint("trim.dropped");
  return database_->Flush();
}

}  // namespace factord
