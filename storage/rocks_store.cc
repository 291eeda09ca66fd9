#include "storage/rocks_store.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "rocksdb/utilities/checkpoint.h"
#include "storage/rocks_snapshot.h"

namespace factord {
namespace {

constexpr char kIdentityFile[] = "IDENTITY";
// IDENTITY until the folder is complete.
constexpr char kUnfinishedIdentityFile[] = "IDENTITY.creating";
constexpr char kEvidenceFile[] = "EVIDENCE";
constexpr char kLockFile[] = "LOCK";
constexpr char kDatabaseFolder[] = "db";
constexpr char kTemporaryFolder[] = "tmp";

std::string Join(absl::string_view folder, absl::string_view name) {
  return absl::StrCat(folder, "/", name);
}

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// OK if `path` is empty, or holds a creation that was cut off and nothing else. DATA_LOSS for a
// data folder whose identity is gone.
absl::Status CheckCreatable(const std::string& path) {
  FACTORD_ASSIGN_OR_RETURN(std::vector<std::string> names, ListFolder(path));
  // A fresh file system of its own has it.
  std::erase(names, "lost+found");
  const auto has = [&names](absl::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const bool cut_off = has(kUnfinishedIdentityFile);
  if (!cut_off && !has(kIdentityFile) &&
      PathExists(Join(path, absl::StrCat(kDatabaseFolder, "/CURRENT")))) {
    return absl::DataLossError(absl::StrCat(Join(path, kIdentityFile), " is missing"));
  }
  for (const std::string& name : names) {
    if (name == kLockFile) continue;
    if (cut_off &&
        (name == kUnfinishedIdentityFile || name == kDatabaseFolder || name == kTemporaryFolder)) {
      continue;
    }
    return absl::FailedPreconditionError(absl::StrCat(path, " is not empty: it holds ", name));
  }
  return absl::OkStatus();
}

// Makes db/ with all families and a copy of the identity, from nothing.
absl::Status CreateDatabase(const std::string& path, absl::string_view identity) {
  FACTORD_RETURN_IF_ERROR(RemoveTree(path));
  FailureLatch failure;
  FACTORD_ASSIGN_OR_RETURN(
      const std::unique_ptr<RocksDatabase> database,
      RocksDatabase::Open(path, RocksDatabase::Mode::kCreate, /*env=*/nullptr, &failure));
  std::string record(identity);
  Seal(kIdentityKey, &record);
  rocksdb::WriteOptions options;
  options.sync = true;
  FACTORD_RETURN_IF_ERROR(ToStatus(database->db()->Put(options, database->family(Family::kControl),
                                                       ToSlice(kIdentityKey), ToSlice(record)),
                                   "create the database"));
  FACTORD_RETURN_IF_ERROR(database->Flush());
  return SyncFolder(path);
}

// What a folder without IDENTITY is.
absl::Status NoIdentity(const std::string& path) {
  if (PathExists(Join(path, kUnfinishedIdentityFile))) {
    return absl::NotFoundError(absl::StrCat(path, ": its creation was cut off"));
  }
  const absl::Status creatable = CheckCreatable(path);
  if (absl::IsDataLoss(creatable)) return creatable;
  if (creatable.ok()) {
    return absl::NotFoundError(absl::StrCat(path, " holds no data folder yet"));
  }
  return absl::FailedPreconditionError(absl::StrCat(path, " is not a data folder of factord"));
}

// The file of a database that names its manifest.
absl::Status CheckCurrent(const std::string& database) {
  const std::string path = Join(database, "CURRENT");
  // RocksDB takes a database without it for one that is not there yet.
  if (!PathExists(path)) return absl::DataLossError(absl::StrCat(path, " is missing"));
  FACTORD_ASSIGN_OR_RETURN(const std::string content, ReadSmallFile(path));
  const absl::string_view manifest = absl::StripSuffix(content, "\n");
  if (absl::StartsWith(manifest, "MANIFEST-") && PathExists(Join(database, manifest))) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat(path, " names \"", absl::CHexEscape(manifest), "\", which is not there"));
}

}  // namespace

absl::Status Store::Create(const std::string& path, const ConfigFields& config) {
  FACTORD_RETURN_IF_ERROR(MakeFolder(path));
  // Also if it is there: whoever made it may have ended before this.
  FACTORD_RETURN_IF_ERROR(SyncFolder(ParentFolder(path)));
  FACTORD_RETURN_IF_ERROR(CheckCreatable(path));
  FACTORD_ASSIGN_OR_RETURN(const FolderLock lock,
                           FolderLock::Acquire(path, FolderLock::Mode::kCreate));
  // Again, now that nobody else can create in it.
  FACTORD_RETURN_IF_ERROR(CheckCreatable(path));

  Identity identity;
  FACTORD_ASSIGN_OR_RETURN(identity.uuid, NewUuid());
  identity.config = config;
  const std::string text = EncodeIdentity(identity);
  FACTORD_RETURN_IF_ERROR(WriteAndSync(Join(path, kUnfinishedIdentityFile), text));
  FACTORD_RETURN_IF_ERROR(SyncFolder(path));
  FACTORD_RETURN_IF_ERROR(CreateDatabase(Join(path, kDatabaseFolder), text));
  FACTORD_RETURN_IF_ERROR(MakeFolder(Join(path, kTemporaryFolder)));
  FACTORD_RETURN_IF_ERROR(SyncFolder(path));
  return RenameDurably(path, kUnfinishedIdentityFile, kIdentityFile);
}

bool Store::Exists(const std::string& path) { return PathExists(Join(path, kIdentityFile)); }

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const Options& options) {
  return RocksStore::Open(options, /*env=*/nullptr);
}

RocksStore::RocksStore(const Options& options) : options_(options) {
  if (options.snapshot_bytes_per_second > 0) {
    snapshot_limiter_.reset(rocksdb::NewGenericRateLimiter(options.snapshot_bytes_per_second));
  }
}

absl::StatusOr<std::unique_ptr<Store>> RocksStore::Open(const Options& options, rocksdb::Env* env) {
  std::unique_ptr<RocksStore> store(new RocksStore(options));
  FACTORD_RETURN_IF_ERROR(store->OpenFolder());
  FACTORD_RETURN_IF_ERROR(store->OpenDatabase(env));
  FACTORD_RETURN_IF_ERROR(store->NameDamage(store->ReadContents()));
  if (options.read_only) {
    store->log_->RefuseWrites(store->CheckNotReadOnly());
  } else if (store->evidence().has_value()) {
    store->log_->RefuseWrites(
        absl::FailedPreconditionError("the folder's evidence has not been cleared"));
  }
  return std::unique_ptr<Store>(std::move(store));
}

absl::Status RocksStore::OpenFolder() {
  const std::string& path = options_.path;
  if (!PathExists(path)) return absl::NotFoundError(absl::StrCat(path, " does not exist"));
  if (!IsFolder(path)) return absl::FailedPreconditionError(absl::StrCat(path, " is no folder"));
  if (!PathExists(PathOf(kIdentityFile))) return NoIdentity(path);
  FACTORD_ASSIGN_OR_RETURN(
      lock_, FolderLock::Acquire(path, options_.read_only ? FolderLock::Mode::kReadOnly
                                                          : FolderLock::Mode::kCreate));
  FACTORD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(PathOf(kIdentityFile)));
  absl::StatusOr<Identity> identity = DecodeIdentity(text);
  if (!identity.ok()) return Annotate(identity.status(), PathOf(kIdentityFile));
  identity_ = *std::move(identity);
  if (options_.read_only) return absl::OkStatus();
  FACTORD_RETURN_IF_ERROR(RemoveTree(PathOf(kTemporaryFolder)));
  return MakeFolder(PathOf(kTemporaryFolder));
}

absl::Status RocksStore::OpenDatabase(rocksdb::Env* env) {
  const std::string path = PathOf(kDatabaseFolder);
  FACTORD_RETURN_IF_ERROR(CheckCurrent(path));
  const RocksDatabase::Mode mode =
      options_.read_only ? RocksDatabase::Mode::kReadOnly : RocksDatabase::Mode::kReadWrite;
  FACTORD_ASSIGN_OR_RETURN(database_, RocksDatabase::Open(path, mode, env, &failure_));
  return absl::OkStatus();
}

absl::Status RocksStore::CheckIdentityCopy() {
  const absl::StatusOr<std::string> copy = database_->GetRecord(Family::kControl, kIdentityKey);
  if (absl::IsNotFound(copy.status())) {
    return absl::DataLossError(absl::StrCat(PathOf(kDatabaseFolder), " lacks its identity"));
  }
  FACTORD_RETURN_IF_ERROR(copy.status());
  if (*copy != EncodeIdentity(identity_)) {
    return absl::DataLossError(
        absl::StrCat(PathOf(kIdentityFile), " does not belong to the database beside it"));
  }
  return absl::OkStatus();
}

absl::Status RocksStore::ReadContents() {
  FACTORD_RETURN_IF_ERROR(CheckIdentityCopy());
  FACTORD_RETURN_IF_ERROR(ReadSnapshotMeta());
  FACTORD_ASSIGN_OR_RETURN(
      log_, RocksLog::Open(database_.get(), &failure_, options_.durability, snapshot().sequence));
  return ReadEvidence();
}

absl::Status RocksStore::ReadSnapshotMeta() {
  const absl::StatusOr<std::string> payload = database_->GetRecord(Family::kMeta, kMetaKey);
  if (absl::IsNotFound(payload.status())) return absl::OkStatus();
  FACTORD_RETURN_IF_ERROR(payload.status());
  SnapshotMeta meta;
  FACTORD_RETURN_IF_ERROR(DecodeSnapshotMeta(*payload, &meta));
  SetSnapshot(meta, database_->NewestFileSeconds(Family::kMeta));
  return absl::OkStatus();
}

absl::Status RocksStore::ReadEvidence() {
  const std::string path = PathOf(kEvidenceFile);
  if (!PathExists(path)) return absl::OkStatus();
  FACTORD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  const absl::StatusOr<StateEvidence> evidence = DecodeEvidence(text, identity_.uuid);
  if (!evidence.ok()) return Annotate(evidence.status(), path);
  const int64_t last = log_->range().last;
  if (evidence->sequence != last) {
    return absl::DataLossError(absl::StrCat(path, ": the folder was closed at sequence ",
                                            evidence->sequence, ", but its log ends at ", last,
                                            ": ", kEndIsLost));
  }
  MutexLock lock(&mu_);
  evidence_ = *evidence;
  return absl::OkStatus();
}

SnapshotMeta RocksStore::snapshot() const {
  MutexLock lock(&mu_);
  return snapshot_;
}

int64_t RocksStore::snapshot_unix_seconds() const {
  MutexLock lock(&mu_);
  return snapshot_unix_seconds_;
}

void RocksStore::SetSnapshot(const SnapshotMeta& meta, int64_t unix_seconds) {
  MutexLock lock(&mu_);
  snapshot_ = meta;
  snapshot_unix_seconds_ = unix_seconds;
}

absl::Status RocksStore::ReadRows(Side side, const std::function<absl::Status(const Row&)>& visit) {
  const SnapshotMeta meta = snapshot();
  const uint64_t rows = side == Side::kUser ? meta.users : meta.items;
  const char letter = side == Side::kUser ? 'U' : 'I';
  const absl::string_view name = FamilyName(RowFamily(side));
  Row row;
  uint64_t next = 0;
  FACTORD_RETURN_IF_ERROR(database_->Scan(
      RowFamily(side), [&](absl::string_view key, absl::string_view payload) -> absl::Status {
        uint32_t index;
        if (!ParseKey(key, letter, &index)) return absl::DataLossError("malformed key");
        if (index != next) return absl::DataLossError(absl::StrCat("row ", next, " is missing"));
        FACTORD_RETURN_IF_ERROR(DecodeRow(payload, index, &row));
        ++next;
        return visit(row);
      }));
  if (next != rows) {
    return absl::DataLossError(absl::StrCat("the snapshot at sequence ", meta.sequence, " has ",
                                            rows, " ", name, ", but ", next, " are there"));
  }
  return absl::OkStatus();
}

absl::Status RocksStore::ReadDedupe(
    const std::function<absl::Status(uint64_t slot, const DedupeEntry&)>& visit) {
  return database_->Scan(Family::kDedupe,
                         [&](absl::string_view key, absl::string_view payload) -> absl::Status {
                           uint64_t slot;
                           if (!ParseKey(key, 'D', &slot))
                             return absl::DataLossError("malformed key");
                           DedupeEntry entry;
                           FACTORD_RETURN_IF_ERROR(DecodeDedupeEntry(payload, &entry));
                           return visit(slot, entry);
                         });
}

absl::Status RocksStore::ReadProducers(const std::function<absl::Status(const Producer&)>& visit) {
  const SnapshotMeta meta = snapshot();
  uint64_t read = 0;
  FACTORD_RETURN_IF_ERROR(database_->Scan(
      Family::kProducers, [&](absl::string_view key, absl::string_view payload) -> absl::Status {
        if (key.size() < 2 || key[0] != 'P') return absl::DataLossError("malformed key");
        Producer producer;
        FACTORD_RETURN_IF_ERROR(DecodeProducer(payload, key.substr(1), &producer));
        ++read;
        return visit(producer);
      }));
  if (read != meta.producers) {
    return absl::DataLossError(absl::StrCat("the snapshot at sequence ", meta.sequence, " has ",
                                            meta.producers, " producers, but ", read,
                                            " are there"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SnapshotWriter>> RocksStore::NewSnapshot() {
  FACTORD_RETURN_IF_ERROR(CheckNotReadOnly());
  RocksSnapshotWriter::Parts parts;
  parts.database = database_.get();
  parts.log = log_.get();
  parts.folder = PathOf(kTemporaryFolder);
  parts.limiter = snapshot_limiter_.get();
  parts.on_commit = [this](const SnapshotMeta& meta) {
    SetSnapshot(meta, std::time(nullptr));
    log_->SetSnapshotSequence(meta.sequence);
  };
  parts.token = std::make_shared<char>();
  {
    MutexLock lock(&mu_);
    if (!snapshot_token_.expired()) {
      return absl::FailedPreconditionError("another snapshot is being written");
    }
    snapshot_token_ = parts.token;
    parts.former_sequence = snapshot_.sequence;
  }
  return std::make_unique<RocksSnapshotWriter>(std::move(parts));
}

void RocksStore::LiftSnapshotLimit() {
  constexpr int64_t kMore = int64_t{1} << 40;  // than any disk has
  if (snapshot_limiter_ != nullptr) snapshot_limiter_->SetBytesPerSecond(kMore);
}

std::optional<StateEvidence> RocksStore::evidence() const {
  MutexLock lock(&mu_);
  return evidence_;
}

absl::Status RocksStore::ClearEvidence() {
  FACTORD_RETURN_IF_ERROR(CheckNotReadOnly());
  FACTORD_RETURN_IF_ERROR(RemoveDurably(options_.path, kEvidenceFile));
  {
    MutexLock lock(&mu_);
    evidence_.reset();
  }
  log_->AllowWrites();
  return absl::OkStatus();
}

absl::Status RocksStore::CheckNotReadOnly() const {
  if (!options_.read_only) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(options_.path, " was opened read-only"));
}

absl::Status RocksStore::CheckVouchable(const StateEvidence& evidence) const {
  FACTORD_RETURN_IF_ERROR(CheckNotReadOnly());
  const absl::Status health = log_->health();
  if (!health.ok()) {
    return absl::UnavailableError(
        absl::StrCat("the folder cannot be vouched for since a write failed: ", health.message()));
  }
  const int64_t last = log_->range().last;
  if (evidence.sequence != last) {
    return absl::FailedPreconditionError(
        absl::StrCat("evidence of sequence ", evidence.sequence, ", but the log ends at ", last));
  }
  return absl::OkStatus();
}

absl::Status RocksStore::CloseClean(const StateEvidence& evidence) {
  FACTORD_RETURN_IF_ERROR(CheckVouchable(evidence));
  log_->RefuseWrites(absl::UnavailableError("the store has been closed"));
  FACTORD_RETURN_IF_ERROR(database_->Flush());
  // The flush may have failed a write in the background before it came to ours.
  FACTORD_RETURN_IF_ERROR(log_->health());
  return WriteFileDurably(options_.path, kEvidenceFile, EncodeEvidence(identity_.uuid, evidence));
}

absl::Status RocksStore::CopyTo(const std::string& path, const StateEvidence& evidence) {
  FACTORD_RETURN_IF_ERROR(CheckVouchable(evidence));
  if (PathExists(path)) return absl::AlreadyExistsError(absl::StrCat(path, " exists"));
  const std::string parent = ParentFolder(path);
  if (!PathExists(parent)) {
    FACTORD_RETURN_IF_ERROR(MakeFolder(parent));
    FACTORD_RETURN_IF_ERROR(SyncFolder(ParentFolder(parent)));
  }
  FACTORD_RETURN_IF_ERROR(MakeFolder(path));
  const absl::Status status = FillCopy(path, evidence);
  // Ours, for it was not there before. Without IDENTITY it would not be opened anyway.
  if (!status.ok()) RemoveTree(path).IgnoreError();
  return Annotate(status, absl::StrCat("copy to ", path));
}

absl::Status RocksStore::FillCopy(const std::string& path, const StateEvidence& evidence) {
  FACTORD_RETURN_IF_ERROR(SyncFolder(ParentFolder(path)));
  rocksdb::Checkpoint* raw = nullptr;
  FACTORD_RETURN_IF_ERROR(ToStatus(rocksdb::Checkpoint::Create(database_->db(), &raw), "copy"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
  // Zero: it flushes first, so that no WAL need be copied.
  FACTORD_RETURN_IF_ERROR(ToStatus(
      checkpoint->CreateCheckpoint(Join(path, kDatabaseFolder), /*log_size_for_flush=*/0), "copy"));
  FACTORD_RETURN_IF_ERROR(MakeFolder(Join(path, kTemporaryFolder)));
  FACTORD_RETURN_IF_ERROR(WriteAndSync(Join(path, kLockFile), ""));
  FACTORD_RETURN_IF_ERROR(
      WriteFileDurably(path, kEvidenceFile, EncodeEvidence(identity_.uuid, evidence)));
  // Last, and all at once: it makes the folder one of ours.
  return WriteFileDurably(path, kIdentityFile, EncodeIdentity(identity_));
}

absl::Status RocksStore::NameDamage(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  const absl::Status files = database_->VerifyFiles();
  if (files.ok()) return status;
  return absl::DataLossError(absl::StrCat(status.message(), "; ", files.message()));
}

absl::StatusOr<int64_t> RocksStore::FreeBytes() const {
  struct statvfs info;
  if (statvfs(options_.path.c_str(), &info) != 0) {
    return ErrnoStatus(errno, "ask for the free space of", options_.path);
  }
  const uint64_t bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  return static_cast<int64_t>(
      std::min(bytes, static_cast<uint64_t>(std::numeric_limits<int64_t>::max())));
}

std::string RocksStore::PathOf(absl::string_view name) const { return Join(options_.path, name); }

}  // namespace factord
