#include "engine/model_state.h"

#include <map>
#include <random>
#include <thread>

#include "engine/query.h"
#include "engine/test_util.h"
#include "gtest/gtest.h"
#include "model/mix.h"

namespace factord {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config;
  config.rank = 5;
  config.dedupe_window = 50;
  return config;
}

// With all that an event can bring about.
ModelConfig FullConfig() {
  ModelConfig config = SmallConfig();
  config.replay = 2;
  config.event_types = {{"click", 1, 0.5f}, {"purchase", 2, 1}};
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
      if (!state_->config().event_types.empty() && random_() % 3 == 0) {
        event.kind = EventKind::kTaken;
        event.type = random_() % 2;
      }
      event.sequence = sequence;
      state_->Apply(event);
      if (random_() % 50 == 0) Revisit();
    }
    state_->Publish();
  }

  // Part of a pass.
  void Revisit() {
    Event event = {.sequence = state_->sequence() + 1, .kind = EventKind::kRevisit};
    event.revisited = {.first_user = static_cast<uint32_t>(random_() % 45),
                       .users = 1 + static_cast<uint32_t>(random_() % 10),
                       .position = static_cast<uint32_t>(random_() % 5),
                       .pass = 2 + static_cast<uint32_t>(random_() % 3)};
    state_->Apply(event);
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
  EXPECT_EQ(state.statistics().events, 1u);  // its prediction says nothing of new ratings
  rate(2);                                   // he thinks otherwise now
  EXPECT_NE(state.globals(), globals);
  EXPECT_LT(confidence(), before);
  EXPECT_EQ(state.RunningHash(), state.ComputeHash());
}

// Ratings of two users in turn.
void Rate(ModelState* state, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const std::string user = "u" + std::to_string(i % 2), item = "i" + std::to_string(i % 9);
    state->Apply({.sequence = state->sequence() + 1,
                  .user_id = user,
                  .item_id = item,
                  .rating = static_cast<float>(1 + i * 7 % 5)});
  }
  state->Publish();
}

TEST(ModelStateTest, WhatIsTakenUpTeachesTheRankingAlone) {
  ModelConfig config = SmallConfig();
  config.event_types = {{"click"}};
  ModelState state(config);
  Rate(&state, 20);
  const ItemView before = state.items().Pin();
  const RowState user = state.users().Lock(0)->state;
  const ModelGlobals globals = state.globals();
  const uint64_t events = state.statistics().events;
  state.Apply({.sequence = 21, .kind = EventKind::kTaken, .user_id = "u0", .item_id = "new"});
  state.Apply({.sequence = 22, .kind = EventKind::kTaken, .user_id = "u0", .item_id = "i1"});
  state.Publish();

  EXPECT_EQ(state.globals(), globals);
  EXPECT_EQ(state.statistics().events, events);
  EXPECT_EQ(state.users().Lock(0)->state.bias, user.bias);
  EXPECT_EQ(state.users().Lock(0)->state.count, user.count + 2);
  const ItemView after = state.items().Pin();
  EXPECT_EQ(after.state(1).count, before.state(1).count + 1);
  EXPECT_EQ(after.state(1).bias, before.state(1).bias);
  EXPECT_EQ(after.factors(1)[0], before.factors(1)[0]);
  EXPECT_NE(after.ranking(1)[0], before.ranking(1)[0]);
  const UserTable::LockedRow row = state.users().Lock(0);
  const absl::Span<const float> ratings = row->history.ratings();
  EXPECT_EQ(row->history.items().back(), 1u);
  EXPECT_TRUE(IsRating(ratings.back()));  // it was rated before
  EXPECT_FALSE(IsRating(ratings[ratings.size() - 2]));
}

TEST(ModelStateTest, ARevisitLearnsItsPartOfTheHistoriesOnceMore) {
  ModelState state(SmallConfig());
  Rate(&state, 40);
  const auto user_factor = [&](uint32_t user) { return state.users().Lock(user).factors()[0]; };
  const float first = user_factor(0), second = user_factor(1);
  const RowState user = state.users().Lock(1)->state;
  ASSERT_EQ(state.users().Lock(1)->history.items().size(), 9u);
  const auto revisit = [&](const RevisitedPart& part) {
    Event event = {.sequence = state.sequence() + 1, .kind = EventKind::kRevisit};
    event.revisited = part;
    state.Apply(event);
  };
  revisit({.first_user = 1, .users = 5, .position = 9, .pass = 2});  // nothing is left there
  revisit({.first_user = 2, .users = 1, .position = 0, .pass = 2});  // nor is there such a user
  EXPECT_EQ(user_factor(1), second);
  revisit({.first_user = 1, .users = 1, .position = 8, .pass = 2});
  EXPECT_EQ(user_factor(0), first);
  EXPECT_NE(user_factor(1), second);
  EXPECT_EQ(state.users().Lock(1)->state.count, user.count);
  EXPECT_EQ(state.users().Lock(1)->state.confidence, user.confidence);
  EXPECT_EQ(state.sequence(), 43);
  EXPECT_EQ(state.RunningHash(), state.ComputeHash());
}

TEST(ModelStateTest, ReplayMakesOldRatingsFitBetter) {
  ModelConfig config = SmallConfig();
  ModelState plain(config);
  config.replay = 4;
  ModelState replaying(config);
  for (ModelState* const state : {&plain, &replaying}) {
    for (uint64_t t = 0; t < 600; ++t) {
      const uint64_t u = Mix64(t) % 30, i = Mix64(~t) % 30;
      const std::string user = "u" + std::to_string(u), item = "i" + std::to_string(i);
      state->Apply({.sequence = state->sequence() + 1,
                    .user_id = user,
                    .item_id = item,
                    .rating = u % 2 == i % 2 ? 5.0f : 1.0f});
    }
    state->Publish();
  }
  const auto always = [] { return true; };
  EXPECT_LT(MeasureHistories(replaying, always).mae, 0.97 * MeasureHistories(plain, always).mae);
  EXPECT_EQ(MeasureHistories(plain, always).ratings, MeasureHistories(replaying, always).ratings);
}

TEST(ModelStateTest, RunningHashEqualsTheFreshOneAcrossCuts) {
  ModelState state(FullConfig());
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
  ModelState state(FullConfig());
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

TEST(ModelStateTest, EventIdsOfACutAreInOrderAlsoAfterAFailedOne) {
  ModelState state(FullConfig());
  Feeder feeder(&state, 5);
  feeder.Feed(60);
  Cut failed = state.BeginCut();
  feeder.Feed(60);
  const Hash128 rows = WalkCut(state, failed);
  const size_t entries = failed.dedupe_entries.size();
  state.EndCut(std::move(failed), rows, /*saved=*/false);
  const Cut next = state.BeginCut();
  EXPECT_GT(next.dedupe_entries.size(), entries);
  EXPECT_TRUE(std::is_sorted(
      next.dedupe_entries.begin(), next.dedupe_entries.end(),
      [](const DedupeEntry& a, const DedupeEntry& b) { return a.sequence < b.sequence; }));
}

// The snapshot thread walks the cut while the writer changes the same rows: what it gets is the
// state at the cut.
TEST(ModelStateTest, ACutIsConsistentWhileTheWriterGoesOn) {
  ModelState state(FullConfig());
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
  ModelState state(FullConfig());
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
  ModelState state(FullConfig());
  Feeder feeder(&state, 5);
  feeder.Feed(700);
  Cut cut = state.BeginCut();
  ModelState loaded(FullConfig());
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
