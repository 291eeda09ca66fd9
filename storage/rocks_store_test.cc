#include "storage/rocks_store.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/temp_folder.h"
#include "base/test_file.h"
#include "storage/damage_test_util.h"
#include "storage/identity.h"
#include "storage/store_test_util.h"
#include "storage/table_check.h"

namespace factord {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RocksStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open() { return OpenOrCreate(TestOptions(path_)); }
  std::unique_ptr<Store> OpenReadOnly() {
    Store::Options options = TestOptions(path_);
    options.read_only = true;
    return OpenOrCreate(options);
  }
  absl::Status OpenStatus() { return Store::Open(TestOptions(path_)).status(); }

  // The crash test uses a real disk.
  const TempFolder folder_{TempFolder::Place::kMemory};
  const std::string path_ = folder_ / "data";
};

// The folder: creation, identity, lock.

TEST_F(RocksStoreTest, CreatedFolderOpensEmptyWithItsConfiguration) {
  EXPECT_FALSE(Store::Exists(path_));
  ASSERT_OK(Store::Create(path_, TestConfig()));
  EXPECT_TRUE(Store::Exists(path_));
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->config(), TestConfig());
  EXPECT_TRUE(store->log()->range().empty());
  EXPECT_EQ(store->log()->range().first, 1);
  EXPECT_EQ(store->snapshot().sequence, 0);
  EXPECT_FALSE(store->evidence().has_value());
  EXPECT_OK(CheckSnapshot(store.get()));
  EXPECT_OK(CheckLog(store.get(), 1));
}

TEST_F(RocksStoreTest, CreateRefusesAFolderThatHoldsAnything) {
  fs::create_directory(path_);
  WriteAll(path_ + "/holiday.jpg", "x");
  EXPECT_ERROR(Store::Create(path_, {}), kFailedPrecondition, "holiday.jpg");
  fs::remove(path_ + "/holiday.jpg");
  fs::create_directory(path_ + "/lost+found");
  ASSERT_OK(Store::Create(path_, {}));
  EXPECT_CODE(Store::Create(path_, {}), kFailedPrecondition);
}

TEST_F(RocksStoreTest, CreateDoesNotMakeParents) {
  EXPECT_CODE(Store::Create(folder_ / "a/b", {}), kNotFound);
}

TEST_F(RocksStoreTest, ACreationThatWasCutOffIsCompleted) {
  ASSERT_OK(Store::Create(path_, {}));
  // As if it had stopped just before the end, and with a torn file.
  fs::rename(path_ + "/IDENTITY", path_ + "/IDENTITY.creating");
  WriteAll(path_ + "/IDENTITY.creating", "fact");
  EXPECT_FALSE(Store::Exists(path_));
  EXPECT_CODE(OpenStatus(), kNotFound);
  ASSERT_OK(Store::Create(path_, TestConfig()));
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->config(), TestConfig());
}

TEST_F(RocksStoreTest, OpenNamesWhatIsNotADataFolder) {
  EXPECT_CODE(OpenStatus(), kNotFound);
  fs::create_directory(path_);
  EXPECT_CODE(OpenStatus(), kNotFound);
  WriteAll(path_ + "/holiday.jpg", "x");
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "not a data folder");
  fs::remove_all(path_);
  WriteAll(path_, "a file");
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "no folder");
  fs::remove(path_);
  fs::create_directory(path_);
  WriteAll(path_ + "/IDENTITY", "I am somebody else's\n");
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "IDENTITY");
  EXPECT_TRUE(fs::exists(path_ + "/IDENTITY"));
}

TEST_F(RocksStoreTest, AFolderInUseIsRefused) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "in use by another process");
  Store::Options options = TestOptions(path_);
  options.read_only = true;
  EXPECT_ERROR(Store::Open(options).status(), kFailedPrecondition, "in use by another process");
  store.reset();
  EXPECT_OK(OpenStatus());
  // Readers too keep it.
  store = OpenReadOnly();
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "in use by another process");
}

TEST_F(RocksStoreTest, AnotherFormatVersionIsNamed) {
  ASSERT_OK(Store::Create(path_, {}));
  std::string text = ReadAll(path_ + "/IDENTITY");
  const size_t at = text.find("format 1\n");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 9, "format 2\n");
  // A flipped digit alone is damage.
  WriteAll(path_ + "/IDENTITY", text);
  EXPECT_CODE(OpenStatus(), kDataLoss);
  text.resize(text.rfind("checksum "));
  char checksum[32];
  snprintf(checksum, sizeof(checksum), "checksum %016llx\n",
           static_cast<unsigned long long>(HashBytes64(text)));
  WriteAll(path_ + "/IDENTITY", text + checksum);
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "format version 2");
  EXPECT_ERROR(OpenStatus(), kFailedPrecondition, "format version 1");
}

TEST_F(RocksStoreTest, AChangedOrSwappedIdentityIsRefused) {
  ASSERT_OK(Store::Create(path_, TestConfig()));
  const std::string other = folder_ / "other";
  ASSERT_OK(Store::Create(other, TestConfig()));
  const std::string text = ReadAll(path_ + "/IDENTITY");
  WriteAll(path_ + "/IDENTITY", ReadAll(other + "/IDENTITY"));
  EXPECT_ERROR(OpenStatus(), kDataLoss, "IDENTITY");
  // Its own uuid, but another configuration under a right checksum.
  auto identity = DecodeIdentity(text);
  ASSERT_OK(identity.status());
  identity->config["rank"] = "9";
  WriteAll(path_ + "/IDENTITY", EncodeIdentity(*identity));
  EXPECT_ERROR(OpenStatus(), kDataLoss, "IDENTITY");
  fs::remove(path_ + "/IDENTITY");
  EXPECT_ERROR(OpenStatus(), kDataLoss, "IDENTITY");
  EXPECT_ERROR(Store::Create(path_, TestConfig()), kDataLoss, "IDENTITY");
  WriteAll(path_ + "/IDENTITY", text);
  EXPECT_OK(OpenStatus());
}

TEST_F(RocksStoreTest, AMissingDatabaseIsNeverMadeAnew) {
  ASSERT_OK(Store::Create(path_, {}));
  fs::remove(path_ + "/db/CURRENT");
  EXPECT_ERROR(OpenStatus(), kDataLoss, "CURRENT");
  fs::remove_all(path_ + "/db");
  EXPECT_ERROR(OpenStatus(), kDataLoss, "CURRENT");
  EXPECT_FALSE(fs::exists(path_ + "/db"));
}

// The log.

TEST_F(RocksStoreTest, AppendedEventsAreReadBackAlsoAfterAReopen) {
  for (const Durability durability : {Durability::kSync, Durability::kAsync}) {
    fs::remove_all(path_);
    Store::Options options = TestOptions(path_);
    options.durability = durability;
    auto store = OpenOrCreate(options);
    ASSERT_NE(store, nullptr);
    // 5,000 events are several chunks of one Append.
    for (const int count : {1, 2, 5000, 17}) ASSERT_OK(AppendTestEvents(store.get(), count));
    for (int round = 0; round < 2; ++round) {
      EXPECT_EQ(store->log()->range().first, 1);
      EXPECT_EQ(store->log()->range().last, 5020);
      for (const int64_t from : {1, 2, 3, 1000, 4021, 5003, 5004, 5020, 5021}) {
        EXPECT_OK(CheckLog(store.get(), from));
      }
      store.reset();
      store = OpenOrCreate(options);
      ASSERT_NE(store, nullptr);
    }
    ASSERT_OK(AppendTestEvents(store.get(), 3));
    EXPECT_OK(store->log()->Sync());
    EXPECT_OK(CheckLog(store.get(), 1));
  }
}

TEST_F(RocksStoreTest, ReadingOutsideTheLogIsOutOfRange) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->ReadFrom(5).status().message(),
            "the log is empty, its next sequence is 1, not 5");
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  EXPECT_CODE(store->log()->ReadFrom(0).status(), kOutOfRange);
  EXPECT_CODE(store->log()->ReadFrom(12).status(), kOutOfRange);
  EXPECT_OK(store->log()->ReadFrom(11).status());
}

TEST_F(RocksStoreTest, ACursorSeesWhatWasThereWhenItWasMade) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  const auto cursor = store->log()->ReadFrom(1);
  ASSERT_OK(cursor.status());
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 20));
  ASSERT_OK(store->log()->TrimThrough(20));
  const auto events = (*cursor)->Next();
  ASSERT_OK(events.status());
  EXPECT_EQ(events->size(), 10u);
  const auto end = (*cursor)->Next();
  ASSERT_OK(end.status());
  EXPECT_TRUE(end->empty());
}

TEST_F(RocksStoreTest, WrongAppendsAreRefusedAndChangeNothing) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_CODE(store->log()->Append({}), kInvalidArgument);
  EXPECT_CODE(store->log()->Append(TestEvents(2, 3)), kInvalidArgument);
  Event event;
  event.sequence = 1;
  event.item_id = "i";
  EXPECT_CODE(store->log()->Append({event}), kInvalidArgument);
  EXPECT_OK(store->log()->health());
  EXPECT_OK(store->log()->Append(TestEvents(1, 3)));
}

TEST_F(RocksStoreTest, TrimmingForgetsWholeRecordsAndGoesOnAfterAReopen) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 10; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  // Nothing behind the snapshot may go.
  EXPECT_CODE(store->log()->TrimThrough(5), kFailedPrecondition);
  ASSERT_OK(TakeTestSnapshot(store.get(), 55));
  EXPECT_CODE(store->log()->TrimThrough(56), kFailedPrecondition);
  ASSERT_OK(store->log()->TrimThrough(55));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(store->log()->range().first, 51);
    EXPECT_EQ(store->log()->range().last, 100);
    EXPECT_OK(CheckLog(store.get(), 51));
    EXPECT_CODE(store->log()->ReadFrom(50).status(), kOutOfRange);
    store.reset();
    store = Open();
    ASSERT_NE(store, nullptr);
  }
  ASSERT_OK(TakeTestSnapshot(store.get(), 100));
  ASSERT_OK(store->log()->TrimThrough(100));
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(store->log()->range().empty());
    EXPECT_EQ(store->log()->range().first, 101);
    EXPECT_OK(CheckLog(store.get(), 101));
    store.reset();
    store = Open();
    ASSERT_NE(store, nullptr);
  }
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  EXPECT_OK(CheckLog(store.get(), 101));
  EXPECT_OK(CheckSnapshot(store.get()));
}

// A snapshot of no rows, which the log may be trimmed behind.
absl::Status CommitMetaOnly(Store* store, int64_t sequence) {
  FACTORD_ASSIGN_OR_RETURN(const auto writer, store->NewSnapshot());
  SnapshotMeta meta;
  meta.sequence = sequence;
  return writer->Commit(meta);
}

TEST_F(RocksStoreTest, TrimmingFreesTheDisk) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  const uint64_t empty = BytesOnDisk(path_);
  for (int round = 0; round < 3; ++round) {
    // A reopen turns the WAL into a file: some of what is trimmed lies in files, the rest in the
    // memtable.
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 5; ++j) ASSERT_OK(AppendTestEvents(store.get(), 10000));
      store.reset();
      store = Open();
      ASSERT_NE(store, nullptr);
    }
    for (int j = 0; j < 5; ++j) ASSERT_OK(AppendTestEvents(store.get(), 10000));
    ASSERT_GT(BytesOnDisk(path_), empty + (2u << 20));
    const int64_t last = store->log()->range().last;
    ASSERT_OK(CommitMetaOnly(store.get(), last));
    ASSERT_OK(store->log()->TrimThrough(last));
    // What is left over must not add up either. A compaction in the background frees the last of
    // it.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (BytesOnDisk(path_) > empty + (1u << 19)) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "round " << round;
      std::this_thread::yield();
    }
  }
}

TEST_F(RocksStoreTest, ASmallFolderIsSmallOnDisk) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1));
  EXPECT_LT(BytesOnDisk(path_), 1u << 20);
}

TEST_F(RocksStoreTest, TrimmedFilesAreDroppedAndTheRestKept) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 5; ++i) {
    ASSERT_OK(AppendTestEvents(store.get(), 3000));
    store.reset();
    store = Open();
    ASSERT_NE(store, nullptr);
  }
  for (const int64_t through : {2500, 7100, 7100, 12000}) {
    ASSERT_OK(CommitMetaOnly(store.get(), through));
    ASSERT_OK(store->log()->TrimThrough(through));
    const int64_t first = store->log()->range().first;
    EXPECT_LE(first, through + 1);
    EXPECT_GT(first, through - 1000);
    EXPECT_OK(CheckLog(store.get(), first));
  }
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().first, 12001);
  EXPECT_OK(CheckLog(store.get(), 12001));
}

// The tables with many events, oldest first.
std::vector<fs::path> LogTables(const std::string& path) {
  constexpr uintmax_t kManyBytes = 10'000;
  std::vector<fs::path> tables;
  for (const auto& entry : fs::directory_iterator(path + "/db")) {
    if (entry.path().extension() == ".sst" && entry.file_size() > kManyBytes) {
      tables.push_back(entry.path());
    }
  }
  std::sort(tables.begin(), tables.end());
  return tables;
}

// In the first of a table's blocks.
constexpr size_t kBitOfFirstBlock = 800;

// Opens the database until all files of the log have moved down from the first level to the second;
// how many there are.
size_t MoveDown(const std::string& path) {
  for (int i = 0; i < 1000; ++i) {
    FailureLatch failure;
    const auto database =
        RocksDatabase::Open(path + "/db", RocksDatabase::Mode::kReadWrite, nullptr, &failure);
    EXPECT_OK(database.status());
    if (!database.ok()) return 0;
    rocksdb::ColumnFamilyMetaData log;
    (*database)->db()->GetColumnFamilyMetaData((*database)->family(Family::kLog), &log);
    if (log.levels[0].files.empty()) return log.levels[1].files.size();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return 0;
}

// RocksDB 7.8 ends a scan as if all were read where a file cannot be, if it comes to it from the
// one before: here, from one that has nothing but what a trim left.
TEST_F(RocksStoreTest, ALogFileThatCannotBeReadIsNotTheLogsEnd) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 3000));
  ASSERT_OK(CommitMetaOnly(store.get(), 3000));
  ASSERT_OK(store->log()->TrimThrough(3000));
  store.reset();
  ASSERT_EQ(MoveDown(path_), 1);
  store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 3000));
  store.reset();
  ASSERT_EQ(MoveDown(path_), 2);
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().first, 3001);
  EXPECT_EQ(store->log()->range().last, 6000);
  store.reset();
  const std::vector<fs::path> tables = LogTables(path_);
  ASSERT_EQ(tables.size(), 1);
  FlipBit(tables[0], kBitOfFirstBlock);
  EXPECT_ERROR(OpenStatus(), kDataLoss, tables[0].filename().string());
}

// A power loss may leave some pages of a table that was being written, and zeros for others. The
// database does not know it yet.
TEST_F(RocksStoreTest, ATableThatIsNotListedMayBeDamaged) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 3000));
  ASSERT_OK(store->CloseClean({3000, Hash128()}));
  store.reset();
  std::string table;
  for (const auto& entry : fs::directory_iterator(path_ + "/db")) {
    if (entry.path().extension() == ".sst") table = ReadAll(entry.path());
  }
  constexpr size_t kSomeBytes = 100;
  table.replace(EndOfProperties(table) - kSomeBytes, kSomeBytes, kSomeBytes, '\0');
  const std::string not_listed = path_ + "/db/999999.sst";
  WriteAll(not_listed, table);
  EXPECT_ERROR(CheckTable(not_listed), kDataLoss, "properties");
  store = OpenReadOnly();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().last, 3000);
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().last, 3000);
}

// A compaction, unlike a scan, tells of it, and drops nothing.
TEST_F(RocksStoreTest, ACompactionThatCannotReadAFileFails) {
  for (int i = 0; i < 4; ++i) {
    const auto store = Open();  // and flushes what the one before has appended
    ASSERT_NE(store, nullptr);
    if (i < 3) ASSERT_OK(AppendTestEvents(store.get(), 3000));
  }
  ASSERT_NE(Open(), nullptr);
  const std::vector<fs::path> tables = LogTables(path_);
  ASSERT_EQ(tables.size(), 3);
  FlipBit(tables[1], kBitOfFirstBlock);
  FailureLatch failure;
  const auto database =
      RocksDatabase::Open(path_ + "/db", RocksDatabase::Mode::kReadWrite, nullptr, &failure);
  ASSERT_OK(database.status());
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  EXPECT_TRUE((*database)
                  ->db()
                  ->CompactRange(options, (*database)->family(Family::kLog), nullptr, nullptr)
                  .IsCorruption());
  EXPECT_ERROR(failure.Get(), kDataLoss, tables[1].filename().string());
  // What it has written so far may be there, too, for a while.
  const std::vector<fs::path> afterwards = LogTables(path_);
  EXPECT_TRUE(std::includes(afterwards.begin(), afterwards.end(), tables.begin(), tables.end()));
}

// Snapshots.

TEST_F(RocksStoreTest, ACommittedSnapshotReplacesTheFormerAndStays) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 300));
  for (const int64_t sequence : {100, 101, 300}) {
    ASSERT_OK(TakeTestSnapshot(store.get(), sequence));
    for (int round = 0; round < 2; ++round) {
      EXPECT_EQ(store->snapshot().sequence, sequence);
      EXPECT_OK(CheckSnapshot(store.get()));
      store.reset();
      store = Open();
      ASSERT_NE(store, nullptr);
    }
  }
  EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
}

TEST_F(RocksStoreTest, RowsThatASnapshotLeavesOutKeepTheirFormerValue) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 5));
  {
    const auto writer = store->NewSnapshot();
    ASSERT_OK(writer.status());
    ASSERT_OK(AddTestRow(writer->get(), Side::kUser, 3, 10));
    SnapshotMeta meta = TestMeta(5);
    meta.sequence = 10;
    ASSERT_OK((*writer)->Commit(meta));
    EXPECT_CODE((*writer)->Commit(meta), kFailedPrecondition);
  }
  std::vector<uint64_t> counts;
  ASSERT_OK(store->ReadRows(Side::kUser, [&](const Row& row) {
    counts.push_back(row.count);
    return absl::OkStatus();
  }));
  std::vector<uint64_t> wanted(TestUsers(5), 5);
  wanted[3] = 10;
  EXPECT_EQ(counts, wanted);
}

TEST_F(RocksStoreTest, AnUncommittedSnapshotLeavesNothing) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 5));
  {
    const auto writer = store->NewSnapshot();
    ASSERT_OK(writer.status());
    ASSERT_OK(FillTestSnapshot(writer->get(), 10));
    EXPECT_FALSE(fs::is_empty(path_ + "/tmp"));
    EXPECT_ERROR(store->NewSnapshot().status(), kFailedPrecondition, "another snapshot");
  }
  EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
  EXPECT_EQ(store->snapshot().sequence, 5);
  EXPECT_OK(CheckSnapshot(store.get()));
  EXPECT_OK(TakeTestSnapshot(store.get(), 10));
}

TEST_F(RocksStoreTest, WrongSnapshotsAreRefused) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 5));
  EXPECT_ERROR(TakeTestSnapshot(store.get(), 11), kFailedPrecondition, "end of the log at 10");
  EXPECT_ERROR(TakeTestSnapshot(store.get(), 4), kFailedPrecondition, "former at 5");
  {
    const auto writer = store->NewSnapshot();
    ASSERT_OK(writer.status());
    ASSERT_OK(AddTestRow(writer->get(), Side::kUser, 1, 10));
    const absl::Status disorder = AddTestRow(writer->get(), Side::kUser, 0, 10);
    EXPECT_FALSE(disorder.ok());
    // What failed once is not committed without it.
    EXPECT_EQ(AddTestRow(writer->get(), Side::kUser, 2, 10), disorder);
    EXPECT_EQ((*writer)->Commit(TestMeta(10)), disorder);
  }
  EXPECT_OK(CheckSnapshot(store.get()));
  EXPECT_OK(store->log()->health());
}

TEST_F(RocksStoreTest, MissingAndSurplusRowsAreNoticed) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  const auto ignore = [](const Row&) { return absl::OkStatus(); };
  const auto commit = [&](std::vector<uint32_t> rows, int64_t sequence, uint64_t users) {
    FACTORD_ASSIGN_OR_RETURN(const auto writer, store->NewSnapshot());
    for (const uint32_t row : rows) {
      FACTORD_RETURN_IF_ERROR(AddTestRow(writer.get(), Side::kUser, row, sequence));
    }
    SnapshotMeta meta;
    meta.sequence = sequence;
    meta.users = users;
    return writer->Commit(meta);
  };
  ASSERT_OK(commit({0, 2}, 1, 2));
  EXPECT_ERROR(store->ReadRows(Side::kUser, ignore), kDataLoss, "row 1 is missing");
  ASSERT_OK(commit({1}, 2, 3));
  EXPECT_OK(store->ReadRows(Side::kUser, ignore));
  ASSERT_OK(commit({}, 3, 4));
  EXPECT_ERROR(store->ReadRows(Side::kUser, ignore), kDataLoss, "has 4 users, but 3");
  ASSERT_OK(commit({}, 4, 2));
  EXPECT_ERROR(store->ReadRows(Side::kUser, ignore), kDataLoss, "has 2 users, but 3");
  SnapshotMeta meta;
  meta.sequence = 5;
  meta.producers = 1;
  ASSERT_OK((*store->NewSnapshot())->Commit(meta));
  EXPECT_CODE(store->ReadProducers([](const Producer&) { return absl::OkStatus(); }), kDataLoss);
}

TEST_F(RocksStoreTest, AVisitorsErrorStopsTheReading) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 10));
  int visited = 0;
  const absl::Status status = store->ReadRows(Side::kItem, [&](const Row&) {
    return ++visited == 3 ? absl::CancelledError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status, absl::CancelledError("enough"));
  EXPECT_EQ(visited, 3);
}

TEST_F(RocksStoreTest, ALargeSnapshotIsSeveralFilesAndStillOne) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1));
  constexpr uint32_t kRows = 300;
  std::vector<float> factors(64 << 10);  // 300 rows of 256 KiB fill more than one file of 64 MB
  {
    const auto writer = store->NewSnapshot();
    ASSERT_OK(writer.status());
    std::string payload;
    for (uint32_t i = 0; i < kRows; ++i) {
      factors[0] = static_cast<float>(i);
      RowRef row;
      row.index = i;
      row.id = "id";
      row.factors = factors;
      payload.clear();
      EncodeRow(row, &payload);
      ASSERT_OK((*writer)->AddRow(Side::kUser, i, payload));
    }
    EXPECT_TRUE(fs::exists(path_ + "/tmp/users-1.sst"));
    SnapshotMeta meta;
    meta.sequence = 1;
    meta.users = kRows;
    ASSERT_OK((*writer)->Commit(meta));
  }
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(store->ReadRows(Side::kUser, [&](const Row& row) {
    return row.factors[0] == static_cast<float>(row.index) ? absl::OkStatus()
                                                           : absl::InternalError("wrong row");
  }));
}

TEST_F(RocksStoreTest, ASnapshotKeepsToItsRate) {
  Store::Options options = TestOptions(path_);
  options.snapshot_bytes_per_second = 4 << 20;
  const auto store = OpenOrCreate(options);
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1));
  const auto writer = store->NewSnapshot();
  ASSERT_OK(writer.status());
  const std::string payload(100 << 10, 'x');
  const auto start = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < 40; ++i) ASSERT_OK((*writer)->AddRow(Side::kUser, i, payload));
  ASSERT_OK((*writer)->Commit(SnapshotMeta()));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  // 4 MB at 4 MiB/s; a limiter's first refill comes early.
  EXPECT_GT(elapsed.count(), 0.6);
}

TEST_F(RocksStoreTest, LeftOverFilesOfASnapshotGoAtTheNextStart) {
  Open().reset();
  WriteAll(path_ + "/tmp/users-0.sst", "half a file");
  OpenReadOnly().reset();
  EXPECT_TRUE(fs::exists(path_ + "/tmp/users-0.sst"));
  Open().reset();
  EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
}

// Evidence and copies.

TEST_F(RocksStoreTest, ACleanCloseLeavesEvidenceUntilItIsCleared) {
  const StateEvidence evidence{10, Hash128{1, 2}};
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  EXPECT_CODE(store->CloseClean({9, Hash128()}), kFailedPrecondition);
  ASSERT_OK(store->CloseClean(evidence));
  EXPECT_CODE(AppendTestEvents(store.get(), 1), kUnavailable);
  for (int round = 0; round < 2; ++round) {
    store.reset();
    store = Open();
    ASSERT_NE(store, nullptr);
    ASSERT_TRUE(store->evidence().has_value());
    EXPECT_EQ(store->evidence()->sequence, 10);
    EXPECT_EQ(store->evidence()->hash, evidence.hash);
    EXPECT_CODE(AppendTestEvents(store.get(), 1), kFailedPrecondition);
  }
  ASSERT_OK(store->ClearEvidence());
  EXPECT_FALSE(store->evidence().has_value());
  EXPECT_OK(AppendTestEvents(store.get(), 1));
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_FALSE(store->evidence().has_value());
  EXPECT_OK(CheckLog(store.get(), 1));
}

TEST_F(RocksStoreTest, AfterACleanCloseNoWalIsNeeded) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1000));
  ASSERT_OK(TakeTestSnapshot(store.get(), 500));
  ASSERT_OK(store->log()->TrimThrough(100));
  ASSERT_OK(store->CloseClean({1000, Hash128()}));
  store.reset();
  for (const auto& entry : fs::directory_iterator(path_ + "/db")) {
    if (entry.path().extension() == ".log") fs::remove(entry.path());
  }
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().last, 1000);
  EXPECT_OK(CheckLog(store.get(), 1));
  EXPECT_OK(CheckSnapshot(store.get()));
}

// Removes the log's record at `first` behind the store's back.
void LoseRecord(const std::string& path, int64_t first) {
  FailureLatch failure;
  const auto database =
      RocksDatabase::Open(path + "/db", RocksDatabase::Mode::kReadWrite, nullptr, &failure);
  ASSERT_OK(database.status());
  const std::string key = LogKey(first);
  std::string value;
  rocksdb::DB* const db = (*database)->db();
  rocksdb::ColumnFamilyHandle* const log = (*database)->family(Family::kLog);
  ASSERT_TRUE(db->Get({}, log, key, &value).ok()) << "no record at " << first;
  ASSERT_TRUE(db->Delete({}, log, key).ok());
}

TEST_F(RocksStoreTest, ALogThatEndsBeforeTheEvidenceIsDataLoss) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 3; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(store->CloseClean({30, Hash128()}));
  store.reset();
  LoseRecord(path_, 21);
  EXPECT_ERROR(OpenStatus(), kDataLoss, "closed at sequence 30, but its log ends at 20");
}

TEST_F(RocksStoreTest, ALogThatEndsBeforeTheSnapshotIsDataLoss) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 3; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 25));
  store.reset();
  LoseRecord(path_, 21);
  EXPECT_ERROR(OpenStatus(), kDataLoss, "snapshot at sequence 25");
  LoseRecord(path_, 11);
  LoseRecord(path_, 1);
  EXPECT_ERROR(OpenStatus(), kDataLoss, "snapshot at sequence 25");
}

TEST_F(RocksStoreTest, AHoleInTheLogNamesItsSequence) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 3; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  store.reset();
  LoseRecord(path_, 11);
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_ERROR(CheckLog(store.get(), 1), kDataLoss, "sequence 11 is missing");
  EXPECT_ERROR(CheckLog(store.get(), 15), kDataLoss, "sequence 15 is missing");
  EXPECT_OK(CheckLog(store.get(), 21));
  store.reset();
  LoseRecord(path_, 1);
  EXPECT_ERROR(OpenStatus(), kDataLoss, "sequence 1 is missing");
}

TEST_F(RocksStoreTest, ASequenceThatIsThereTwiceIsDataLoss) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 3; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  store.reset();
  {
    FailureLatch failure;
    const auto database =
        RocksDatabase::Open(path_ + "/db", RocksDatabase::Mode::kReadWrite, nullptr, &failure);
    ASSERT_OK(database.status());
    std::string record;
    EncodeLogRecord(TestEvents(15, 24), &record);
    Seal(LogKey(15), &record);
    ASSERT_TRUE(
        (*database)->db()->Put({}, (*database)->family(Family::kLog), LogKey(15), record).ok());
  }
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_ERROR(CheckLog(store.get(), 1), kDataLoss, "sequence 15 is there twice");
}

TEST_F(RocksStoreTest, ARecordOfWrongBytesIsNamed) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 3; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 25));
  store.reset();
  {
    FailureLatch failure;
    const auto database =
        RocksDatabase::Open(path_ + "/db", RocksDatabase::Mode::kReadWrite, nullptr, &failure);
    ASSERT_OK(database.status());
    rocksdb::DB* const db = (*database)->db();
    std::string value;
    rocksdb::ColumnFamilyHandle* const log = (*database)->family(Family::kLog);
    ASSERT_TRUE(db->Get({}, log, LogKey(1), &value).ok());
    // A whole record under the key of another.
    ASSERT_TRUE(db->Put({}, log, LogKey(11), value).ok());
    rocksdb::ColumnFamilyHandle* const users = (*database)->family(Family::kUsers);
    ASSERT_TRUE(db->Get({}, users, RowKey(Side::kUser, 7), &value).ok());
    value[5] ^= 1;
    ASSERT_TRUE(db->Put({}, users, RowKey(Side::kUser, 7), value).ok());
  }
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_ERROR(CheckLog(store.get(), 1), kDataLoss, "log at sequence 11");
  EXPECT_ERROR(CheckSnapshot(store.get()), kDataLoss, "user row 7");
}

TEST_F(RocksStoreTest, EvidenceOfAnotherFolderOrDamagedIsRefused) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(store->CloseClean({0, Hash128{1, 2}}));
  store.reset();
  const std::string text = ReadAll(path_ + "/EVIDENCE");
  const std::string other = folder_ / "other";
  store = OpenOrCreate(TestOptions(other));
  ASSERT_NE(store, nullptr);
  ASSERT_OK(store->CloseClean({0, Hash128{1, 2}}));
  store.reset();
  WriteAll(path_ + "/EVIDENCE", ReadAll(other + "/EVIDENCE"));
  EXPECT_ERROR(OpenStatus(), kDataLoss, "EVIDENCE");
  std::string flipped = text;
  flipped[flipped.find("hash ") + 6] ^= 1;
  WriteAll(path_ + "/EVIDENCE", flipped);
  EXPECT_ERROR(OpenStatus(), kDataLoss, "EVIDENCE");
  WriteAll(path_ + "/EVIDENCE", text);
  EXPECT_OK(OpenStatus());
}

TEST_F(RocksStoreTest, ACopyIsACompleteFolderWithEvidence) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1000));
  ASSERT_OK(TakeTestSnapshot(store.get(), 600));
  ASSERT_OK(AppendTestEvents(store.get(), 200));
  const StateEvidence evidence{1200, Hash128{3, 4}};
  // The disk is another file system, where no hard links lead.
  const TempFolder disk;
  const std::vector<std::string> targets = {folder_ / "copy", disk / "copy"};
  for (const std::string& target : targets) {
    SCOPED_TRACE(target);
    EXPECT_CODE(store->CopyTo(target, {1199, Hash128()}), kFailedPrecondition);
    ASSERT_OK(store->CopyTo(target, evidence));
    EXPECT_CODE(store->CopyTo(target, evidence), kAlreadyExists);
    auto copy = OpenOrCreate(TestOptions(target));
    ASSERT_NE(copy, nullptr);
    ASSERT_TRUE(copy->evidence().has_value());
    EXPECT_EQ(copy->evidence()->sequence, 1200);
    EXPECT_EQ(copy->evidence()->hash, evidence.hash);
    EXPECT_EQ(copy->config(), TestConfig());
    EXPECT_OK(CheckLog(copy.get(), 1));
    EXPECT_EQ(copy->snapshot().sequence, 600);
    EXPECT_OK(CheckSnapshot(copy.get()));
    // The copy goes its own way.
    ASSERT_OK(copy->ClearEvidence());
    ASSERT_OK(AppendTestEvents(copy.get(), 100));
    ASSERT_OK(TakeTestSnapshot(copy.get(), 1300));
    ASSERT_OK(copy->log()->TrimThrough(1300));
    EXPECT_OK(CheckSnapshot(copy.get()));
    copy.reset();
    fs::remove_all(target);
  }
  EXPECT_FALSE(store->evidence().has_value());
  EXPECT_OK(AppendTestEvents(store.get(), 10));
  EXPECT_OK(CheckLog(store.get(), 1));
  EXPECT_EQ(store->snapshot().sequence, 600);
  EXPECT_OK(CheckSnapshot(store.get()));
  EXPECT_CODE(store->CopyTo(folder_ / "no/such/parent", {1210, Hash128()}), kNotFound);
  EXPECT_FALSE(fs::exists(folder_ / "no"));
}

// Read-only.

TEST_F(RocksStoreTest, AReadOnlyStoreReadsEverythingAndWritesNothing) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 1000));
  ASSERT_OK(TakeTestSnapshot(store.get(), 600));
  ASSERT_OK(AppendTestEvents(store.get(), 200));
  store.reset();  // not cleanly: the events lie in the WAL
  const std::string before = Listing(path_);
  store = OpenReadOnly();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->log()->range().last, 1200);
  EXPECT_OK(CheckLog(store.get(), 1));
  EXPECT_OK(CheckSnapshot(store.get()));
  EXPECT_CODE(AppendTestEvents(store.get(), 1), kFailedPrecondition);
  EXPECT_CODE(store->log()->TrimThrough(1), kFailedPrecondition);
  EXPECT_CODE(store->log()->Sync(), kFailedPrecondition);
  EXPECT_CODE(store->NewSnapshot().status(), kFailedPrecondition);
  EXPECT_CODE(store->ClearEvidence(), kFailedPrecondition);
  EXPECT_CODE(store->CloseClean({1200, Hash128()}), kFailedPrecondition);
  EXPECT_CODE(store->CopyTo(folder_ / "copy", {1200, Hash128()}), kFailedPrecondition);
  store.reset();
  EXPECT_EQ(Listing(path_), before);
}

TEST_F(RocksStoreTest, TheLogsBytesGrowWithItAndGoWithATrim) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  const int64_t empty = store->log()->metrics().bytes;
  EXPECT_LT(empty, 1000);
  int64_t bytes = empty;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(AppendTestEvents(store.get(), 5000));
    const int64_t grown = store->log()->metrics().bytes;
    EXPECT_GT(grown, bytes + 5000 * 20);
    EXPECT_LT(grown, bytes + 5000 * 100);
    bytes = grown;
  }
  ASSERT_OK(TakeTestSnapshot(store.get(), 15'000));
  ASSERT_OK(store->log()->TrimThrough(15'000));
  // RocksDB deletes the WALs that it needs no more soon after the flush, on a thread of its own.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (store->log()->metrics().bytes >= empty + 5000 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LT(store->log()->metrics().bytes, empty + 5000);
}

// A flushed file counts like the WAL that it takes the place of.
TEST_F(RocksStoreTest, TheLogsBytesCountItsFilesToo) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  ASSERT_OK(AppendTestEvents(store.get(), 20'000));
  ASSERT_OK(store->CloseClean({20'000, Hash128()}));
  store.reset();
  store = Open();
  EXPECT_GT(store->log()->metrics().bytes, 20'000 * 5);  // compressed
}

TEST_F(RocksStoreTest, MemoryGrowsWithTheLog) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  const int64_t before = store->MemoryBytes();
  EXPECT_GT(before, 0);
  for (int i = 0; i < 10; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10'000));
  EXPECT_GT(store->MemoryBytes(), before + 100'000 * 20);
}

TEST_F(RocksStoreTest, ASnapshotHasATimeThatStays) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->snapshot_unix_seconds(), 0);
  ASSERT_OK(AppendTestEvents(store.get(), 10));
  const int64_t before = std::time(nullptr);
  ASSERT_OK(TakeTestSnapshot(store.get(), 10));
  const int64_t time = store->snapshot_unix_seconds();
  EXPECT_GE(time, before);
  EXPECT_LE(time, std::time(nullptr));
  store.reset();
  store = Open();
  // The file is from a moment before.
  EXPECT_GE(store->snapshot_unix_seconds(), before);
  EXPECT_LE(store->snapshot_unix_seconds(), time);
}

TEST_F(RocksStoreTest, FreeBytesAreThoseOfItsFileSystem) {
  const auto store = Open();
  ASSERT_NE(store, nullptr);
  const auto bytes = store->FreeBytes();
  ASSERT_OK(bytes.status());
  const double available = static_cast<double>(fs::space(path_).available);
  EXPECT_GT(static_cast<double>(*bytes), 0.5 * available);
  EXPECT_LT(static_cast<double>(*bytes), 1.5 * available);
}

}  // namespace
}  // namespace factord
