// A small, cleanly closed folder, damaged in one place: whatever it is, the folder opens with the
// right content, or the damage is called DATA_LOSS. Never a crash, never other content, never a
// new, empty database.
//
// --every=N: of each file a bit of every Nth byte is flipped, and it is cut off there; without it
// of some bytes. For all of them, in parts that may run beside each other:
//   build/release/storage/rocks_store_corruption_test --every=1
#include <filesystem>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "base/test_every.h"
#include "base/test_file.h"
#include "storage/damage_test_util.h"
#include "storage/store_test_util.h"

namespace factord {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLast = 400;
constexpr int64_t kSnapshot = 350;

uint64_t every = 0;  // 0: a sample

// Events in several files and in part trimmed, two snapshots, of which one lies over the other.
void MakeFolder(const std::string& path) {
  auto store = OpenOrCreate(TestOptions(path));
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 20; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), 150));
  ASSERT_OK(store->log()->TrimThrough(100));
  store.reset();
  store = OpenOrCreate(TestOptions(path));
  ASSERT_NE(store, nullptr);
  for (int i = 0; i < 20; ++i) ASSERT_OK(AppendTestEvents(store.get(), 10));
  ASSERT_OK(TakeTestSnapshot(store.get(), kSnapshot));
  ASSERT_OK(store->CloseClean({kLast, Hash128{1, 2}}));
}

// OK: everything is there.
absl::Status CheckContent(const std::string& path, bool read_only) {
  Store::Options options = TestOptions(path);
  options.read_only = read_only;
  FACTORD_ASSIGN_OR_RETURN(const auto store, Store::Open(options));
  if (store->config() != TestConfig()) return absl::InternalError("another configuration");
  if (store->log()->range().last != kLast) return absl::InternalError("another end of the log");
  // An older snapshot would do, with the log from there on.
  FACTORD_RETURN_IF_ERROR(CheckSnapshot(store.get()));
  FACTORD_RETURN_IF_ERROR(CheckLog(store.get(), store->snapshot().sequence + 1));
  FACTORD_RETURN_IF_ERROR(CheckLog(store.get(), store->log()->range().first));
  const std::optional<StateEvidence> evidence = store->evidence();
  if (evidence.has_value() && !(evidence->hash == Hash128{1, 2})) {
    return absl::InternalError("other evidence");
  }
  return absl::OkStatus();
}

class RocksStoreCorruptionTest : public DamageTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(MakeFolder(original()));
    FindFiles();
    ASSERT_OK(CheckContent(original(), true));
  }

  // Opening for writing syncs a lot: a sample is enough.
  absl::Status Check(const std::string& folder) override {
    return CheckContent(folder, /*read_only=*/++tried_ % 8 != 0);
  }

 private:
  int tried_ = 0;
};

TEST_F(RocksStoreCorruptionTest, EachFileDeleted) { TryEachFileDeleted(); }
TEST_F(RocksStoreCorruptionTest, EachFileTruncated) { TryEachFileTruncated(every); }
// It then reads like one of an earlier database, whose other files are newer.
TEST_F(RocksStoreCorruptionTest, TheManifestCutOff) {
  constexpr uint64_t kEvery = 31;
  for (const std::string& file : files()) {
    if (absl::StartsWith(fs::path(file).filename().string(), "MANIFEST"))
      TryTruncated(file, kEvery);
  }
}

TEST_F(RocksStoreCorruptionTest, BitsFlippedInEachFile) { TryBitsFlippedInEachFile(every); }
TEST_F(RocksStoreCorruptionTest, BitsFlippedInTheFormatOfEachTable) {
  TryBitsFlippedInTheFormatOfEachTable();
}
TEST_F(RocksStoreCorruptionTest, BytesAppendedToEachFile) { TryBytesAppendedToEachFile(); }
TEST_F(RocksStoreCorruptionTest, TwoFilesSwapped) { TryEachFileSwappedWithTheNext(); }

// RocksDB parses a table's properties before it verifies them; a flipped highest bit of the last
// byte of the block ended the process by an assertion.
TEST_F(RocksStoreCorruptionTest, AFlippedBitInTheFooterOfATablesPropertiesIsDataLoss) {
  for (const std::string& file : files()) {
    if (fs::path(file).extension() != ".sst") continue;
    const size_t properties_end = EndOfProperties(ReadAll(original() + "/" + file));
    for (size_t byte = properties_end - 4; byte < properties_end; ++byte) {
      for (size_t bit = 0; bit < 8; ++bit) TryBitFlipped(file, byte * 8 + bit);
    }
  }
  EXPECT_EQ(harmless(), 0);
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) { return factord::RunTestsOfEvery(argc, argv, &factord::every); }
