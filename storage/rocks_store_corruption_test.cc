// A small, cleanly closed folder, damaged in one place: whatever it is, the folder opens with the
// right content, or the damage is called DATA_LOSS. Never a crash, never other content, never a
// new, empty database.
//
// --every=N: of each file a bit of every Nth byte is flipped, and it is cut off there; without it
// of some bytes. For all of them, in parts that may run beside each other:
//   build/release/storage/rocks_store_corruption_test --every=1
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "base/coding.h"
#include "base/temp_folder.h"
#include "base/test_every.h"
#include "storage/store_test_util.h"

namespace factord {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kSeed = 7;
constexpr int64_t kLast = 400;
constexpr int64_t kSnapshot = 350;
constexpr size_t kFlipsAFile = 12;

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

// From the footer of a table file: the checksum type, then the offset as a varint.
size_t MetaIndexOffset(absl::string_view table) {
  return Reader(table.substr(table.size() - 52)).Varint();
}

class RocksStoreCorruptionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(MakeFolder(original_));
    for (const auto& entry : fs::recursive_directory_iterator(original_)) {
      if (entry.is_regular_file()) {
        files_.push_back(fs::relative(entry.path(), original_).string());
      }
    }
    std::sort(files_.begin(), files_.end());
    ASSERT_OK(CheckContent(original_, true));
  }

  // Damages a copy of the folder's `file` and looks at what comes of it.
  void Try(const std::string& file, const std::string& what,
           const std::function<void(const std::string& path)>& damage) {
    for (const bool read_only : {true, false}) {
      SCOPED_TRACE(absl::StrCat(file, ": ", what, read_only ? ", read-only" : ""));
      fs::remove_all(copy_);
      fs::copy(original_, copy_, fs::copy_options::recursive);
      damage(copy_ + "/" + file);
      const absl::Status status = CheckContent(copy_, read_only);
      EXPECT_TRUE(status.ok() || absl::IsDataLoss(status)) << status;
      ++(status.ok() ? harmless_ : noticed_);
      // Opening for writing syncs a lot: a sample is enough.
      if (++tried_ % 8 != 0) break;
    }
  }

  void TearDown() override {
    std::cout << "seed " << kSeed << ", " << noticed_ << " noticed, " << harmless_ << " harmless"
              << std::endl;
    EXPECT_GT(noticed_, 0);
  }

  const TempFolder folder_{TempFolder::Place::kMemory};
  const std::string original_ = folder_ / "original";
  const std::string copy_ = folder_ / "copy";
  std::vector<std::string> files_;
  int tried_ = 0;
  int noticed_ = 0;
  int harmless_ = 0;
};

TEST_F(RocksStoreCorruptionTest, EachFileDeleted) {
  for (const std::string& file : files_) {
    Try(file, "deleted", [](const std::string& path) { fs::remove(path); });
  }
}

TEST_F(RocksStoreCorruptionTest, EachFileTruncated) {
  for (const std::string& file : files_) {
    const uint64_t size = fs::file_size(original_ + "/" + file);
    std::vector<uint64_t> lengths = {0, size / 2, size - 1};
    for (uint64_t length = 0; every > 0 && length < size; length += every) {
      lengths.push_back(length);
    }
    for (const uint64_t length : lengths) {
      if (length >= size) continue;
      Try(file, absl::StrCat("truncated to ", length),
          [length](const std::string& path) { fs::resize_file(path, length); });
    }
  }
}

TEST_F(RocksStoreCorruptionTest, BitsFlippedInEachFile) {
  std::mt19937 random(kSeed);
  for (const std::string& file : files_) {
    const uint64_t size = fs::file_size(original_ + "/" + file);
    if (size == 0) continue;
    std::vector<uint64_t> bits;
    for (uint64_t byte = 0; every > 0 && byte < size; byte += every) {
      bits.push_back(byte * 8 + random() % 8);
    }
    while (every == 0 && bits.size() < kFlipsAFile) bits.push_back(random() % (size * 8));
    for (const uint64_t bit : bits) {
      Try(file, absl::StrCat("bit ", bit, " flipped"), [bit](const std::string& path) {
        std::string contents = ReadAll(path);
        contents[bit / 8] = static_cast<char>(contents[bit / 8] ^ (1 << (bit % 8)));
        WriteAll(path, contents);
      });
    }
  }
}

// RocksDB parses a table's properties before it verifies them; a flipped highest bit of the last
// byte of the block ended the process by an assertion.
TEST_F(RocksStoreCorruptionTest, AFlippedBitInTheFooterOfATablesPropertiesIsDataLoss) {
  for (const std::string& file : files_) {
    if (fs::path(file).extension() != ".sst") continue;
    const std::string contents = ReadAll(original_ + "/" + file);
    // The block of the other blocks' places follows the properties, with five bytes of trailer
    // between them.
    const size_t properties_end = MetaIndexOffset(contents) - 5;
    for (size_t byte = properties_end - 4; byte < properties_end; ++byte) {
      for (int bit = 0; bit < 8; ++bit) {
        Try(file, absl::StrCat("byte ", byte, " bit ", bit, " flipped"),
            [&](const std::string& path) {
              std::string flipped = contents;
              flipped[byte] = static_cast<char>(flipped[byte] ^ (1 << bit));
              WriteAll(path, flipped);
            });
      }
    }
  }
  EXPECT_EQ(harmless_, 0);
}

TEST_F(RocksStoreCorruptionTest, BytesAppendedToEachFile) {
  for (const std::string& file : files_) {
    Try(file, "longer",
        [](const std::string& path) { WriteAll(path, ReadAll(path) + std::string(100, 'x')); });
  }
}

TEST_F(RocksStoreCorruptionTest, TwoFilesSwapped) {
  for (size_t i = 0; i + 1 < files_.size(); ++i) {
    Try(files_[i], absl::StrCat("swapped with ", files_[i + 1]), [&](const std::string& path) {
      const std::string other = copy_ + "/" + files_[i + 1];
      fs::rename(path, path + "_");
      fs::rename(other, path);
      fs::rename(path + "_", other);
    });
  }
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) { return factord::RunTestsOfEvery(argc, argv, &factord::every); }
