// The facade over a real store: what is acknowledged is visible, once, and there again after a
// restart.
#include "engine/engine.h"

#include <algorithm>
#include <ctime>
#include <future>
#include <limits>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "base/kill_point.h"
#include "base/temp_folder.h"
#include "base/test_file.h"
#include "base/test_mount.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/kernels.h"
#include "model/mix.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using Outcome = EventResult::Outcome;

class EngineTest : public ::testing::Test {
 protected:
  TempFolder dir_;
  EngineOptions options_ = TestOptions(dir_ / "data");
};

std::vector<std::string> ItemsOf(const Recommendation& recommendation) {
  std::vector<std::string> ids;
  for (const auto& item : recommendation.items) ids.emplace_back(item.item_id);
  return ids;
}

// --- Writing
// ---------------------------------------------------------------------------------------

TEST_F(EngineTest, EventsOfARequestGetContiguousSequences) {
  auto engine = OpenOrDie(options_);
  RecordResult result = Record(*engine, {{"u1", "i1", 4}, {"u1", "i2", 5}, {"u2", "i1", 1}});
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.last_sequence, 3);
  ASSERT_EQ(result.events.size(), 3u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(result.events[i].outcome, Outcome::kApplied);
    EXPECT_EQ(result.events[i].sequence, i + 1);
  }
  const ModelInfo info = engine->Info();
  EXPECT_EQ(info.sequence, 3);
  EXPECT_EQ(info.users, 2);
  EXPECT_EQ(info.items, 2);
  EXPECT_EQ(info.prequential_error.events, 3);
  EXPECT_EQ(Record(*engine, {{"u3", "i3", 2}}).last_sequence, 4);
}

TEST_F(EngineTest, AnEventIdIsAppliedOnce) {
  auto engine = OpenOrDie(options_);
  EXPECT_EQ(Record(*engine, {{"u", "i", 4, "id1"}}).last_sequence, 1);
  const std::string hash = HashOf(*engine);
  const RecordResult again = Record(*engine, {{"u", "i", 4, "id1"}});
  ASSERT_TRUE(again.status.ok());
  EXPECT_EQ(again.events[0].outcome, Outcome::kDuplicate);
  EXPECT_EQ(again.events[0].sequence, 1);
  EXPECT_EQ(HashOf(*engine), hash);
  EXPECT_EQ(engine->Info().duplicates, 1);
  // Within one request, too.
  const RecordResult twice = Record(*engine, {{"u", "j", 4, "id2"}, {"u", "j", 4, "id2"}});
  EXPECT_EQ(twice.events[0].outcome, Outcome::kApplied);
  EXPECT_EQ(twice.events[1].outcome, Outcome::kDuplicate);
  EXPECT_EQ(twice.events[1].sequence, 2);
}

TEST_F(EngineTest, AnEventIdWithOtherContentRefusesTheWholeRequest) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4, "id1"}});
  const std::string hash = HashOf(*engine);
  const RecordResult conflict =
      Record(*engine, {{"u", "j", 1, "id2"}, {"u", "i", 5, "id1"}, {"u", "k", 1}});
  EXPECT_EQ(conflict.status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(conflict.status.message()), HasSubstr("events[1].event_id"));
  EXPECT_EQ(HashOf(*engine), hash);
  EXPECT_EQ(engine->Info().sequence, 1);
  // What the refused request had taken is free again.
  EXPECT_EQ(Record(*engine, {{"u", "z", 2, "id2"}}).events[0].outcome, Outcome::kApplied);
  // With allow_partial the good events go in.
  const RecordResult partial =
      Record(*engine, {{"u", "a", 1}, {"u", "i", 5, "id1"}, {"u", "b", 1}}, true);
  ASSERT_TRUE(partial.status.ok());
  EXPECT_EQ(partial.events[1].outcome, Outcome::kConflict);
  EXPECT_EQ(partial.events[2].sequence, 4);
}

// A refused request leaves nothing behind in the group that it came with.
TEST_F(EngineTest, ARefusedRequestGivesBackItsIdsAndNumbersAlsoWithinAGroup) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4, "taken"}});
  for (int round = 0; round < 50; ++round) {
    const std::string id = "id" + std::to_string(round);
    const std::vector<OwnedRating> refused = {
        {"u", "j", 1, id}, {"u", "j", 1, "", "p", round + 1}, {"u", "i", 5, "taken"}};
    const std::vector<OwnedRating> good = {{"u", "k", 2, id}, {"u", "k", 2, "", "p", round + 1}};
    // While the first is written, the other two gather behind it.
    const std::vector<OwnedRating> filler = RandomRatings(1, 100);
    auto first = Send(*engine, filler), second = Send(*engine, refused),
         third = Send(*engine, good);
    EXPECT_TRUE(first.get().status.ok());
    EXPECT_EQ(second.get().status.code(), absl::StatusCode::kAlreadyExists);
    const RecordResult result = third.get();
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.events[0].outcome, Outcome::kApplied);
    EXPECT_EQ(result.events[1].outcome, Outcome::kApplied);
  }
}

TEST_F(EngineTest, EventIdsAreForgottenAfterTheWindow) {
  options_.config.dedupe_window = 10;
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4, "first"}});
  for (int i = 0; i < 9; ++i) Record(*engine, {{"u", "i", 4}});
  EXPECT_EQ(Record(*engine, {{"u", "i", 4, "first"}}).events[0].outcome, Outcome::kDuplicate);
  Record(*engine, {{"u", "i", 4}});
  EXPECT_EQ(Record(*engine, {{"u", "i", 4, "first"}}).events[0].outcome, Outcome::kApplied);
}

TEST_F(EngineTest, AProducersNumberIsAppliedOnceAlsoAfterARestart) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4, "", "p", 3}, {"u", "j", 4, "", "p", 7}}, true);
  const RecordResult old =
      Record(*engine, {{"u", "k", 4, "", "p", 5}, {"u", "k", 4, "", "p", 8}}, true);
  EXPECT_EQ(old.events[0].outcome, Outcome::kDuplicate);
  EXPECT_EQ(old.events[1].outcome, Outcome::kApplied);
  const auto last = [&] {
    std::promise<absl::StatusOr<int64_t>> promise;
    engine->LastProducerNumber("p", [&](absl::StatusOr<int64_t> n) { promise.set_value(n); });
    return *promise.get_future().get();
  };
  EXPECT_EQ(last(), 8);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  engine = OpenOrDie(options_);
  EXPECT_EQ(last(), 8);
  EXPECT_EQ(Record(*engine, {{"u", "l", 4, "", "p", 8}}, true).events[0].outcome,
            Outcome::kDuplicate);
}

TEST_F(EngineTest, OneProducerTooManyIsRefusedAndKnownOnesGoOn) {
  options_.max_producers = 1;
  auto engine = OpenOrDie(options_);
  const auto ask = [&](const char* producer) {
    std::promise<absl::StatusOr<int64_t>> promise;
    engine->LastProducerNumber(producer, [&](auto number) { promise.set_value(number); });
    return promise.get_future().get();
  };
  EXPECT_EQ(*ask("p"), 0);
  Record(*engine, {{"u", "i", 4, "", "p", 3}});
  EXPECT_EQ(ask("q").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ask("q").status().message(),
            "start.producer_id: would be producer 2 of --max_producers=1");
  EXPECT_EQ(*ask("p"), 3);
}

TEST_F(EngineTest, ANearlyFullDiskRefusesNewEventsOnly) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4, "id"}});
  const std::string hash = HashOf(*engine);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  options_.min_free_bytes = std::numeric_limits<int64_t>::max();
  engine = OpenOrDie(options_);
  EXPECT_EQ(Record(*engine, {{"u", "j", 4}}).status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Record(*engine, {{"u", "i", 4, "id"}}).events[0].outcome, Outcome::kDuplicate);
  EXPECT_EQ(engine->Metrics().refusals.disk, 1);
  EXPECT_EQ(HashOf(*engine), hash);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  // It does not stick.
  options_.min_free_bytes = 0;
  engine = OpenOrDie(options_);
  EXPECT_TRUE(Record(*engine, {{"u", "j", 4}}).status.ok());
}

TEST_F(EngineTest, CallsAfterCloseAreRefused) {
  auto engine = OpenOrDie(options_);
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_EQ(Record(*engine, {{"u", "i", 4}}).status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine->ComputeHash().status().code(), absl::StatusCode::kUnavailable);
}

// --- Limits
// ---------------------------------------------------------------------------------------

TEST_F(EngineTest, OptionsOutOfRangeAreNamed) {
  options_.max_queued_bytes = 0;
  options_.max_users = -1;
  options_.max_items = (int64_t{1} << 28) + 1;
  options_.memory_limit = -1;
  const absl::Status status = Engine::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  for (const char* what : {"max_queued_bytes: ", "max_users: must be 0 to 268435456",
                           "max_items: must be 0 to 268435456", "memory_limit: "}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
}

// Limits are no part of the model: recovery does not know them.
TEST_F(EngineTest, AFolderThatHoldsMoreThanTheLimitsOpensAndOnlyGrowsNoFurther) {
  options_.log_retention = LogRetention::kAll;
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(15, 500));
  ASSERT_TRUE(engine->CreateSnapshot().ok());
  Record(*engine, RandomRatings(16, 500, 100, 100));
  std::string hash = HashOf(*engine);
  const std::string crashed = dir_ / "crashed";
  std::filesystem::copy(options_.data_dir, crashed, std::filesystem::copy_options::recursive);
  engine.reset();
  options_.data_dir = crashed;
  for (int64_t* const limit : {&options_.max_users, &options_.max_items, &options_.memory_limit}) {
    *limit = 10;
    engine = OpenOrDie(options_);
    ASSERT_NE(engine, nullptr);
    EXPECT_EQ(HashOf(*engine), hash);
    EXPECT_EQ(Record(*engine, {{"new", "new", 4}}).status.code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(HashOf(*engine), hash);
    EXPECT_TRUE(Record(*engine, {{"u0", "i0", 4}}).status.ok());
    hash = HashOf(*engine);
    engine.reset();
    *limit = 0;
  }
}

// --- Metrics
// ---------------------------------------------------------------------------------------

TEST_F(EngineTest, MetricsCountWhatHappened) {
  options_.config.dedupe_window = 10;
  auto engine = OpenOrDie(options_);
  EXPECT_EQ(engine->Metrics().snapshot_unix_seconds, 0);
  Record(*engine, {{"u", "i", 4, "a"}, {"u", "j", 4, "b"}, {"u", "k", 4}});
  Record(*engine, {{"u", "i", 4, "a"}, {"u", "l", 4, "", "p", 1}});
  Record(*engine, {{"u", "i", 3, "a"}, {"u", "i", 4, "a"}}, true);
  Record(*engine, {{"v", "i", 4}, {"u", "i", 4, "a"}, {"u", "i", 3, "a"}});  // refused as a whole
  const EngineMetrics metrics = engine->Metrics();
  EXPECT_EQ(metrics.applied, 4);
  EXPECT_EQ(metrics.duplicates, 2);
  EXPECT_EQ(metrics.conflicts, 2);
  EXPECT_EQ(metrics.group_events.count, 2);
  EXPECT_EQ(metrics.group_events.sum, 4);
  EXPECT_EQ(metrics.log_append_seconds.count, 2);
  EXPECT_EQ(metrics.log_sync_seconds.count, 2);
  EXPECT_GT(metrics.log_sync_seconds.sum, 0);
  EXPECT_EQ(metrics.log_events, 4);
  EXPECT_GT(metrics.log_bytes, 50);
  EXPECT_EQ(metrics.producers, 1);
  EXPECT_EQ(metrics.dedupe_entries, 2);
  EXPECT_EQ(metrics.dedupe_evictions, 0);
  EXPECT_GT(metrics.disk_free_bytes, 0);
  EXPECT_GT(metrics.memory.store, 0);
  EXPECT_GT(metrics.memory.histories, 0);
  EXPECT_EQ(metrics.memory.total(), metrics.memory.users + metrics.memory.histories +
                                        metrics.memory.user_ids + metrics.memory.items +
                                        metrics.memory.item_ids + metrics.memory.dedupe +
                                        metrics.memory.store);
  for (int i = 0; i < 9; ++i) Record(*engine, {{"u", "i", 4}});
  EXPECT_EQ(engine->Metrics().dedupe_entries, 0);
  EXPECT_EQ(engine->Metrics().dedupe_evictions, 2);
}

TEST_F(EngineTest, MetricsTellOfSnapshotsAlsoAfterARestart) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4}});
  const int64_t before = std::time(nullptr);
  ASSERT_TRUE(engine->CreateSnapshot().ok());
  const EngineMetrics metrics = engine->Metrics();
  EXPECT_EQ(metrics.snapshot_seconds.count, 1);
  EXPECT_GT(metrics.snapshot_seconds.sum, 0);
  EXPECT_EQ(metrics.snapshot_failures, 0);
  EXPECT_FALSE(metrics.snapshot_running);
  EXPECT_GE(metrics.snapshot_unix_seconds, before);
  EXPECT_LE(metrics.snapshot_unix_seconds, std::time(nullptr));
  EXPECT_EQ(metrics.log_events, 0);  // trimmed
  engine.reset();
  engine = OpenOrDie(options_);
  EXPECT_GE(engine->Metrics().snapshot_unix_seconds, before);
  EXPECT_LE(engine->Metrics().snapshot_unix_seconds, metrics.snapshot_unix_seconds);
  EXPECT_EQ(engine->Metrics().snapshot_seconds.count, 0);
  ASSERT_TRUE(engine->Close().ok());
  EXPECT_FALSE(engine->CreateSnapshot().ok());
  EXPECT_EQ(engine->Metrics().snapshot_failures, 1);
  EXPECT_EQ(engine->Metrics().snapshot_seconds.count, 0);
}

TEST_F(EngineTest, MetricsTellThatASnapshotIsBeingWritten) {
  options_.snapshot_bytes_per_second = 20'000;
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(12, 500));
  auto snapshot = std::async(std::launch::async, [&] { return engine->CreateSnapshot(); });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!engine->Metrics().snapshot_running) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
  EXPECT_TRUE(snapshot.get().ok());
  EXPECT_FALSE(engine->Metrics().snapshot_running);
}

// --- Recovery's progress
// ---------------------------------------------------------------------------------------

TEST_F(EngineTest, RecoveryCountsRowsAndEvents) {
  options_.log_retention =
      LogRetention::kAll;  // no trim whose files would go while they are copied
  const auto open = [&] {
    options_.recovery_progress = std::make_shared<RecoveryProgress>();
    EXPECT_EQ(options_.recovery_progress->fraction(), 0);
    return OpenOrDie(options_);
  };
  auto engine = open();
  EXPECT_EQ(options_.recovery_progress->total(), 0);
  EXPECT_EQ(options_.recovery_progress->fraction(), 1);
  Record(*engine, {{"u", "i", 4}, {"v", "i", 4}, {"w", "j", 4}});
  ASSERT_TRUE(engine->CreateSnapshot().ok());
  Record(*engine, RandomRatings(13, 100));
  const std::string backup = dir_ / "crashed";
  // As after a crash: Close would take a snapshot.
  std::filesystem::copy(options_.data_dir, backup, std::filesystem::copy_options::recursive);
  engine.reset();
  options_.data_dir = backup;
  engine = open();
  EXPECT_EQ(options_.recovery_progress->total(), 3 + 2 + 100);
  EXPECT_EQ(options_.recovery_progress->done(), 3 + 2 + 100);
  EXPECT_EQ(options_.recovery_progress->fraction(), 1);
}

TEST_F(EngineTest, ARecoveryThatFailsNeverSeemsComplete) {
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(14, 100));
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  {
    auto store = Store::Open({.path = options_.data_dir});
    ASSERT_TRUE(store.ok());
    ASSERT_TRUE((*store)->ClearEvidence().ok());
    ASSERT_TRUE((*store)->CloseClean({100, Hash128{1, 2}}).ok());
  }
  options_.recovery_progress = std::make_shared<RecoveryProgress>();
  EXPECT_EQ(Engine::Open(options_).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(options_.recovery_progress->done(), options_.recovery_progress->total());
  EXPECT_GT(options_.recovery_progress->done(), 0);
  EXPECT_GT(options_.recovery_progress->fraction(), 0.9);
  EXPECT_LT(options_.recovery_progress->fraction(), 1);
}

// Another thread sees it move while Open blocks.
TEST_F(EngineTest, RecoveryCanBeWatched) {
  auto engine = OpenOrDie(options_);
  for (uint32_t i = 0; i < 20; ++i) Record(*engine, RandomRatings(i, 5000));
  const std::string crashed = dir_ / "crashed";
  std::filesystem::copy(options_.data_dir, crashed, std::filesystem::copy_options::recursive);
  options_.data_dir = crashed;
  options_.recovery_progress = std::make_shared<RecoveryProgress>();
  auto opened = std::async(std::launch::async, [&] { return OpenOrDie(options_); });
  bool between = false;
  double last = 0;
  while (last < 1) {
    const double now = options_.recovery_progress->fraction();
    ASSERT_GE(now, last);
    between = between || (now > 0 && now < 1);
    last = now;
    if (opened.wait_for(std::chrono::seconds(0)) == std::future_status::ready) break;
  }
  ASSERT_NE(opened.get(), nullptr);
  EXPECT_TRUE(between);
  EXPECT_EQ(options_.recovery_progress->fraction(), 1);
}

// --- Reading
// ---------------------------------------------------------------------------------------

TEST_F(EngineTest, WhatWasRatedIsNeverRecommendedRightAfterTheAck) {
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(1, 300));
  for (const OwnedRating& rating : RandomRatings(2, 200)) {
    ASSERT_TRUE(Record(*engine, {rating}).status.ok());
    const auto answer = engine->Recommend({.user_id = rating.user, .max_items = 1000});
    ASSERT_TRUE(answer.ok());
    EXPECT_FALSE(answer->cold_start);
    EXPECT_THAT(ItemsOf(*answer), ::testing::Not(::testing::Contains(rating.item)));
    // All others are there, and with the rated ones it is every item.
    const auto all =
        engine->Recommend({.user_id = rating.user, .max_items = 1000, .exclude_rated = false});
    EXPECT_EQ(static_cast<int64_t>(all->items.size()), engine->Info().items);
    EXPECT_THAT(ItemsOf(*all), ::testing::Contains(rating.item));
  }
}

TEST_F(EngineTest, RankingEqualsBruteForceOverTheFactorsOfThePinnedView) {
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(3, 2000));
  const std::string token = *engine->PinItems();
  Record(*engine, RandomRatings(4, 500));  // the view stays as it was
  const auto answer = engine->Recommend({.user_id = "u1",
                                         .max_items = 1000,
                                         .exclude_rated = false,
                                         .view_token = token,
                                         .include_user_factors = true});
  ASSERT_TRUE(answer.ok()) << answer.status();
  std::vector<float> user = answer->user_factors;
  ASSERT_EQ(user.size(), 8u);
  user.resize(16);
  std::vector<std::pair<float, std::string>> scored;
  bool last = false;
  for (int64_t first = 0; !last; first += 7) {
    const auto page = engine->ItemFactors(token, first, 7);
    ASSERT_TRUE(page.ok());
    EXPECT_EQ(page->sequence, answer->sequence);
    for (const FactorPage::Row& row : page->rows) {
      std::vector<float> item = row.ranking_factors;
      item.resize(16);
      const float product = KernelsByName("scalar").value()->dot(user.data(), item.data(), 16);
      scored.emplace_back(-(product + row.ranking_bias), std::string(row.id));
    }
    last = page->last_page;
  }
  // Whoever makes up a place gets nothing, and hears that it was the last.
  constexpr int64_t kBeyond = std::numeric_limits<int64_t>::max();
  EXPECT_TRUE(engine->ItemFactors(token, kBeyond, 7)->last_page);
  EXPECT_TRUE(engine->UserFactors(kBeyond, 7).last_page);
  std::sort(scored.begin(), scored.end());
  ASSERT_EQ(answer->items.size(), scored.size());
  for (size_t i = 0; i < scored.size(); ++i) {
    EXPECT_EQ(answer->items[i].item_id, scored[i].second);
    EXPECT_EQ(answer->items[i].score, -scored[i].first);
  }
}

TEST_F(EngineTest, CountsFactorsAtZero) {
  auto engine = OpenOrDie(options_);
  EXPECT_EQ(engine->MeasureFactors().user_zeros, 0);
  EXPECT_EQ(engine->MeasureFactors().dead_coordinates, 0);
  engine.reset();
  // Without slack a rating of 0 takes both rows to nothing.
  options_.data_dir = dir_ / "pure";
  options_.config.variant = Variant::kPa;
  options_.config.solver = Solver::kExact;
  engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 0}, {"v", "j", 3}});
  const FactorHealth health = engine->MeasureFactors();
  EXPECT_EQ(health.user_zeros, 0.5);
  EXPECT_EQ(health.item_zeros, 0.5);
  EXPECT_EQ(health.dead_user_rows, 0.5);
  EXPECT_EQ(health.dead_item_rows, 0.5);
  EXPECT_EQ(health.dead_coordinates, 0);
  Record(*engine, {{"v", "j", 0}});
  EXPECT_EQ(engine->MeasureFactors().dead_coordinates, options_.config.rank);
}

TEST_F(EngineTest, DeniedAndUnknownIdsAndUnknownUsers) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "b", 4}, {"v", "b", 4}, {"v", "a", 4}, {"w", "c", 4}});
  // Nothing is known of the user: the most rated items, ties by id.
  const auto cold = engine->Recommend({.user_id = "nobody"});
  ASSERT_TRUE(cold.ok());
  EXPECT_TRUE(cold->cold_start);
  EXPECT_THAT(ItemsOf(*cold), ::testing::ElementsAre("b", "a", "c"));
  EXPECT_EQ(engine->Recommend({.user_id = "nobody", .strict = true}).status().code(),
            absl::StatusCode::kNotFound);
  const auto denied = engine->Recommend({.user_id = "u", .deny_item_ids = {"a", "never heard of"}});
  EXPECT_THAT(ItemsOf(*denied), ::testing::ElementsAre("c"));

  const auto predictions =
      engine->Predict({{"u", "b"}, {"nobody", "b"}, {"u", "nothing"}}, /*strict=*/false);
  ASSERT_TRUE(predictions.ok());
  EXPECT_EQ(predictions->sequence, 4);
  EXPECT_FALSE(predictions->ratings[0].cold_start);
  EXPECT_TRUE(predictions->ratings[1].cold_start);
  EXPECT_TRUE(predictions->ratings[2].cold_start);
  const absl::Status strict = engine->Predict({{"u", "b"}, {"u", "nothing"}}, true).status();
  EXPECT_EQ(strict.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(strict.message()), HasSubstr("pairs[1].item_id"));
}

TEST_F(EngineTest, APredictionIsWhatTheNextUpdateStartsFrom) {
  auto engine = OpenOrDie(options_);
  double absolute_error = 0;
  int64_t n = 0;
  for (const OwnedRating& rating : RandomRatings(5, 300)) {
    const auto before = engine->Predict({{rating.user, rating.item}}, false);
    absolute_error += std::abs(double{rating.rating} - before->ratings[0].rating);
    ASSERT_TRUE(Record(*engine, {rating}).status.ok());
    EXPECT_NEAR(engine->Info().prequential_error.mae, absolute_error / static_cast<double>(++n),
                1e-9);
  }
}

TEST_F(EngineTest, WhenVisibleWaitsRefusesAndTimesOut) {
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4}});
  const auto wait = [&](int64_t sequence) {
    std::promise<absl::Status> promise;
    engine->WhenVisible(sequence, std::chrono::steady_clock::now() + std::chrono::milliseconds(5),
                        [&](absl::Status status) { promise.set_value(status); });
    return promise.get_future().get();
  };
  EXPECT_TRUE(wait(0).ok());
  EXPECT_TRUE(wait(1).ok());
  EXPECT_EQ(wait(2).code(), absl::StatusCode::kOutOfRange);
}

TEST_F(EngineTest, TopicsAreTheHeaviestItemsOfEachFactor) {
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(6, 500));
  const Topics topics = engine->ListTopics(5, 0);
  ASSERT_EQ(topics.topics.size(), 8u);
  const std::string token = *engine->PinItems();
  const auto page = engine->ItemFactors(token, 0, 1000);
  for (size_t k = 0; k < 8; ++k) {
    std::vector<std::pair<float, std::string>> weights;
    for (const auto& row : page->rows) weights.emplace_back(-row.factors[k], row.id);
    std::sort(weights.begin(), weights.end());
    ASSERT_EQ(topics.topics[k].items.size(), 5u);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_EQ(topics.topics[k].items[i].item_id, weights[i].second);
      EXPECT_EQ(topics.topics[k].items[i].weight, -weights[i].first);
    }
  }
  for (const Topic& topic : engine->ListTopics(100, 10).topics) {
    for (const Topic::Item& item : topic.items) EXPECT_GE(item.ratings, 10);
  }
}

TEST_F(EngineTest, PinnedViewsAreBoundedAndExpire) {
  options_.max_pinned_views = 2;
  options_.pinned_view_ttl = std::chrono::milliseconds(1);
  auto engine = OpenOrDie(options_);
  Record(*engine, {{"u", "i", 4}});
  const std::string token = *engine->PinItems();
  std::this_thread::sleep_until(std::chrono::steady_clock::now() + std::chrono::milliseconds(2));
  EXPECT_EQ(engine->ItemFactors(token, 0, 10).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(engine->Recommend({.user_id = "u", .view_token = token}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  options_.pinned_view_ttl = std::chrono::hours(1);
  engine = OpenOrDie(options_);
  EXPECT_TRUE(engine->PinItems().ok());
  EXPECT_TRUE(engine->PinItems().ok());
  EXPECT_TRUE(RetryAfterOf(engine->PinItems().status()).has_value());
}

// --- Further passes
// --------------------------------------------------------------------------------

// Waits until the passes are over.
PassesProgress Finished(const Engine& engine) {
  PassesProgress progress;
  while ((progress = engine.Passes()).state == PassesProgress::State::kRunning) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return progress;
}

// Everybody likes either the even items or the odd ones.
std::vector<OwnedRating> PredictableRatings(size_t n) {
  std::vector<OwnedRating> ratings;
  for (uint64_t t = 0; t < n; ++t) {
    const uint64_t user = Mix64(t) % 30, item = Mix64(~t) % 40;
    ratings.push_back({"u" + std::to_string(user), "i" + std::to_string(item),
                       user % 2 == item % 2 ? 5.0f : 1.0f});
  }
  return ratings;
}

TEST_F(EngineTest, FurtherPassesLowerTheErrorAndAreInTheLog) {
  options_.log_retention = LogRetention::kAll;
  auto engine = *Engine::Open(options_);
  EXPECT_EQ(engine->Passes().state, PassesProgress::State::kNone);
  const std::vector<OwnedRating> ratings = PredictableRatings(800);
  ASSERT_TRUE(Record(*engine, ratings).status.ok());
  ASSERT_TRUE(engine->StartPasses(3).ok());
  const PassesProgress progress = Finished(*engine);
  EXPECT_EQ(progress.state, PassesProgress::State::kDone) << progress.failure;
  EXPECT_EQ(progress.events_done, progress.events_total);
  EXPECT_EQ(progress.events_total, 3 * progress.before.ratings);
  EXPECT_LT(progress.after->mae, 0.9 * progress.before.mae);
  EXPECT_LT(progress.after->rmse, progress.before.rmse);
  EXPECT_EQ(progress.after->ratings, progress.before.ratings);
  const ModelInfo info = engine->Info();
  EXPECT_GT(info.sequence, 802);
  // 800 less those that came again as they were.
  EXPECT_EQ(info.prequential_error.events, progress.before.ratings);
  const Hash128 hash = engine->ComputeHash()->hash;
  ASSERT_TRUE(engine->Close().ok());

  // The log says it all.
  engine.reset();
  engine = *Engine::Open(options_);
  EXPECT_EQ(engine->ComputeHash()->hash, hash);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  const absl::StatusOr<VerifyResult> verified = VerifyFolder(options_.data_dir);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->hash, hash);
}

TEST_F(EngineTest, PassesGoOnBesideLiveEventsAndEndWhenTheyAreStopped) {
  auto engine = *Engine::Open(options_);
  ASSERT_TRUE(Record(*engine, PredictableRatings(3000)).status.ok());
  ASSERT_TRUE(engine->StartPasses(100).ok());
  EXPECT_EQ(engine->StartPasses(1).code(), absl::StatusCode::kFailedPrecondition);
  while (engine->Passes().events_done < 5000) {
    ASSERT_TRUE(Record(*engine, {{"live", "i1", 4}}).status.ok());
  }
  engine->StopPasses();
  const PassesProgress progress = engine->Passes();
  EXPECT_EQ(progress.state, PassesProgress::State::kStopped);
  EXPECT_LT(progress.events_done, progress.events_total);
  EXPECT_FALSE(progress.after.has_value());
  const int64_t sequence = engine->visible_sequence();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(engine->visible_sequence(), sequence);
  // And again from here.
  ASSERT_TRUE(engine->StartPasses(1).ok());
  EXPECT_EQ(Finished(*engine).state, PassesProgress::State::kDone);
}

TEST_F(EngineTest, LongHistoriesAreGoneThroughInParts) {
  auto engine = *Engine::Open(options_);
  std::vector<OwnedRating> ratings;
  for (int i = 0; i < 2500; ++i) ratings.push_back({"reader", "i" + std::to_string(i), 4});
  ratings.push_back({"other", "i1", 3});
  ASSERT_TRUE(Record(*engine, ratings).status.ok());
  ASSERT_TRUE(engine->StartPasses(1).ok());
  EXPECT_EQ(Finished(*engine).events_done, 2501);
  // Three parts of the one, and the other.
  EXPECT_EQ(engine->visible_sequence(), 2501 + 4);
}

TEST_F(EngineTest, PassesEndWithTheEngine) {
  auto engine = *Engine::Open(options_);
  ASSERT_TRUE(Record(*engine, PredictableRatings(3000)).status.ok());
  ASSERT_TRUE(engine->StartPasses(100).ok());
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  engine = *Engine::Open(options_);
  EXPECT_EQ(engine->Passes().state, PassesProgress::State::kNone);
}

TEST_F(EngineTest, PassesThatTheDiskRefusesFail) {
  options_.min_free_bytes = std::numeric_limits<int64_t>::max();
  auto engine = *Engine::Open(options_);
  ASSERT_TRUE(engine->StartPasses(1).ok());
  EXPECT_EQ(Finished(*engine).state, PassesProgress::State::kDone);  // there is nothing to go over
  ASSERT_TRUE(engine->Close().ok());
  options_.min_free_bytes = 0;
  engine.reset();
  engine = *Engine::Open(options_);
  ASSERT_TRUE(Record(*engine, PredictableRatings(10)).status.ok());
  ASSERT_TRUE(engine->Close().ok());
  options_.min_free_bytes = std::numeric_limits<int64_t>::max();
  engine.reset();
  engine = *Engine::Open(options_);
  ASSERT_TRUE(engine->StartPasses(1).ok());
  const PassesProgress progress = Finished(*engine);
  EXPECT_EQ(progress.state, PassesProgress::State::kFailed);
  EXPECT_THAT(std::string(progress.failure.message()), HasSubstr("--min_free_bytes"));
  EXPECT_EQ(engine->visible_sequence(), 10);
}

// --- Restart, snapshots, backup
// ----------------------------------------------------------------------

// Runs the same stream with the given actions in between and returns the final hash.
std::string HashAfter(const EngineOptions& options, int restart_every, int snapshot_every) {
  auto engine = OpenOrDie(options);
  int i = 0;
  for (const OwnedRating& rating : RandomRatings(7, 400)) {
    OwnedRating with_id = rating;
    if (i % 3 != 2) with_id.event_id = "e" + std::to_string(i);
    EXPECT_TRUE(Record(*engine, {with_id}).status.ok());
    ++i;
    if (snapshot_every > 0 && i % snapshot_every == 0) {
      const auto snapshot = engine->CreateSnapshot();
      EXPECT_TRUE(snapshot.ok()) << snapshot.status();
      EXPECT_EQ(snapshot->hash.ToHex(), HashOf(*engine));
    }
    if (restart_every > 0 && i % restart_every == 0) {
      EXPECT_TRUE(engine->Close().ok());
      engine.reset();
      engine = OpenOrDie(options);
      if (engine == nullptr) return "";
    }
  }
  return HashOf(*engine);
}

TEST_F(EngineTest, RestartsAndSnapshotsDoNotShowInTheHash) {
  const std::string plain = HashAfter(TestOptions(dir_ / "plain"), 0, 0);
  EngineOptions all = TestOptions(dir_ / "all");
  all.log_retention = LogRetention::kAll;
  EXPECT_EQ(HashAfter(all, 31, 50), plain);
  EXPECT_EQ(HashAfter(TestOptions(dir_ / "trim"), 53, 17), plain);
  const auto verified = VerifyFolder(dir_ / "all");
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->hash.ToHex(), plain);
  EXPECT_EQ(verified->events, 400);
  EXPECT_EQ(VerifyFolder(dir_ / "trim").status().code(), absl::StatusCode::kFailedPrecondition);
}

// Snapshots within one window of event ids, over its end, and many windows apart.
TEST_F(EngineTest, SnapshotsKeepTheWindowOfEventIdsWhereverItIs) {
  const TempFolder memory(TempFolder::Place::kMemory);  // of hundreds of snapshots
  for (const int window : {1, 7, 64, 150}) {
    const auto options = [&](const std::string& name) {
      EngineOptions options = TestOptions(memory / absl::StrCat(name, window));
      options.config.dedupe_window = window;
      return options;
    };
    const std::string plain = HashAfter(options("plain"), 0, 0);
    EXPECT_EQ(HashAfter(options("seldom"), 37, 41), plain) << window;
    EXPECT_EQ(HashAfter(options("often"), 11, 3), plain) << window;
  }
}

TEST_F(EngineTest, TheLogIsTrimmedOrKeptAsAsked) {
  {
    auto engine = OpenOrDie(options_);
    Record(*engine, RandomRatings(8, 100));
    ASSERT_TRUE(engine->CreateSnapshot().ok());
    EXPECT_EQ(engine->Info().log_start_sequence, 101);
    EXPECT_EQ(engine->Info().snapshot_sequence, 100);
    EXPECT_EQ(engine->CreateSnapshot()->rows_written, 0);
  }
  EngineOptions all = TestOptions(dir_ / "all");
  all.log_retention = LogRetention::kAll;
  auto engine = OpenOrDie(all);
  Record(*engine, RandomRatings(8, 100));
  ASSERT_TRUE(engine->CreateSnapshot().ok());
  EXPECT_EQ(engine->Info().log_start_sequence, 1);
}

TEST_F(EngineTest, SnapshotsComeByTimeAndByLogSize) {
  options_.snapshot_log_bytes = 2000;
  auto engine = OpenOrDie(options_);
  const auto wait_for_snapshot = [&](int64_t at_least) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (engine->Info().snapshot_sequence < at_least) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::yield();
    }
  };
  Record(*engine, RandomRatings(9, 200));
  wait_for_snapshot(1);
  ASSERT_TRUE(engine->Close().ok());
  engine.reset();
  options_.snapshot_log_bytes = 0;
  options_.snapshot_interval = std::chrono::milliseconds(5);
  engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(10, 1));
  wait_for_snapshot(201);
}

TEST_F(EngineTest, ABackupStartsWithTheHashItWasTakenAt) {
  options_.backup_dir = dir_ / "backups";
  auto engine = OpenOrDie(options_);
  Record(*engine, RandomRatings(11, 500));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint32_t seed = 0; !stop; ++seed) Record(*engine, RandomRatings(seed, 20));
  });
  std::vector<BackupInfo> backups;
  for (int i = 0; i < 3; ++i) {
    const auto backup = engine->Backup("backup" + std::to_string(i));
    EXPECT_TRUE(backup.ok()) << backup.status();
    if (backup.ok()) backups.push_back(*backup);
  }
  stop = true;
  writer.join();
  EXPECT_EQ(engine->Backup("backup0").status().code(), absl::StatusCode::kAlreadyExists);
  for (const BackupInfo& backup : backups) {
    EngineOptions restored = options_;
    restored.data_dir = backup.path;
    auto copy = OpenOrDie(restored);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->Info().sequence, backup.sequence);
    EXPECT_EQ(HashOf(*copy), backup.hash.ToHex());
    EXPECT_TRUE(Record(*copy, {{"new", "rating", 1}}).status.ok());
  }
}

TEST_F(EngineTest, AnotherConfigurationIsRefusedNamingEveryField) {
  OpenOrDie(options_)->Close().IgnoreError();
  options_.config.rank = 9;
  options_.config.seed = 77;
  const absl::Status status = Engine::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank is 8, not 9"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("seed is 1, not 77"));
}

TEST_F(EngineTest, AFolderInUseAForeignOneAndAMissingOne) {
  auto engine = OpenOrDie(options_);
  EXPECT_EQ(Engine::Open(options_).status().code(), absl::StatusCode::kFailedPrecondition);
  EngineOptions foreign = TestOptions(dir_.path());  // holds "data"
  EXPECT_EQ(Engine::Open(foreign).status().code(), absl::StatusCode::kFailedPrecondition);
  EngineOptions missing = TestOptions(dir_ / "missing");
  missing.create_if_missing = false;
  EXPECT_EQ(Engine::Open(missing).status().code(), absl::StatusCode::kNotFound);
  EngineOptions bad = TestOptions(dir_ / "bad");
  bad.config.rank = 0;
  bad.config.epsilon = -1;
  const absl::Status status = Engine::Open(bad).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("epsilon"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "bad"));
}

// --- Damage --------------------------------------------------------------------------------------

// A folder whose rows are not what its snapshot's hash says must not be served.
TEST_F(EngineTest, ASnapshotWithAnotherHashIsDataLoss) {
  {
    auto engine = OpenOrDie(options_);
    Record(*engine, RandomRatings(12, 50));
    ASSERT_TRUE(engine->Close().ok());
  }
  {
    auto store = *Store::Open({.path = options_.data_dir});
    ASSERT_TRUE(store->ClearEvidence().ok());
    SnapshotMeta meta = store->snapshot();
    ++meta.hash.low;
    auto writer = *store->NewSnapshot();
    ASSERT_TRUE(writer->Commit(meta).ok());
  }
  const absl::Status status = Engine::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the snapshot at sequence 50"));
}

// The path of a table, and how often the folder has been opened by now.
std::string table_of_folder;
int openings = 0;

// A read that fails in passing may show as damage.
TEST_F(EngineTest, DamageThatHasGoneAtASecondOpeningIsNone) {
  std::string hash;
  {
    auto engine = OpenOrDie(options_);
    Record(*engine, RandomRatings(13, 50));
    hash = HashOf(*engine);
    ASSERT_TRUE(engine->Close().ok());
  }
  openings = 0;
  uintmax_t largest = 0;  // one of rows, which are read last
  for (const auto& file : std::filesystem::directory_iterator(options_.data_dir + "/db")) {
    if (file.path().extension() != ".sst" || file.file_size() < largest) continue;
    largest = file.file_size();
    table_of_folder = file.path();
  }
  factord_kill_point = [](const char* name) {
    if (std::string(name) == "recovery.begin" && ++openings <= 2) {
      FlipBit(table_of_folder, 80);  // in its first block; twice, and it is as before
    }
  };
  auto engine = OpenOrDie(options_);
  factord_kill_point = nullptr;
  EXPECT_EQ(openings, 2);
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(HashOf(*engine), hash);
}

// The log and the snapshot fit each other, but the state is not the one that the folder was closed
// with.
TEST_F(EngineTest, EvidenceOfAnotherHashIsDataLoss) {
  {
    auto engine = OpenOrDie(options_);
    Record(*engine, RandomRatings(13, 50));
    ASSERT_TRUE(engine->Close().ok());
  }
  {
    auto store = *Store::Open({.path = options_.data_dir});
    ASSERT_TRUE(store->ClearEvidence().ok());
    ASSERT_TRUE(store->CloseClean({50, Hash128{1, 2}}).ok());
  }
  const absl::Status status = Engine::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the folder at sequence 50"));
  EXPECT_EQ(VerifyFolder(options_.data_dir).status().code(),
            absl::StatusCode::kFailedPrecondition);  // its log was trimmed
}

// A disk that is really full: the failed write is final, reads go on, and a restart serves what was
// acknowledged.
TEST_F(EngineTest, AFullDiskEndsWritingUntilARestartAndLosesNothing) {
  const std::string disk = dir_ / "disk";
  std::filesystem::create_directory(disk);
  const TestMount tmpfs(disk, "size=6m");
  if (!tmpfs.ok()) GTEST_SKIP() << "this process may not mount";
  options_.data_dir = disk + "/data";
  std::atomic<int> snapshots{0}, failed_snapshots{0};
  options_.on_snapshot = [&](const absl::StatusOr<SnapshotInfo>& info, double) {
    ++(info.ok() ? snapshots : failed_snapshots);
  };
  auto engine = OpenOrDie(options_);
  int64_t acknowledged = 0;
  absl::Status failure;
  for (uint32_t i = 0; i < 1000 && failure.ok(); ++i) {
    const RecordResult result = Record(*engine, RandomRatings(i, 1000));
    failure = result.status;
    if (failure.ok()) acknowledged = result.last_sequence;
  }
  EXPECT_EQ(failure.code(), absl::StatusCode::kUnavailable) << failure;
  EXPECT_FALSE(engine->Info().write_health.ok());
  EXPECT_EQ(engine->Info().sequence, acknowledged);
  EXPECT_TRUE(engine->Recommend({.user_id = "u1"}).ok());
  // Room again: still no writes, since nobody knows what the disk holds.
  ASSERT_TRUE(tmpfs.Remount(0, "size=64m"));
  EXPECT_EQ(Record(*engine, {{"u", "i", 1}}).status.code(), absl::StatusCode::kUnavailable);
  const int failed_before = failed_snapshots;
  EXPECT_FALSE(engine->CreateSnapshot().ok());
  EXPECT_FALSE(engine->Close().ok());
  EXPECT_EQ(failed_snapshots, failed_before + 2);
  engine.reset();
  engine = OpenOrDie(options_);
  ASSERT_NE(engine, nullptr);
  EXPECT_GE(engine->Info().sequence, acknowledged);
  EXPECT_TRUE(Record(*engine, {{"u", "i", 1}}).status.ok());
  const int snapshots_before = snapshots;
  EXPECT_TRUE(engine->Close().ok());
  EXPECT_EQ(snapshots, snapshots_before + 1);
}

}  // namespace
}  // namespace factord
