// The store on a disk that fails, is full, is read-only, or loses power.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "base/temp_folder.h"
#include "base/test_file.h"
#include "base/test_mount.h"
#include "storage/fault_file_system.h"
#include "storage/rocks_store.h"
#include "storage/store_test_util.h"

namespace factord {
namespace {

namespace fs = std::filesystem;
using Operation = FaultFileSystem::Operation;

bool IsWal(const std::string& path) { return absl::EndsWith(path, ".log"); }
bool IsTable(const std::string& path) { return absl::EndsWith(path, ".sst"); }

class RocksStoreFaultTest : public ::testing::Test {
 protected:
  // Opens on the file system that faults can be set in.
  std::unique_ptr<Store> Open(Durability durability = Durability::kSync) {
    Store::Options options = TestOptions(path_);
    options.durability = durability;
    if (!Store::Exists(path_)) EXPECT_OK(Store::Create(path_, TestConfig()));
    auto store = RocksStore::Open(options, env_.get());
    EXPECT_OK(store.status());
    return store.ok() ? *std::move(store) : nullptr;
  }

  // The names of the database's.
  std::set<std::string> Tables() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_ + "/db")) {
      if (IsTable(entry.path())) names.insert(entry.path().filename());
    }
    return names;
  }

  const TempFolder folder_{TempFolder::Place::kMemory};
  const std::string path_ = folder_ / "data";
  const std::shared_ptr<FaultFileSystem> files_ = std::make_shared<FaultFileSystem>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(files_);
};

TEST_F(RocksStoreFaultTest, AFailedSyncOfTheLogIsStickyAndReadsGoOn) {
  constexpr int kFailing = 4;
  auto store = Open();
  ASSERT_NE(store, nullptr);
  auto syncs = std::make_shared<std::atomic<int>>(0);
  files_->SetFault([syncs](Operation operation, const std::string& path) {
    if (operation != Operation::kSync || !IsWal(path) || ++*syncs != kFailing) {
      return rocksdb::IOStatus::OK();
    }
    return rocksdb::IOStatus::IOError("the disk does not answer");
  });
  int64_t acknowledged = 0;
  absl::Status status;
  while (status.ok() && acknowledged < 1000) {
    status = AppendTestEvents(store.get(), 10);
    if (status.ok()) acknowledged += 10;
  }
  EXPECT_ERROR(status, kUnavailable, "the disk does not answer");
  EXPECT_EQ(acknowledged, 10 * (kFailing - 1));
  EXPECT_ERROR(store->log()->health(), kUnavailable, "the disk does not answer");

  // The disk answers again; the store has no way of knowing what is on it.
  files_->SetFault(nullptr);
  EXPECT_ERROR(AppendTestEvents(store.get(), 10), kUnavailable, "the disk does not answer");
  EXPECT_CODE(store->log()->Sync(), kUnavailable);
  EXPECT_CODE(store->log()->TrimThrough(0), kUnavailable);
  EXPECT_CODE(TakeTestSnapshot(store.get(), 10), kUnavailable);
  EXPECT_CODE(store->CloseClean({acknowledged, Hash128()}), kUnavailable);
  EXPECT_CODE(store->CopyTo(folder_ / "copy", {acknowledged, Hash128()}), kUnavailable);
  EXPECT_EQ(store->log()->range().last, acknowledged);
  EXPECT_OK(CheckLog(store.get(), 1));

  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_FALSE(store->evidence().has_value());
  // The group whose outcome is unknown may be there, whole, or not.
  const int64_t last = store->log()->range().last;
  EXPECT_TRUE(last == acknowledged || last == acknowledged + 10) << last;
  EXPECT_OK(CheckLog(store.get(), 1));
  EXPECT_OK(AppendTestEvents(store.get(), 10));
  EXPECT_OK(CheckLog(store.get(), 1));
}

// A disk that takes its time tells the time of a sync from that of everything else.
TEST_F(RocksStoreFaultTest, SyncsAreTimedAlone) {
  static constexpr std::chrono::milliseconds kSync{20}, kWrite{50};
  files_->SetFault([](Operation operation, const std::string& path) {
    if (IsWal(path)) std::this_thread::sleep_for(operation == Operation::kSync ? kSync : kWrite);
    return rocksdb::IOStatus::OK();
  });
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 3; ++i) ASSERT_OK(AppendTestEvents(store.get(), 1));
  LogMetrics metrics = store->log()->metrics();
  EXPECT_EQ(metrics.append_seconds.count, 3);
  EXPECT_GE(metrics.append_seconds.sum, 3 * 0.07);
  EXPECT_EQ(metrics.sync_seconds.count, 3);
  EXPECT_GE(metrics.sync_seconds.sum, 3 * 0.02);
  EXPECT_LE(metrics.sync_seconds.sum, metrics.append_seconds.sum - 3 * 0.05);

  // Without a sync an append has none to time.
  store.reset();
  store = Open(Durability::kAsync);
  ASSERT_OK(AppendTestEvents(store.get(), 1));
  metrics = store->log()->metrics();
  EXPECT_EQ(metrics.append_seconds.count, 1);
  EXPECT_EQ(metrics.sync_seconds.count, 0);
  ASSERT_OK(store->log()->Sync());
  EXPECT_EQ(store->log()->metrics().sync_seconds.count, 1);
  EXPECT_GE(store->log()->metrics().sync_seconds.sum, 0.02);
}

TEST_F(RocksStoreFaultTest, AFailedExplicitSyncIsStickyToo) {
  const auto store = Open(Durability::kAsync);
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  files_->SetFault([](Operation operation, const std::string& path) {
    return operation == Operation::kSync && IsWal(path) ? rocksdb::IOStatus::IOError("gone")
                                                        : rocksdb::IOStatus::OK();
  });
  EXPECT_CODE(store->log()->Sync(), kUnavailable);
  files_->SetFault(nullptr);
  EXPECT_CODE(AppendTestEvents(store.get(), 10), kUnavailable);
  EXPECT_FALSE(store->log()->health().ok());
}

TEST_F(RocksStoreFaultTest, AFullDiskStopsTheLogForGoodAndLosesNothing) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  files_->SetFault([](Operation operation, const std::string& path) {
    return operation == Operation::kAppend && IsWal(path) ? rocksdb::IOStatus::NoSpace("full")
                                                          : rocksdb::IOStatus::OK();
  });
  EXPECT_CODE(AppendTestEvents(store.get(), 10), kResourceExhausted);
  files_->SetFault(nullptr);
  EXPECT_CODE(AppendTestEvents(store.get(), 10), kUnavailable);
  EXPECT_OK(CheckLog(store.get(), 1));
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().last, 10);
  EXPECT_OK(AppendTestEvents(store.get(), 10));
}

// RocksDB stops writing; that shows before anybody appends.
TEST_F(RocksStoreFaultTest, AFailureInTheBackgroundShowsInTheHealth) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 2; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 10));
  files_->SetFault([](Operation operation, const std::string& path) {
    return operation == Operation::kSync && IsTable(path) ? rocksdb::IOStatus::IOError("gone")
                                                          : rocksdb::IOStatus::OK();
  });
  // Trimming flushes; the log itself is written without fault.
  EXPECT_CODE(store->log()->TrimThrough(10), kUnavailable);
  EXPECT_CODE(store->log()->health(), kUnavailable);
  files_->SetFault(nullptr);
  EXPECT_CODE(AppendTestEvents(store.get(), 1), kUnavailable);
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().last, 20);
  EXPECT_OK(CheckLog(store.get(), store->log()->range().first));
  EXPECT_OK(AppendTestEvents(store.get(), 1));
}

// One Append may be several records of the log; a WAL that ends amid it holds all or none of them.
TEST_F(RocksStoreFaultTest, AnAppendThatBreaksOffLeavesAllOrNothing) {
  auto store = Open(Durability::kAsync);
  ASSERT_NE(store, nullptr);
  std::string wal;
  for (const auto& entry : fs::directory_iterator(path_ + "/db")) {
    if (IsWal(entry.path())) wal = std::max(wal, entry.path().filename().string());
  }
  wal = "/db/" + wal;
  ASSERT_OK(AppendTestEvents(store.get(), 3));
  const uint64_t before = fs::file_size(path_ + wal);
  ASSERT_OK(AppendTestEvents(store.get(), 5000));
  const uint64_t after = fs::file_size(path_ + wal);
  ASSERT_GT(after, before + 50'000);
  const std::string copy = folder_ / "copy";
  for (int i = 0; i <= 20; ++i) {
    const uint64_t length = before + (after - before) * static_cast<uint64_t>(i) / 20;
    fs::remove_all(copy);
    fs::copy(path_, copy, fs::copy_options::recursive);
    fs::resize_file(copy + wal, length);
    const auto reopened = Store::Open(TestOptions(copy));
    ASSERT_OK(reopened.status());
    EXPECT_EQ((*reopened)->log()->range().last, length == after ? 5003 : 3) << length;
    EXPECT_OK(CheckLog(reopened->get(), 1));
  }
}

// A failed write and a snapshot or a trim under way: RocksDB must not be called again in between,
// where it asserts.
TEST_F(RocksStoreFaultTest, AFailureAmidSnapshotsAndTrimsEndsInErrorsOnly) {
  std::mt19937 random(1);
  for (int round = 0; round < 12; ++round) {
    fs::remove_all(path_);
    auto store = Open(round % 2 == 0 ? Durability::kSync : Durability::kAsync);
    ASSERT_NE(store, nullptr);
    ASSERT_OK(AppendTestEvents(store.get(), 10));
    std::thread snapshotter([&store] {
      absl::Status status;
      while (status.ok()) {
        const int64_t last = store->log()->range().last;
        status = TakeTestSnapshot(store.get(), last);
        if (status.ok()) status = store->log()->TrimThrough(last);
      }
    });
    auto left = std::make_shared<std::atomic<int>>(static_cast<int>(random() % 100));
    files_->SetFault([left, round](Operation operation, const std::string& path) {
      const bool meant = IsWal(path) && operation != Operation::kCreate;
      if (!meant || left->fetch_sub(1) > 0) return rocksdb::IOStatus::OK();
      return round % 3 == 0 ? rocksdb::IOStatus::NoSpace("full")
                            : rocksdb::IOStatus::IOError("gone");
    });
    int64_t acknowledged = 10;
    while (AppendTestEvents(store.get(), 10).ok()) acknowledged += 10;
    snapshotter.join();
    EXPECT_FALSE(store->log()->health().ok());
    EXPECT_OK(CheckLog(store.get(), store->log()->range().first));
    store.reset();
    files_->SetFault(nullptr);
    store = Open();
    ASSERT_NE(store, nullptr);
    EXPECT_GE(store->log()->range().last, acknowledged);
    EXPECT_OK(CheckLog(store.get(), store->log()->range().first));
    EXPECT_OK(CheckSnapshot(store.get()));
  }
}

TEST_F(RocksStoreFaultTest, AManifestThatCannotBeWrittenLeavesTheFormerOrTheNewSnapshot) {
  for (const Operation failing : {Operation::kAppend, Operation::kSync}) {
    for (const bool full : {false, true}) {
      fs::remove_all(path_);
      auto store = Open();
      ASSERT_NE(store, nullptr);
      ASSERT_OK(AppendTestEvents(store.get(), 20));
      ASSERT_OK(TakeTestSnapshot(store.get(), 10));
      files_->SetFault([failing, full](Operation operation, const std::string& path) {
        if (operation != failing || !absl::StrContains(path, "MANIFEST")) {
          return rocksdb::IOStatus::OK();
        }
        return full ? rocksdb::IOStatus::NoSpace("full") : rocksdb::IOStatus::IOError("gone");
      });
      EXPECT_FALSE(TakeTestSnapshot(store.get(), 20).ok());
      EXPECT_EQ(store->snapshot().sequence, 10);
      files_->SetFault(nullptr);
      // RocksDB has stopped writing; whatever is tried now ends in an error or works, and never
      // otherwise.
      AppendTestEvents(store.get(), 10).IgnoreError();
      TakeTestSnapshot(store.get(), 20).IgnoreError();
      const int64_t last = store->log()->range().last;
      EXPECT_OK(CheckLog(store.get(), 1));
      store.reset();
      store = Open();
      ASSERT_NE(store, nullptr);
      EXPECT_GE(store->log()->range().last, last);
      EXPECT_OK(CheckLog(store.get(), 1));
      EXPECT_OK(CheckSnapshot(store.get()));
    }
  }
}

// Whether it lists the new snapshot is then unknown: RocksDB removed the files of that, and a
// manifest that listed them could not be opened any more.
TEST_F(RocksStoreFaultTest, AManifestThatMayListTheNewSnapshotCanBeOpened) {
  // RocksDB writes it twice, first to have numbers for the files.
  for (const int failing : {1, 2}) {
    SCOPED_TRACE(failing);
    fs::remove_all(path_);
    auto store = Open();
    ASSERT_NE(store, nullptr);
    ASSERT_OK(AppendTestEvents(store.get(), 20));
    ASSERT_OK(TakeTestSnapshot(store.get(), 10));
    auto syncs = std::make_shared<std::atomic<int>>(0);
    files_->SetFault([failing, syncs](Operation operation, const std::string& path) {
      return operation == Operation::kSync && absl::StrContains(path, "MANIFEST") &&
                     ++*syncs == failing
                 ? rocksdb::IOStatus::IOError("gone")
                 : rocksdb::IOStatus::OK();
    });
    EXPECT_CODE(TakeTestSnapshot(store.get(), 20), kUnavailable);
    EXPECT_EQ(*syncs, failing);
    store.reset();
    store = Open();
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(store->log()->range().last, 20);
    EXPECT_OK(CheckLog(store.get(), 1));
    EXPECT_OK(CheckSnapshot(store.get()));
    ASSERT_OK(TakeTestSnapshot(store.get(), 20));
    EXPECT_OK(CheckSnapshot(store.get()));
  }
}

// It has a manifest as well, which says nothing of the one in use: tables are removed as before.
TEST_F(RocksStoreFaultTest, ABackupThatFailsKeepsNoTableAlive) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 20));
  const std::string backup = folder_ / "backup";
  files_->SetFault([backup](Operation operation, const std::string& path) {
    return operation == Operation::kAppend && absl::StartsWith(path, backup) &&
                   absl::StrContains(path, "MANIFEST")
               ? rocksdb::IOStatus::NoSpace("full")
               : rocksdb::IOStatus::OK();
  });
  EXPECT_CODE(store->CopyTo(backup, {20, Hash128()}), kResourceExhausted);
  files_->SetFault(nullptr);
  // Enough of them for compactions.
  for (int i = 0; i < 40; ++i) ASSERT_OK(TakeTestSnapshot(store.get(), 20));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (Tables().size() > 100 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LE(Tables().size(), 100U);
}

TEST_F(RocksStoreFaultTest, ASnapshotThatFindsTheDiskFullLeavesTheFormerAndTheLogAlone) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 5));
  for (const Operation failing : {Operation::kCreate, Operation::kAppend, Operation::kSync}) {
    files_->SetFault([failing](Operation operation, const std::string& path) {
      return operation == failing && IsTable(path) ? rocksdb::IOStatus::NoSpace("full")
                                                   : rocksdb::IOStatus::OK();
    });
    EXPECT_CODE(TakeTestSnapshot(store.get(), 10), kResourceExhausted);
    EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
    EXPECT_EQ(store->snapshot().sequence, 5);
    EXPECT_OK(CheckSnapshot(store.get()));
    files_->SetFault(nullptr);
    EXPECT_OK(AppendTestEvents(store.get(), 10));
  }
  EXPECT_OK(TakeTestSnapshot(store.get(), 10));
  EXPECT_OK(CheckSnapshot(store.get()));
}

// A snapshot's files are moved into the database by a link. Where the old name could not be
// removed, the next snapshot wrote through it into the former one.
TEST_F(RocksStoreFaultTest, AFileThatWasLeftBehindIsNotWrittenThrough) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 20));
  ASSERT_OK(TakeTestSnapshot(store.get(), 10));
  std::map<std::string, std::string> tables;
  for (const auto& entry : fs::directory_iterator(path_ + "/db")) {
    if (IsTable(entry.path())) tables[entry.path()] = ReadAll(entry.path());
  }
  ASSERT_FALSE(tables.empty());
  int64_t sequence = 10;
  for (const auto& [table, contents] : tables) {
    for (const char* name : {"users", "items", "dedupe", "producers", "meta"}) {
      const std::string staged = absl::StrCat(path_, "/tmp/", name, "-0.sst");
      if (!fs::exists(staged)) fs::create_hard_link(table, staged);
    }
    ASSERT_OK(TakeTestSnapshot(store.get(), ++sequence));
    if (fs::exists(table)) {
      EXPECT_EQ(ReadAll(table), contents);
    }
    EXPECT_OK(CheckSnapshot(store.get()));
  }
}

TEST_F(RocksStoreFaultTest, AReadOnlyFileSystemIsPermissionDenied) {
  Open().reset();
  files_->SetFault([](Operation, const std::string&) {
    return rocksdb::IOStatus::IOError("While open a file", "Read-only file system");
  });
  EXPECT_CODE(RocksStore::Open(TestOptions(path_), env_.get()).status(), kPermissionDenied);
}

// In sync mode an acknowledged event, and in both modes a snapshot with all its events, is on disk
// whatever was not synced.
TEST_F(RocksStoreFaultTest, APowerLossTakesNothingThatWasPromised) {
  for (const Durability durability : {Durability::kSync, Durability::kAsync}) {
    SCOPED_TRACE(durability == Durability::kSync ? "sync" : "async");
    fs::remove_all(path_);
    const auto store = Open(durability);
    ASSERT_NE(store, nullptr);
    int64_t promised = 0;
    int64_t snapshot = 0;
    for (int step = 0; step < 12; ++step) {
      ASSERT_OK(AppendTestEvents(store.get(), 7));
      const int64_t last = store->log()->range().last;
      if (durability == Durability::kSync) promised = last;
      if (step % 3 == 1) {
        snapshot = last - 2;
        ASSERT_OK(TakeTestSnapshot(store.get(), snapshot));
        promised = std::max(promised, snapshot);
      }
      if (step == 4) {
        ASSERT_OK(store->log()->TrimThrough(snapshot));
      }
      if (step == 10) {
        ASSERT_OK(store->log()->Sync());
        promised = last;
      }
      const std::string after = folder_ / absl::StrCat("after-", step);
      files_->CopyAsAfterPowerLoss(path_, after);
      auto reopened = Store::Open(TestOptions(after));
      ASSERT_OK(reopened.status());
      const LogRange range = (*reopened)->log()->range();
      EXPECT_GE(range.last, promised) << "step " << step;
      EXPECT_LE(range.last, last);
      EXPECT_EQ((*reopened)->snapshot().sequence, snapshot);
      EXPECT_OK(CheckSnapshot(reopened->get()));
      EXPECT_OK(CheckLog(reopened->get(), range.first));
      reopened->reset();
      fs::remove_all(after);
    }
  }
}

// Whole files of the log are dropped amid a trim, which a power loss does not undo: so it must not
// take the record of the trim either.
TEST_F(RocksStoreFaultTest, APowerLossAmidATrimLeavesItsRecord) {
  bool was_dropped = false;
  for (int wait = 1; !was_dropped; wait *= 2) {
    ASSERT_LT(wait, 5'000);
    fs::remove_all(path_);
    auto store = Open(Durability::kAsync);
    ASSERT_NE(store, nullptr);
    for (int i = 0; i < 10; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
    store.reset();
    store = Open(Durability::kAsync);
    ASSERT_NE(store, nullptr);
    // They are a file now, which a compaction has to move down before it can be dropped.
    std::this_thread::sleep_for(std::chrono::milliseconds(wait));
    ASSERT_OK(AppendTestEvents(store.get(), 10));
    ASSERT_OK(TakeTestSnapshot(store.get(), 100));
    const std::set<std::string> before = Tables();
    // Files are dropped; what follows is not done.
    files_->SetFault([](Operation operation, const std::string&) {
      return operation == Operation::kCreate ? rocksdb::IOStatus::IOError("gone")
                                             : rocksdb::IOStatus::OK();
    });
    EXPECT_CODE(store->log()->TrimThrough(100), kUnavailable);
    files_->SetFault(nullptr);
    const std::set<std::string> after = Tables();
    was_dropped = !std::includes(after.begin(), after.end(), before.begin(), before.end());
    const std::string copy = folder_ / "copy";
    fs::remove_all(copy);
    files_->CopyAsAfterPowerLoss(path_, copy);
    const auto reopened = Store::Open(TestOptions(copy));
    ASSERT_OK(reopened.status());
    EXPECT_EQ((*reopened)->log()->range().first, 101);
    EXPECT_OK(CheckLog(reopened->get(), 101));
  }
}

TEST_F(RocksStoreFaultTest, APowerLossAfterACleanCloseTakesNothing) {
  auto store = Open(Durability::kAsync);
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 100));
  ASSERT_OK(store->CloseClean({100, Hash128{1, 2}}));
  const std::string after = folder_ / "after";
  files_->CopyAsAfterPowerLoss(path_, after);
  const auto reopened = Store::Open(TestOptions(after));
  ASSERT_OK(reopened.status());
  EXPECT_TRUE((*reopened)->evidence().has_value());
  EXPECT_OK(CheckLog(reopened->get(), 1));
}

TEST_F(RocksStoreFaultTest, AReallyReadOnlyMountCanBeReadAndNothingElse) {
  {
    const auto store = Open();
    ASSERT_NE(store, nullptr);
    ASSERT_OK(AppendTestEvents(store.get(), 100));
    ASSERT_OK(TakeTestSnapshot(store.get(), 50));
  }
  const TestMount bind(path_.c_str(), path_, nullptr, MS_BIND, nullptr);
  if (!bind.ok()) GTEST_SKIP() << "this process may not mount";
  ASSERT_TRUE(bind.Remount(MS_BIND | MS_RDONLY));
  EXPECT_CODE(Store::Open(TestOptions(path_)).status(), kPermissionDenied);
  Store::Options options = TestOptions(path_);
  options.read_only = true;
  const auto store = Store::Open(options);
  ASSERT_OK(store.status());
  EXPECT_EQ((*store)->log()->range().last, 100);
  EXPECT_OK(CheckLog(store->get(), 1));
  EXPECT_OK(CheckSnapshot(store->get()));
}

TEST_F(RocksStoreFaultTest, AReallyFullDiskLosesNothing) {
  const std::string disk = folder_ / "disk";
  fs::create_directory(disk);
  const TestMount tmpfs(disk, "size=8m");
  if (!tmpfs.ok()) GTEST_SKIP() << "this process may not mount";
  const std::string path = disk + "/data";
  auto store = OpenOrCreate(TestOptions(path));
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1000));
  ASSERT_OK(TakeTestSnapshot(store.get(), 1000));
  {
    const auto writer = store->NewSnapshot();
    ASSERT_OK(writer.status());
    const std::string payload(size_t{1} << 20, 'x');
    absl::Status status;
    for (uint32_t i = 0; status.ok() && i < 20; ++i) {
      status = (*writer)->AddRow(Side::kUser, i, payload);
    }
    if (status.ok()) status = (*writer)->Commit(TestMeta(1000));
    EXPECT_CODE(status, kResourceExhausted);
  }
  EXPECT_OK(CheckSnapshot(store.get()));
  int64_t acknowledged = 1000;
  absl::Status status;
  while (status.ok() && acknowledged < 10'000'000) {
    status = AppendTestEvents(store.get(), 1000);
    if (status.ok()) acknowledged += 1000;
  }
  EXPECT_CODE(status, kResourceExhausted);
  EXPECT_CODE(AppendTestEvents(store.get(), 1), kUnavailable);
  EXPECT_OK(CheckLog(store.get(), 1));
  store.reset();
  // Not a byte left: neither opening, nor creating elsewhere on the disk, does worse than refuse.
  {
    std::ofstream filler(disk + "/filler");
    while (filler.write("0123456789abcdef", 16).flush()) {
    }
  }
  EXPECT_CODE(Store::Open(TestOptions(path)).status(), kResourceExhausted);
  EXPECT_CODE(Store::Create(disk + "/other", {}), kResourceExhausted);
  Store::Options read_only = TestOptions(path);
  read_only.read_only = true;
  {
    const auto reader = Store::Open(read_only);
    ASSERT_OK(reader.status());
    EXPECT_GE((*reader)->log()->range().last, acknowledged);
    EXPECT_OK(CheckLog(reader->get(), 1));
  }
  // Room again: everything acknowledged is there.
  ASSERT_TRUE(tmpfs.Remount(0, "size=64m"));
  store = OpenOrCreate(TestOptions(path));
  ASSERT_NE(store, nullptr);
  EXPECT_GE(store->log()->range().last, acknowledged);
  EXPECT_OK(CheckLog(store.get(), 1));
  EXPECT_OK(CheckSnapshot(store.get()));
  EXPECT_OK(AppendTestEvents(store.get(), 1000));
}

}  // namespace
}  // namespace factord
