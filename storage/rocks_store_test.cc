#include "storage/rocks_store.h"

#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "storage/identity.h"
#include "storage/store_test_util.h"

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

  TempFolder folder_;
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
  EXPECT_CODE(Store::Create(path_, TestConfig()), kFailedPrecondition);
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

TEST_F(RocksStoreTest, TrimmingFreesTheDisk) {
  auto store = Open();
  ASSERT_NE(store, nullptr);
  const uint64_t empty = BytesIn(path_);
  // Grow and trim several times: what is left over must not add up.
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 20; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10000));
    const uint64_t full = BytesIn(path_);
    ASSERT_GT(full, empty + (4u << 20));
    ASSERT_OK(TakeTestSnapshot(store.get(), 1));
    const int64_t last = store->log()->range().last;
    {
      const auto writer = store->NewSnapshot();
      ASSERT_OK(writer.status());
      ASSERT_OK((*writer)->Commit(TestMeta(last)));
    }
    ASSERT_OK(store->log()->TrimThrough(last));
    EXPECT_LT(BytesIn(path_), empty + (1u << 20));
    break;
  }
}

}  // namespace
}  // namespace factord
