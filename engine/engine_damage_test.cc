// A small, cleanly closed folder, damaged in one place: the engine opens it with the model that it
// was closed with, by sequence and hash, or refuses with DATA_LOSS and names the file.
//
// --every=N: of each file a bit of every Nth byte is flipped, and it is cut off there; without it
// of some bytes. For all of them, in parts that may run beside each other:
//   build/release/engine/engine_damage_test --every=1
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/test_every.h"
#include "engine/engine.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "storage/damage_test_util.h"

namespace factord {
namespace {

uint64_t every = 0;  // 0: a sample

// Ratings with and without ids and numbers.
std::vector<OwnedRating> Ratings(uint32_t seed) {
  std::vector<OwnedRating> ratings = RandomRatings(seed, 60);
  for (size_t i = 0; i < ratings.size(); ++i) {
    if (i % 3 == 0) ratings[i].event_id = absl::StrCat(seed, "-", i);
    if (i % 3 != 1) continue;
    ratings[i].producer = absl::StrCat("producer ", seed);
    ratings[i].number = static_cast<int64_t>(i);
  }
  return ratings;
}

class EngineDamageTest : public DamageTest, public ::testing::WithParamInterface<LogRetention> {
 protected:
  static EngineOptions Options(const std::string& folder) {
    EngineOptions options = TestOptions(folder);
    options.log_retention = GetParam();
    return options;
  }

  void SetUp() override {
    // Two snapshots, of which the second has some of the rows; the log behind them is trimmed, or
    // kept.
    auto engine = OpenOrDie(Options(original()));
    ASSERT_NE(engine, nullptr);
    for (const uint32_t seed : {1, 2}) {
      ASSERT_TRUE(Record(*engine, Ratings(seed)).status.ok());
      ASSERT_TRUE(engine->CreateSnapshot().ok());
    }
    ASSERT_TRUE(Record(*engine, Ratings(3)).status.ok());
    sequence_ = engine->Info().sequence;
    hash_ = HashOf(*engine);
    ASSERT_TRUE(engine->Close().ok());
    engine.reset();
    FindFiles();
  }

  absl::Status Check(const std::string& folder) override {
    {
      FACTORD_ASSIGN_OR_RETURN(const auto engine, Engine::Open(Options(folder)));
      if (engine->Info().sequence != sequence_) return absl::InternalError("another sequence");
      if (HashOf(*engine) != hash_) return absl::InternalError("another model");
    }
    if (GetParam() == LogRetention::kSnapshot) return absl::OkStatus();
    // What no server loads: the log before the snapshot.
    FACTORD_ASSIGN_OR_RETURN(const VerifyResult verified, VerifyFolder(folder));
    if (verified.events != sequence_) return absl::InternalError("another log");
    if (verified.hash.ToHex() != hash_) return absl::InternalError("a log of another model");
    return absl::OkStatus();
  }

 private:
  int64_t sequence_ = 0;
  std::string hash_;
};

TEST_P(EngineDamageTest, EachFileDeleted) { TryEachFileDeleted(); }
TEST_P(EngineDamageTest, EachFileTruncated) { TryEachFileTruncated(every); }
TEST_P(EngineDamageTest, BitsFlippedInEachFile) { TryBitsFlippedInEachFile(every); }
TEST_P(EngineDamageTest, BitsFlippedInTheFormatOfEachTable) {
  TryBitsFlippedInTheFormatOfEachTable();
}
TEST_P(EngineDamageTest, BytesAppendedToEachFile) { TryBytesAppendedToEachFile(); }
TEST_P(EngineDamageTest, TwoFilesSwapped) { TryEachFileSwappedWithTheNext(); }

INSTANTIATE_TEST_SUITE_P(LogRetention, EngineDamageTest,
                         ::testing::Values(LogRetention::kSnapshot, LogRetention::kAll),
                         [](const auto& info) {
                           return std::string(info.param == LogRetention::kAll ? "All"
                                                                               : "Snapshot");
                         });

}  // namespace
}  // namespace factord

int main(int argc, char** argv) { return factord::RunTestsOfEvery(argc, argv, &factord::every); }
