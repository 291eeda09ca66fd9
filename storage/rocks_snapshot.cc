#include "storage/rocks_snapshot.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/kill_point.h"
#include "storage/file_util.h"

namespace factord {
namespace {

constexpr uint64_t kFileBytes = uint64_t{64} << 20;
// Dirty pages go to disk as they come; all at once at the end they would hold up the log's syncs.
constexpr uint64_t kBytesPerSync = uint64_t{1} << 20;

constexpr Family kIngested[] = {Family::kUsers, Family::kItems, Family::kDedupe, Family::kProducers,
                                Family::kMeta};

}  // namespace

SstSeries::SstSeries(const RocksDatabase* database, Family family, const std::string& folder,
                     rocksdb::RateLimiter* limiter)
    : prefix_(absl::StrCat(folder, "/", FamilyName(family), "-")),
      what_(absl::StrCat("write the snapshot's ", FamilyName(family))),
      options_(database->FileOptions(family)) {
  env_options_.rate_limiter = limiter;
  env_options_.bytes_per_sync = kBytesPerSync;
}

SstSeries::~SstSeries() {
  writer_.reset();
  // Ingested files have been moved away; what is still here belongs to no snapshot, or is another
  // name of a file that does. One that stays nevertheless goes with the next snapshot or start.
  for (const std::string& file : files_) unlink(file.c_str());
}

absl::Status SstSeries::OpenFile() {
  writer_ = std::make_unique<rocksdb::SstFileWriter>(env_options_, options_,
                                                     /*column_family=*/nullptr,
                                                     /*invalidate_page_cache=*/true,
                                                     rocksdb::Env::IO_LOW);
  files_.push_back(absl::StrCat(prefix_, files_.size(), ".sst"));
  // One that could not be removed, of a snapshot before, may be another name of a file in use: to
  // write it anew would write through to that.
  FACTORD_RETURN_IF_ERROR(RemoveTree(files_.back()));
  return ToStatus(writer_->Open(files_.back()), what_);
}

absl::Status SstSeries::Put(absl::string_view key, absl::string_view value) {
  if (writer_ != nullptr && writer_->FileSize() >= kFileBytes) {
    FACTORD_RETURN_IF_ERROR(Finish());
  }
  if (writer_ == nullptr) FACTORD_RETURN_IF_ERROR(OpenFile());
  return ToStatus(writer_->Put(ToSlice(key), ToSlice(value)), what_);
}

absl::Status SstSeries::Finish() {
  if (writer_ == nullptr) return absl::OkStatus();
  const rocksdb::Status status = writer_->Finish();
  writer_.reset();
  return ToStatus(status, what_);
}

RocksSnapshotWriter::RocksSnapshotWriter(Parts parts) : parts_(std::move(parts)) {
  for (const Family family : kIngested) {
    series_[static_cast<size_t>(family)] =
        std::make_unique<SstSeries>(parts_.database, family, parts_.folder, parts_.limiter);
  }
}

absl::Status RocksSnapshotWriter::Add(Family family, absl::string_view key) {
  if (!status_.ok()) return status_;
  Seal(key, &buffer_);
  status_ = series(family).Put(key, buffer_);
  return status_;
}

absl::Status RocksSnapshotWriter::AddRow(Side side, uint32_t index, absl::string_view payload) {
  buffer_.assign(payload.data(), payload.size());
  return Add(RowFamily(side), RowKey(side, index));
}

absl::Status RocksSnapshotWriter::AddDedupeEntry(uint64_t slot, const DedupeEntry& entry) {
  buffer_.clear();
  EncodeDedupeEntry(entry, &buffer_);
  return Add(Family::kDedupe, DedupeKey(slot));
}

absl::Status RocksSnapshotWriter::AddProducer(const Producer& producer) {
  buffer_.clear();
  EncodeProducer(producer, &buffer_);
  return Add(Family::kProducers, ProducerKey(producer.id));
}

absl::Status RocksSnapshotWriter::CheckMeta(const SnapshotMeta& meta) const {
  const int64_t last = parts_.log->range().last;
  if (meta.sequence < parts_.former_sequence || meta.sequence > last) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a snapshot at sequence ", meta.sequence, " does not lie between the former at ",
        parts_.former_sequence, " and the end of the log at ", last));
  }
  return absl::OkStatus();
}

absl::Status RocksSnapshotWriter::Ingest() {
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  // A file may be a hard link of a backup's; it is never written again.
  options.write_global_seqno = false;
  // A flush would be a memtable in a family that has none: better an error than a stall.
  options.allow_blocking_flush = false;
  std::vector<rocksdb::IngestExternalFileArg> args;
  for (const Family family : kIngested) {
    if (series(family).files().empty()) continue;
    rocksdb::IngestExternalFileArg arg;
    arg.column_family = parts_.database->family(family);
    arg.external_files = series(family).files();
    arg.options = options;
    args.push_back(std::move(arg));
  }
  return ToStatus(parts_.database->db()->IngestExternalFiles(args), "commit the snapshot");
}

absl::Status RocksSnapshotWriter::CommitOnce(const SnapshotMeta& meta) {
  FACTORD_RETURN_IF_ERROR(CheckMeta(meta));
  buffer_.clear();
  EncodeSnapshotMeta(meta, &buffer_);
  FACTORD_RETURN_IF_ERROR(Add(Family::kMeta, kMetaKey));
  for (const Family family : kIngested) FACTORD_RETURN_IF_ERROR(series(family).Finish());
  KillPoint("snapshot.finished");
  // A power loss must not leave a snapshot of events that the log has lost.
  FACTORD_RETURN_IF_ERROR(parts_.log->Sync());
  KillPoint("snapshot.synced");
  return Ingest();
}

absl::Status RocksSnapshotWriter::Commit(const SnapshotMeta& meta) {
  if (!status_.ok()) return status_;
  status_ = CommitOnce(meta);
  if (!status_.ok()) return status_;
  parts_.on_commit(meta);
  status_ = absl::FailedPreconditionError("the snapshot has been committed");
  return absl::OkStatus();
}

}  // namespace factord
