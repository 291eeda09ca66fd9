// Folders that earlier programs wrote, of each version of the format and of the update rule, open
// with the state that they were left in, and go on by their own rule. They are kept for good:
//
//   testdata/format-N-update-M/closed    closed cleanly
//   testdata/format-N-update-M/killed    as a crash leaves it, with events in the WAL alone
//   testdata/format-N-update-M/trimmed   the same, where the log is trimmed and the window of event
//                                        ids has gone round; since update 2
//   testdata/format-N-update-M/HASHES    "FOLDER SEQUENCE HASH" for each
//
// `golden_folder_test --make FOLDER closed|killed|trimmed` makes one with this program, and prints
// its line.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "base/temp_folder.h"
#include "engine/engine.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "gtest/gtest.h"
#include "model/config.h"
#include "storage/identity.h"
#include "storage/store.h"

namespace factord {
namespace {

namespace fs = std::filesystem;

constexpr char kTrimmed[] = "trimmed";

EngineOptions GoldenOptions(const std::string& path, bool is_trimmed) {
  EngineOptions options = TestOptions(path);
  options.log_retention = is_trimmed ? LogRetention::kSnapshot : LogRetention::kAll;
  options.config.event_types = {{"click", 0.5F, 2}};
  if (is_trimmed) options.config.dedupe_window = 50;
  if (!Store::Exists(path)) return options;
  const auto store = Store::Open({.path = path, .read_only = true});
  EXPECT_TRUE(store.ok()) << store.status();
  if (store.ok()) options.config = *FromFields((*store)->config());
  return options;
}

// Ratings and events of another type, with and without ids and numbers.
std::vector<Event> GoldenEvents(const std::vector<OwnedRating>& ratings) {
  std::vector<Event> events;
  for (size_t i = 0; i < ratings.size(); ++i) {
    Event event = ToEvent(ratings[i]);
    if (i % 5 == 0) {
      event.kind = EventKind::kTaken;
      event.rating = 0;
    }
    events.push_back(event);
  }
  return events;
}

void RecordAll(Engine& engine, uint32_t seed) {
  std::vector<OwnedRating> ratings = RandomRatings(seed, 100);
  for (size_t i = 0; i < ratings.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    if (i % 3 == 0) ratings[i].event_id = std::to_string(seed) + "-" + number;
    if (i % 3 == 1) ratings[i].producer = "producer " + std::to_string(seed);
    if (i % 3 == 1) ratings[i].number = static_cast<int64_t>(i + 1);
  }
  RecordRequest request;
  request.events = GoldenEvents(ratings);
  std::promise<RecordResult> promise;
  request.done = [&promise](RecordResult result) { promise.set_value(std::move(result)); };
  engine.Record(std::move(request));
  EXPECT_TRUE(promise.get_future().get().status.ok());
}

// Two snapshots, of which the second has some of the rows, and events behind them.
int Make(const std::string& path, const std::string& end) {
  auto engine = OpenOrDie(GoldenOptions(path, end == kTrimmed));
  RecordAll(*engine, 1);
  EXPECT_TRUE(engine->CreateSnapshot().ok());
  RecordAll(*engine, 2);
  EXPECT_TRUE(engine->CreateSnapshot().ok());
  RecordAll(*engine, 3);
  std::cout << end << " " << engine->Info().sequence << " " << HashOf(*engine) << std::endl;
  if (end != "closed") _exit(0);
  return engine->Close().ok() ? 0 : 1;
}

TEST(GoldenFolderTest, IsThereForEachVersion) {
  std::set<int> formats, updates;
  for (const auto& folder : fs::directory_iterator(FACTORD_GOLDEN_FOLDERS)) {
    int format = 0, update = 0;
    const std::string name = folder.path().filename();
    ASSERT_EQ(std::sscanf(name.c_str(), "format-%d-update-%d", &format, &update), 2) << name;
    formats.insert(format);
    updates.insert(update);
  }
  for (int version = 1; version <= kFolderFormatVersion; ++version) {
    EXPECT_TRUE(formats.contains(version)) << "format " << version;
  }
  for (int version = 1; version <= kUpdateVersion; ++version) {
    EXPECT_TRUE(updates.contains(version)) << "update rule " << version;
  }
}

TEST(GoldenFolderTest, OpensWithTheStateThatItWasLeftIn) {
  for (const auto& version : fs::directory_iterator(FACTORD_GOLDEN_FOLDERS)) {
    std::ifstream hashes(version.path() / "HASHES");
    std::set<std::string> names;
    std::string name, hash;
    for (int64_t sequence = 0; hashes >> name >> sequence >> hash;) {
      SCOPED_TRACE(version.path() / name);
      const TempFolder folder(TempFolder::Place::kMemory);
      fs::copy(version.path() / name, folder / "data", fs::copy_options::recursive);
      const std::string data = folder / "data";
      const bool is_trimmed = name == kTrimmed;
      if (!is_trimmed) {
        const auto verified = VerifyFolder(data);
        ASSERT_TRUE(verified.ok()) << verified.status();
        EXPECT_EQ(verified->hash.ToHex(), hash);
      }
      auto engine = OpenOrDie(GoldenOptions(data, is_trimmed));
      ASSERT_NE(engine, nullptr);
      EXPECT_EQ(engine->Info().log_start_sequence > 1, is_trimmed);
      EXPECT_EQ(engine->Info().sequence, sequence);
      EXPECT_EQ(HashOf(*engine), hash);
      RecordAll(*engine, 4);
      EXPECT_EQ(engine->Info().sequence, sequence + 100);
      const std::string hash_at_end = HashOf(*engine);
      ASSERT_TRUE(engine->Close().ok());
      engine.reset();
      if (is_trimmed) {
        engine = OpenOrDie(GoldenOptions(data, is_trimmed));
        ASSERT_NE(engine, nullptr);
        EXPECT_EQ(HashOf(*engine), hash_at_end);
      } else {
        EXPECT_TRUE(VerifyFolder(data).ok());
      }
      names.insert(name);
    }
    std::set<std::string> expected = {"closed", "killed"};
    if (version.path().filename() != "format-1-update-1") expected.insert(kTrimmed);
    EXPECT_EQ(names, expected) << version.path();
  }
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--make") return factord::Make(argv[2], argv[3]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
