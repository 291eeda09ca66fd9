// Many clients at once, for ThreadSanitizer: writers, readers, snapshots, hashes, backups, and a
// close.
#include <atomic>
#include <thread>

#include "base/temp_folder.h"
#include "engine/engine.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(EngineConcurrencyTest, EverythingAtOnce) {
  TempFolder dir;
  EngineOptions options = TestOptions(dir / "data");
  options.log_retention = LogRetention::kAll;
  options.durability = Durability::kAsync;
  options.snapshot_interval = std::chrono::milliseconds(3);
  options.backup_dir = dir.path();
  auto engine = OpenOrDie(options);
  std::atomic<int> writers_left{3};
  std::vector<std::thread> threads;
  for (uint32_t w = 0; w < 3; ++w) {
    threads.emplace_back([&, w] {
      for (uint32_t i = 0; i < 150; ++i) {
        std::vector<OwnedRating> batch = RandomRatings(w * 1000 + i, 10);
        for (OwnedRating& rating : batch) rating.user += "-" + std::to_string(w);
        const RecordResult result = Record(*engine, batch);
        ASSERT_TRUE(result.status.ok()) << result.status;
        // Read your own write.
        const auto answer = engine->Recommend({.user_id = batch.back().user, .max_items = 1000});
        ASSERT_TRUE(answer.ok());
        ASSERT_GE(answer->sequence, result.last_sequence);
        for (const auto& item : answer->items) ASSERT_NE(item.item_id, batch.back().item);
      }
      --writers_left;
    });
  }
  for (uint32_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      int64_t last = 0;
      for (uint32_t i = 0; writers_left > 0; ++i) {
        const auto predictions =
            engine->Predict({{"u1-0", "i1"}, {"u2-1", "i2"}, {"nobody", "i3"}}, /*strict=*/false);
        ASSERT_GE(predictions->sequence, last);
        last = predictions->sequence;
        engine->ListTopics(3, 0);
        engine->UserFactors(0, 20);
        const ModelInfo info = engine->Info();
        ASSERT_GE(info.sequence, last);
        if (i % 50 == r) {
          const auto token = engine->PinItems();
          if (token.ok()) engine->ItemFactors(*token, 0, 50).status().IgnoreError();
        }
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(engine->CreateSnapshot().ok());
      ASSERT_TRUE(engine->ComputeHash().ok());
      ASSERT_TRUE(engine->Backup("b" + std::to_string(i)).ok());
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(engine->Info().sequence, 3 * 150 * 10);
  const std::string hash = HashOf(*engine);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  const auto verified = VerifyFolder(dir / "data");
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->hash.ToHex(), hash);
}

}  // namespace
}  // namespace factord
