#include "engine/model_state.h"

#include <map>
#include <random>
#include <thread>

#include "engine/test_util.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config;
  config.rank = 5;
  config.dedupe_window = 50;
  return config;
}

// Feeds a seeded stream in which some events carry ids or producers.
class Feeder {
 public:
  Feeder(ModelState* state, uint32_t seed) : state_(state), random_(seed) {}

  void Feed(int events) {
    for (int i = 0; i < events; ++i) {
      OwnedRating rating = RandomRatings(random_(), 1, 40, 60)[0];
      const int64_t sequence = state_->sequence() + 1;
      if (random_() % 2 == 0) rating.event_id = "e" + std::to_string(sequence);
      if (random_() % 3 == 0) {
        rating.producer = "p" + std::to_string(random_() % 4);
        rating.number = state_->LastProducerNumber(rating.producer) + 1 + random_() % 3;
      }
      Event event = ToEvent(rating);
      event.sequence = sequence;
      state_->Apply(event);
    }
    state_->Publish();
  }

 private:
  ModelState* const state_;
  std::mt19937 random_;
};

// What a snapshot writer does with a cut.
Hash128 WalkCut(ModelState& state, const Cut& cut,
                std::map<uint32_t, std::string>* users = nullptr) {
  Hash128 sum;
  for (const uint32_t index : cut.dirty_items) {
    std::string payload;
    state.EncodeCutItem(cut, index, &payload);
    sum += ModelState::HashRow(Side::kItem, payload);
  }
  for (const uint32_t index : cut.dirty_users) {
    std::string payload;
    state.EncodeCutUser(cut, index, &payload);
    sum += ModelState::HashRow(Side::kUser, payload);
    if (users != nullptr) (*users)[index] = payload;
  }
  return sum;
}

TEST(ModelStateTest, IsAFunctionOfConfigurationAndLog) {
  ModelState a(SmallConfig()), b(SmallConfig());
  Feeder(&a, 1).Feed(500);
  Feeder feeder(&b, 1);
  for (int i = 0; i < 500; ++i) feeder.Feed(1);  // published after every event
  EXPECT_EQ(a.ComputeHash(), b.ComputeHash());

  ModelConfig other = SmallConfig();
  other.seed = 2;
  ModelState c(other);
  Feeder(&c, 1).Feed(500);
  EXPECT_NE(a.ComputeHash(), c.ComputeHash());
}

TEST(ModelStateTest, TheSameRatingAgainIsAnotherLookAtItAndNoNewEvidence) {
  ModelState state(SmallConfig());
  const auto rate = [&state](float rating) {
    state.Apply(
        {.sequence = state.sequence() + 1, .user_id = "u", .item_id = "i", .rating = rating});
  };
  const auto confidence = [&state] { return state.users().Lock(0)->state.confidence; };
  rate(4);
  const ModelGlobals globals = state.globals();
  const float before = confidence();
  rate(4);
  EXPECT_EQ(state.globals(), globals);
  EXPECT_EQ(confidence(), before);
  EXPECT_EQ(state.users().Lock(0)->state.count, 2u);
  EXPECT_EQ(state.statistics().events, 2u);
  rate(2);  // he thinks otherwise now
  EXPECT_NE(state.globals(), globals);
  EXPECT_LT(confidence(), before);
  EXPECT_EQ(state.RunningHash(), state.ComputeHash());
}

TEST(ModelStateTest, RunningHashEqualsTheFreshOneAcrossCuts) {
  ModelState state(SmallConfig());
  Feeder feeder(&state, 2);
  std::mt19937 random(9);
  EXPECT_EQ(state.RunningHash(), state.ComputeHash());
  for (int round = 0; round < 40; ++round) {
    feeder.Feed(static_cast<int>(random() % 60));
    ASSERT_EQ(state.RunningHash(), state.ComputeHash()) << round;
    const Hash128 expected = state.ComputeHash();
    Cut cut = state.BeginCut();
    feeder.Feed(static_cast<int>(random() % 60));  // while the snapshot has not begun to write
    const Hash128 rows = WalkCut(state, cut);
    feeder.Feed(static_cast<int>(random() % 60));  // after it has written
    const Hash128 cut_hash = cut.hash_without_dirty_rows + rows;
    ASSERT_EQ(cut_hash, expected) << round;
    state.EndCut(std::move(cut), rows, /*saved=*/random() % 3 != 0);
    ASSERT_EQ(state.RunningHash(), state.ComputeHash()) << round;
  }
}

// Rows of a snapshot that did not reach the disk must come again in the next one.
TEST(ModelStateTest, AFailedCutsRowsBelongToTheNext) {
  ModelState state(SmallConfig());
  Feeder feeder(&state, 3);
  feeder.Feed(200);
  Cut failed = state.BeginCut();
  const size_t users = failed.dirty_users.size(), items = failed.dirty_items.size();
  const size_t entries = failed.dedupe_entries.size();
  const auto producers = failed.producers;
  ASSERT_GT(users, 10u);
  const Hash128 rows = WalkCut(state, failed);
  state.EndCut(std::move(failed), rows, /*saved=*/false);

  Cut next = state.BeginCut();
  EXPECT_EQ(next.dirty_users.size(), users);
  EXPECT_EQ(next.dirty_items.size(), items);
  EXPECT_EQ(next.dedupe_entries.size(), entries);
  EXPECT_EQ(next.producers, producers);
  const Hash128 next_rows = WalkCut(state, next);
  state.EndCut(std::move(next), next_rows, /*saved=*/true);
  EXPECT_TRUE(state.BeginCut().dirty_users.empty());
}

// The snapshot thread walks the cut while the writer changes the same rows: what it gets is the
// state at the cut.
TEST(ModelStateTest, ACutIsConsistentWhileTheWriterGoesOn) {
  ModelState state(SmallConfig());
  Feeder feeder(&state, 4);
  for (int round = 0; round < 20; ++round) {
    feeder.Feed(300);
    const Hash128 expected = state.ComputeHash();
    Cut cut = state.BeginCut();
    Hash128 rows;
    std::thread snapshot([&] { rows = WalkCut(state, cut); });
    feeder.Feed(300);
    snapshot.join();
    EXPECT_EQ(cut.hash_without_dirty_rows + rows, expected);
    state.EndCut(std::move(cut), rows, true);
  }
  EXPECT_EQ(state.RunningHash(), state.ComputeHash());
}

int64_t HistoryBytes(const ModelState& state) {
  int64_t bytes = 0;
  for (uint32_t user = 0; user < state.users().size(); ++user) {
    bytes += static_cast<int64_t>(state.users().Lock(user)->history.MemoryBytes());
  }
  return bytes;
}

TEST(ModelStateTest, KnowsItsMemoryWithoutAWalk) {
  ModelState state(SmallConfig());
  Feeder feeder(&state, 6);
  const MemoryUsage before = state.memory();
  feeder.Feed(2000);
  const MemoryUsage after = state.memory();
  EXPECT_EQ(after.histories, HistoryBytes(state));
  EXPECT_GT(after.histories, 0);
  EXPECT_GT(after.users, before.users);
  EXPECT_GT(after.items, before.items);
  EXPECT_GT(after.user_ids, before.user_ids);
  EXPECT_GT(after.item_ids, before.item_ids);
  EXPECT_GE(after.dedupe, before.dedupe + static_cast<int64_t>(50 * sizeof(DedupeEntry)));
  EXPECT_GT(state.dedupe_entries(), 0);
  EXPECT_LE(state.dedupe_entries(), 50);
  EXPECT_GT(state.dedupe_evictions(), 500);
  EXPECT_EQ(state.producers(), 4);
}

TEST(ModelStateTest, LoadingEncodedRowsGivesTheSameState) {
  ModelState state(SmallConfig());
  Feeder feeder(&state, 5);
  feeder.Feed(700);
  Cut cut = state.BeginCut();
  ModelState loaded(SmallConfig());
  Row row;
  std::map<uint32_t, std::string> users, items;
  for (const uint32_t index : cut.dirty_users) state.EncodeCutUser(cut, index, &users[index]);
  for (const uint32_t index : cut.dirty_items) state.EncodeCutItem(cut, index, &items[index]);
  for (const auto& [index, payload] : users) {
    ASSERT_TRUE(DecodeRow(payload, index, &row).ok());
    loaded.LoadUser(row);
  }
  for (const auto& [index, payload] : items) {
    ASSERT_TRUE(DecodeRow(payload, index, &row).ok());
    loaded.LoadItem(row);
  }
  for (const DedupeEntry& entry : cut.dedupe_entries) {
    if (entry.sequence > cut.sequence - state.config().dedupe_window) {
      loaded.LoadDedupeEntry(entry);
    }
  }
  for (const auto& [id, number] : cut.producers) loaded.LoadProducer({id, number});
  ASSERT_TRUE(loaded.FinishLoad(cut.sequence, cut.statistics, cut.globals).ok());
  EXPECT_EQ(loaded.ComputeHash(), state.ComputeHash());
  EXPECT_EQ(loaded.RunningHash(), state.ComputeHash());
  EXPECT_EQ(loaded.memory().histories, HistoryBytes(loaded));
  // And it goes on in the same way.
  Feeder(&loaded, 6).Feed(200);
  Feeder(&state, 6).Feed(200);
  EXPECT_EQ(loaded.ComputeHash(), state.ComputeHash());
}

}  // namespace
}  // namespace factord
