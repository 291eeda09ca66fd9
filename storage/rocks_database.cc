#include "storage/rocks_database.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/coding.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/listener.h"
#include "rocksdb/table.h"
#include "storage/file_util.h"
#include "storage/manifest_guard.h"
#include "storage/table_check.h"

namespace factord {
namespace {

constexpr Family kAllFamilies[kFamilies] = {Family::kControl, Family::kLog,    Family::kUsers,
                                            Family::kItems,   Family::kDedupe, Family::kProducers,
                                            Family::kMeta};

// One log memtable. It bounds what a start after a crash replays from the WAL: some 0.3 s.
constexpr size_t kLogMemtableBytes = size_t{64} << 20;
// Everything is read in long scans, so blocks are large and cached but shortly.
constexpr size_t kBlockBytes = size_t{64} << 10;
constexpr size_t kBlockCacheBytes = size_t{8} << 20;

// RocksDB's own log file ends the process when the disk is full: its writer asserts, and Debian
// builds with assertions, that it is not used again after an error. What matters reaches us as
// statuses.
class NullLogger : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// Tells the latch when RocksDB has stopped taking writes because of a failure in the background.
class FailureListener : public rocksdb::EventListener {
 public:
  explicit FailureListener(FailureLatch* failure) : failure_(failure) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
    if (status->severity() >= rocksdb::Status::kHardError) {
      failure_->Set(ToStatus(*status, "write to the database"));
    }
  }
  // RocksDB would take writes again once there is space. Ours are over by then; only compactions,
  // whose errors are soft, may go on.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status status,
                            bool* auto_recovery) override {
    if (status.severity() >= rocksdb::Status::kHardError) *auto_recovery = false;
  }

 private:
  FailureLatch* const failure_;
};

rocksdb::CompressionType Lz4IfThere() {
  for (const rocksdb::CompressionType type : rocksdb::GetSupportedCompressions()) {
    if (type == rocksdb::kLZ4Compression) return type;
  }
  return rocksdb::kNoCompression;
}

rocksdb::Options DatabaseOptions(rocksdb::Env* env, FailureLatch* failure) {
  rocksdb::Options options;
  options.env = env;
  options.paranoid_checks = true;
  // A torn tail of the WAL is what a power loss leaves; what lies before it is whole.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // A synced WAL that has gone is noticed at open.
  options.track_and_verify_wals_in_manifest = true;
  // No write ever follows a failed one (Store's contract), so RocksDB need not try to recover.
  options.max_bgerror_resume_count = 0;
  options.max_background_jobs = 2;
  options.max_open_files = 512;
  // Preallocation would reserve 70 MB for the smallest WAL.
  options.allow_fallocate = false;
  options.bytes_per_sync = uint64_t{1} << 20;
  options.wal_bytes_per_sync = uint64_t{1} << 20;
  options.info_log = std::make_shared<NullLogger>();
  // Each would keep a thread.
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.listeners.push_back(std::make_shared<FailureListener>(failure));

  rocksdb::BlockBasedTableOptions table;
  table.block_size = kBlockBytes;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  // Pinned: another default would change what lies on disk, and table_check.cc knows these.
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::ColumnFamilyOptions FamilyOptions(const rocksdb::Options& options, Family family) {
  rocksdb::ColumnFamilyOptions result(options);
  result.compression = rocksdb::kNoCompression;  // factors and hashes do not compress
  if (family == Family::kLog) {
    result.compression = Lz4IfThere();
    result.write_buffer_size = kLogMemtableBytes;
    // The log grows at its end only: with a trigger of one a flushed file moves down a level as it
    // is, where trimming can drop it whole without reading it.
    result.level0_file_num_compaction_trigger = 1;
    return result;
  }
  result.write_buffer_size = size_t{1} << 20;
  // Snapshots come as files and are bounded by their own rate. However far compaction lags behind
  // them, the log must not be slowed down for it.
  result.level0_slowdown_writes_trigger = 1000;
  result.level0_stop_writes_trigger = 2000;
  result.soft_pending_compaction_bytes_limit = 0;
  result.hard_pending_compaction_bytes_limit = 0;
  return result;
}

// For the end of a message of RocksDB, which does not name a file that it could not take for a
// table.
std::string AreNoTables(const std::vector<std::string>& files) {
  if (files.empty()) return "";
  return absl::StrCat("; no tables by their end: ", absl::StrJoin(files, ", "));
}

// The statuses RocksDB gives while opening speak of the caller's arguments where files of the
// database are meant.
absl::Status OpenStatus(const rocksdb::Status& status, const std::string& path) {
  const std::string what = absl::StrCat("open ", path);
  const bool is_loss = status.IsInvalidArgument() || status.IsNotFound() || status.IsNotSupported();
  const absl::Status result = ToStatus(status, what);
  if (!is_loss && !absl::IsDataLoss(result)) return result;
  // RocksDB looks for a missing table under an older name at last, and names that.
  std::string message = absl::StrReplaceAll(result.message(), {{".ldb", ".sst"}});
  message += AreNoTables(TablesWithoutFooter(path));
  // The manifest also tells when a WAL is no longer needed.
  if (absl::StrContains(message, "Missing WAL")) absl::StrAppend(&message, "; ", kEndIsLost);
  return absl::DataLossError(message);
}

// What a damaged record is called.
std::string RecordName(Family family, absl::string_view key) {
  uint32_t index;
  uint64_t number;
  if (ParseKey(key, 'U', &index)) return absl::StrCat("user row ", index);
  if (ParseKey(key, 'I', &index)) return absl::StrCat("item row ", index);
  if (ParseKey(key, 'D', &number)) return absl::StrCat("dedupe entry of slot ", number);
  return absl::StrCat("record ", absl::CHexEscape(key), " of ", FamilyName(family));
}

template <typename T>
bool ParseNumber(absl::string_view key, char letter, T* number) {
  if (key.size() != 1 + sizeof(T) || key[0] != letter) return false;
  std::memcpy(number, key.data() + 1, sizeof(T));
  if constexpr (sizeof(T) == 8) {
    *number = __builtin_bswap64(*number);
  } else {
    *number = __builtin_bswap32(*number);
  }
  return true;
}

}  // namespace

absl::string_view FamilyName(Family family) {
  static constexpr absl::string_view kNames[kFamilies] = {"default", "log",       "users", "items",
                                                          "dedupe",  "producers", "meta"};
  return kNames[static_cast<size_t>(family)];
}

std::string LogKey(int64_t first_sequence) {
  std::string key("L");
  PutBigEndian64(&key, static_cast<uint64_t>(first_sequence));
  return key;
}

std::string RowKey(Side side, uint32_t index) {
  std::string key(side == Side::kUser ? "U" : "I");
  PutBigEndian32(&key, index);
  return key;
}

std::string DedupeKey(uint64_t slot) {
  std::string key("D");
  PutBigEndian64(&key, slot);
  return key;
}

std::string ProducerKey(absl::string_view id) { return absl::StrCat("P", id); }

bool ParseKey(absl::string_view key, char letter, uint64_t* number) {
  return ParseNumber(key, letter, number);
}

bool ParseKey(absl::string_view key, char letter, uint32_t* number) {
  return ParseNumber(key, letter, number);
}

absl::Status ToStatus(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit)
    return absl::ResourceExhaustedError(message);
  // A file that is not there is one that the database's own books name.
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(message);
  if (status.IsIOError()) {
    // RocksDB keeps the errno's text only.
    if (absl::StrContains(message, "Read-only file system") ||
        absl::StrContains(message, "Permission denied")) {
      return absl::PermissionDeniedError(message);
    }
    if (absl::StrContains(message, "No such file")) return absl::DataLossError(message);
    if (absl::StrContains(message, "lock ")) return absl::FailedPreconditionError(message);
    return absl::UnavailableError(message);
  }
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsBusy() || status.IsTryAgain() || status.IsShutdownInProgress()) {
    return absl::UnavailableError(message);
  }
  return absl::InternalError(message);
}

void FailureLatch::Set(const absl::Status& failure) {
  MutexLock lock(&mu_);
  if (first_.ok()) first_ = failure;
}

absl::Status FailureLatch::Get() const {
  MutexLock lock(&mu_);
  return first_;
}

absl::StatusOr<std::unique_ptr<RocksDatabase>> RocksDatabase::Open(const std::string& path,
                                                                   Mode mode, rocksdb::Env* env,
                                                                   FailureLatch* failure) {
  if (env == nullptr) env = rocksdb::Env::Default();
  std::unique_ptr<rocksdb::Env> guarded = rocksdb::NewCompositeEnv(
      std::make_shared<ManifestGuard>(path, std::make_shared<TableGuard>(env->GetFileSystem())));
  rocksdb::Options options = DatabaseOptions(guarded.get(), failure);
  options.create_if_missing = mode == Mode::kCreate;
  options.create_missing_column_families = mode == Mode::kCreate;
  options.error_if_exists = mode == Mode::kCreate;
  std::unique_ptr<RocksDatabase> result(new RocksDatabase(path, options, std::move(guarded)));

  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const Family family : kAllFamilies) {
    families.emplace_back(std::string(FamilyName(family)), FamilyOptions(options, family));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      mode == Mode::kReadOnly ? rocksdb::DB::OpenForReadOnly(options, path, families, &handles, &db)
                              : rocksdb::DB::Open(options, path, families, &handles, &db);
  if (!status.ok()) return OpenStatus(status, path);
  result->db_.reset(db);
  for (size_t i = 0; i < handles.size(); ++i) result->handles_[i] = handles[i];
  return result;
}

RocksDatabase::~RocksDatabase() {
  if (db_ == nullptr) return;
  // An error has been latched or is of no consequence: what was acknowledged is in the WAL.
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  db_->Close().PermitUncheckedError();
}

rocksdb::Options RocksDatabase::FileOptions(Family family) const {
  return rocksdb::Options(options_, FamilyOptions(options_, family));
}

absl::StatusOr<std::string> RocksDatabase::GetRecord(Family family, absl::string_view key) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      db_->Get(rocksdb::ReadOptions(), this->family(family), ToSlice(key), &value);
  const std::string name = RecordName(family, key);
  if (!status.ok()) return ToStatus(status, name);
  const absl::StatusOr<absl::string_view> payload = Unseal(key, ToView(value));
  if (!payload.ok()) return Annotate(payload.status(), name);
  return std::string(*payload);
}

absl::Status RocksDatabase::Scan(
    Family family,
    const std::function<absl::Status(absl::string_view key, absl::string_view payload)>& visit)
    const {
  const std::unique_ptr<rocksdb::Iterator> it(
      db_->NewIterator(ScanOptions(), this->family(family)));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const absl::string_view key = ToView(it->key());
    const absl::StatusOr<absl::string_view> payload = Unseal(key, ToView(it->value()));
    const absl::Status status = payload.ok() ? visit(key, *payload) : payload.status();
    // The caller's own errors pass unchanged.
    if (absl::IsDataLoss(status)) return Annotate(status, RecordName(family, key));
    FACTORD_RETURN_IF_ERROR(status);
  }
  return ToStatus(it->status(), absl::StrCat("read ", FamilyName(family)));
}

absl::Status RocksDatabase::Flush() const {
  return ToStatus(
      db_->Flush(rocksdb::FlushOptions(), {family(Family::kControl), family(Family::kLog)}),
      "flush the database");
}

absl::Status RocksDatabase::VerifyFiles() const {
  const absl::Status status = ToStatus(db_->VerifyChecksum(), "verify the files");
  if (!status.ok() && !absl::IsDataLoss(status)) return status;
  // It takes a table with a damaged version for one of an older format, whose checksums match.
  std::vector<rocksdb::LiveFileMetaData> tables;
  db_->GetLiveFilesMetaData(&tables);
  std::vector<std::string> no_tables;
  for (const rocksdb::LiveFileMetaData& table : tables) {
    const std::string& name = table.relative_filename;
    if (!EndsAsTable(absl::StrCat(path_, "/", name))) no_tables.push_back(name);
  }
  if (no_tables.empty()) return status;
  return absl::DataLossError(
      absl::StrCat(status.ok() ? path_ : status.message(), AreNoTables(no_tables)));
}

int64_t RocksDatabase::LogBytes() const {
  uint64_t bytes = 0;
  db_->GetIntProperty(family(Family::kLog), rocksdb::DB::Properties::kLiveSstFilesSize, &bytes);
  // Its properties do not tell the size of the WALs.
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(path_);
  if (!names.ok()) return static_cast<int64_t>(bytes);
  for (const std::string& name : *names) {
    struct stat info;
    if (absl::EndsWith(name, ".log") && stat(absl::StrCat(path_, "/", name).c_str(), &info) == 0) {
      bytes += static_cast<uint64_t>(info.st_size);
    }
  }
  return static_cast<int64_t>(bytes);
}

int64_t RocksDatabase::MemoryBytes() const {
  using Properties = rocksdb::DB::Properties;
  uint64_t bytes = 0;
  // The families share one cache.
  db_->GetIntProperty(Properties::kBlockCacheUsage, &bytes);
  for (const std::string& property :
       {Properties::kSizeAllMemTables, Properties::kEstimateTableReadersMem}) {
    uint64_t of_families = 0;
    if (db_->GetAggregatedIntProperty(property, &of_families)) bytes += of_families;
  }
  return static_cast<int64_t>(bytes);
}

int64_t RocksDatabase::NewestFileSeconds(Family family) const {
  rocksdb::ColumnFamilyMetaData metadata;
  db_->GetColumnFamilyMetaData(this->family(family), &metadata);
  uint64_t newest = 0;
  for (const rocksdb::LevelMetaData& level : metadata.levels) {
    for (const rocksdb::SstFileMetaData& file : level.files) {
      newest = std::max(newest, file.file_creation_time);
    }
  }
  return static_cast<int64_t>(newest);
}

rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions options(/*cksum=*/true, /*cache=*/false);
  options.readahead_size = size_t{2} << 20;
  return options;
}

}  // namespace factord
