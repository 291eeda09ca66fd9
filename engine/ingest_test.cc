// The writer and its queue, with control over which requests share a group.
#include "engine/ingest.h"

#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/temp_folder.h"
#include "engine/test_util.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using Outcome = EventResult::Outcome;

class IngestTest : public ::testing::Test {
 protected:
  void Start() {
    config_.rank = 8;
    ASSERT_TRUE(Store::Create(dir_ / "data", ToFields(config_)).ok());
    auto store = Store::Open({.path = dir_ / "data"});
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    state_ = std::make_unique<ModelState>(config_);
    options_.on_logged = [](int64_t) {};
    options_.on_published = [this] { OnPublished(); };
    ingest_ = std::make_unique<Ingest>(options_, store_.get(), state_.get(), &waiters_);
  }
  void TearDown() override {
    Release();
    if (ingest_ != nullptr) ingest_->Stop();
  }

  // Stops the writer in the middle of a group: what is sent from here on waits, and becomes the
  // next group.
  void Hold(const std::vector<OwnedRating>& ratings = {{"first", "first", 1}}) {
    {
      MutexLock lock(&mu_);
      holding_ = true;
      is_held_ = false;
    }
    Send(ratings);
    MutexLock lock(&mu_);
    while (!is_held_) changed_.Wait(&mu_);
  }
  void Release() {
    {
      MutexLock lock(&mu_);
      holding_ = false;
    }
    changed_.NotifyAll();
  }

  // Results come in the order of sending.
  std::future<RecordResult> Send(const std::vector<OwnedRating>& ratings,
                                 bool allow_partial = false) {
    const std::vector<OwnedRating>& kept = sent_.emplace_back(ratings);
    RecordRequest request;
    for (const OwnedRating& rating : kept) request.events.push_back(ToEvent(rating));
    request.allow_partial = allow_partial;
    auto promise = std::make_shared<std::promise<RecordResult>>();
    request.done = [promise](RecordResult result) { promise->set_value(std::move(result)); };
    ingest_->Record(std::move(request));
    return promise->get_future();
  }
  RecordResult SendAndWait(const std::vector<OwnedRating>& ratings, bool allow_partial = false) {
    std::future<RecordResult> result = Send(ratings, allow_partial);
    if (result.wait_for(std::chrono::seconds(30)) != std::future_status::ready) {
      ADD_FAILURE() << "waited in vain for an answer";
      Release();
    }
    return result.get();
  }

  EngineMetrics Metrics() const {
    EngineMetrics metrics;
    ingest_->AddMetrics(&metrics);
    return metrics;
  }
  // With everything settled and out of the queue.
  EngineMetrics MetricsAtRest() {
    EXPECT_TRUE(ingest_->RunOnWriter([] {}).ok());
    return Metrics();
  }

  ModelConfig config_;
  Ingest::Options options_{.max_queued_events = 1000,
                           .max_queued_bytes = 1 << 20,
                           .max_group_events = 1000,
                           .min_free_bytes = 0,
                           .limits = {},
                           .on_logged = nullptr,
                           .on_published = nullptr};
  std::unique_ptr<Store> store_;
  std::unique_ptr<ModelState> state_;
  SequenceWaiters waiters_;
  std::unique_ptr<Ingest> ingest_;

 private:
  void OnPublished() {
    MutexLock lock(&mu_);
    is_held_ = holding_;
    changed_.NotifyAll();
    while (holding_) changed_.Wait(&mu_);
  }

  TempFolder dir_;
  std::deque<std::vector<OwnedRating>> sent_;  // the strings of events
  Mutex mu_;
  CondVar changed_;
  bool holding_ ABSL_GUARDED_BY(mu_) = false;
  bool is_held_ ABSL_GUARDED_BY(mu_) = false;
};

TEST_F(IngestTest, TheQueueCountsWhatIsNotSettled) {
  Start();
  Hold();
  EXPECT_EQ(Metrics().queue_events, 1);
  const int64_t first_bytes = Metrics().queue_bytes;
  EXPECT_GT(first_bytes, 10);
  auto short_ids = Send({{"u", "i", 1}});
  const int64_t one = Metrics().queue_bytes - first_bytes;
  const std::string long_id(200, 'x');
  auto long_ids = Send({{long_id, long_id, 1, long_id, long_id, 1}, {"u", "i", 1}});
  EXPECT_EQ(Metrics().queue_events, 4);
  EXPECT_EQ(Metrics().queue_bytes, first_bytes + 3 * one + 4 * 200 - 2);
  Release();
  EXPECT_TRUE(short_ids.get().status.ok());
  EXPECT_TRUE(long_ids.get().status.ok());
  const EngineMetrics metrics = MetricsAtRest();
  EXPECT_EQ(metrics.queue_events, 0);
  EXPECT_EQ(metrics.queue_bytes, 0);
  EXPECT_EQ(metrics.applied, 4);
  EXPECT_EQ(metrics.group_events.count, 2);
  EXPECT_THAT(metrics.group_events.counts, testing::ElementsAre(1, 1, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(IngestTest, AFullQueueRefusesAndTakesAgainLater) {
  options_.max_queued_events = 3;
  Start();
  Hold();
  auto two = Send({{"u", "i", 1}, {"u", "j", 1}});
  const RecordResult refused = SendAndWait({{"u", "k", 1}});
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("--max_queued_events"));
  EXPECT_TRUE(RetryAfterOf(refused.status).has_value());
  Release();
  EXPECT_TRUE(two.get().status.ok());
  EXPECT_EQ(MetricsAtRest().refusals.queue, 1);
  // Larger than the whole queue, but alone.
  EXPECT_TRUE(
      SendAndWait({{"u", "a", 1}, {"u", "b", 1}, {"u", "c", 1}, {"u", "d", 1}}).status.ok());
}

// It was refused at times: what the first had taken of the queue was given back after its answer.
TEST_F(IngestTest, WhoHasAnAnswerMaySendTheNextToAFullQueue) {
  options_.max_queued_events = 1;
  Start();
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(SendAndWait({{"u", "i", 1}, {"u", "j", 1}}).status.ok()) << i;
  }
}

TEST_F(IngestTest, AQueueOfTooManyBytesRefusesAndTakesAgainLater) {
  options_.max_queued_bytes = 2000;
  Start();
  Hold();
  const std::string long_id(256, 'x');
  auto long_ids = Send({{long_id, long_id, 1, long_id}});
  const RecordResult refused = SendAndWait({{long_id, long_id, 1, long_id}});
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("--max_queued_bytes"));
  auto short_ids = Send({{"u", "i", 1}});  // this one still fits
  Release();
  EXPECT_TRUE(long_ids.get().status.ok());
  EXPECT_TRUE(short_ids.get().status.ok());
  EXPECT_EQ(MetricsAtRest().refusals.queue, 1);
  // Larger than the whole queue, but alone.
  EXPECT_TRUE(SendAndWait(std::vector<OwnedRating>(10, {"u", "i", 1})).status.ok());
}

TEST_F(IngestTest, ATaskPassesAFullQueue) {
  options_.max_queued_events = 1;
  Start();
  Hold({{"u", "i", 1}, {"u", "j", 1}});
  EXPECT_EQ(SendAndWait({{"u", "i", 1}}).status.code(), absl::StatusCode::kResourceExhausted);
  auto task = std::async(std::launch::async, [&] { return ingest_->RunOnWriter([] {}); });
  Release();
  EXPECT_TRUE(task.get().ok());
}

// --- Limits of the state
// ---------------------------------------------------------------------------------------

void ExpectRefused(const RecordResult& result, const std::string& message) {
  EXPECT_EQ(result.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(result.status.message(), message);
  EXPECT_EQ(RetryAfterOf(result.status), std::nullopt);  // it stays so
  EXPECT_TRUE(result.events.empty());
}

TEST_F(IngestTest, NewUsersBeyondTheLimitAreRefusedAndKnownOnesGoOn) {
  options_.limits.max_users = 3;
  Start();
  Hold();
  auto within = Send({{"u1", "i", 1}, {"u2", "i", 1}});
  auto whole = Send({{"u1", "x", 1, "id", "p", 1}, {"u3", "x", 1}});
  auto partial = Send({{"u1", "y", 1, "id", "p", 1}, {"u3", "z", 1}, {"u2", "y", 1}}, true);
  Release();
  EXPECT_TRUE(within.get().status.ok());
  ExpectRefused(whole.get(), "events[1].user_id: would be user 4 of --max_users=3");
  const RecordResult result = partial.get();
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.events[0].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[0].sequence, 4);
  EXPECT_EQ(result.events[1].outcome, Outcome::kRefused);
  EXPECT_EQ(result.events[1].sequence, 0);
  EXPECT_EQ(result.events[1].reason, "user_id: would be user 4 of --max_users=3");
  EXPECT_EQ(result.events[2].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[2].sequence, 5);
  EXPECT_EQ(result.last_sequence, 5);
  const EngineMetrics metrics = MetricsAtRest();
  EXPECT_EQ(metrics.applied, 5);
  EXPECT_EQ(metrics.refusals.users, 2);
  EXPECT_EQ(state_->user_ids().size(), 3u);
  // Not x and not z, which came with what was refused.
  EXPECT_EQ(state_->item_ids().size(), 3u);
}

TEST_F(IngestTest, NewItemsBeyondTheLimitAreRefused) {
  options_.limits.max_items = 2;
  Start();
  Hold();
  auto within = Send({{"u", "i1", 1}, {"u", "i1", 2}});
  auto whole = Send({{"v", "i1", 1}, {"w", "i2", 1}});
  auto partial = Send({{"x", "i2", 1}, {"v", "i1", 1}}, true);
  Release();
  EXPECT_TRUE(within.get().status.ok());
  ExpectRefused(whole.get(), "events[1].item_id: would be item 3 of --max_items=2");
  const RecordResult result = partial.get();
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.events[0].outcome, Outcome::kRefused);
  EXPECT_EQ(result.events[0].reason, "item_id: would be item 3 of --max_items=2");
  EXPECT_EQ(result.events[1].outcome, Outcome::kApplied);
  EXPECT_EQ(MetricsAtRest().refusals.items, 2);
  EXPECT_EQ(state_->user_ids().size(), 3u);  // first, u, v
}

TEST_F(IngestTest, ARefusedRequestGivesItsUsersAndItemsBack) {
  options_.limits = {.max_users = 3, .max_items = 3};
  Start();
  Hold();
  auto refused = Send({{"u1", "i1", 1}, {"u2", "i2", 1}, {"u3", "i3", 1}});
  auto taken = Send({{"u4", "i4", 1}, {"u5", "i5", 1}});
  auto beyond = Send({{"u1", "first", 1}, {"first", "i1", 1}}, true);
  Release();
  ExpectRefused(refused.get(), "events[2].user_id: would be user 4 of --max_users=3");
  EXPECT_TRUE(taken.get().status.ok());
  const RecordResult result = beyond.get();
  EXPECT_EQ(result.events[0].outcome, Outcome::kRefused);
  EXPECT_EQ(result.events[1].outcome, Outcome::kRefused);
}

// The first request that can go beyond a limit does so by one.
TEST_F(IngestTest, ALimitOfUsersHoldsToTheOne) {
  options_.limits.max_users = 3;
  Start();
  ASSERT_TRUE(SendAndWait({{"u1", "i1", 1}}).status.ok());
  const RecordResult result =
      SendAndWait({{"u2", "i1", 1}, {"u3", "i1", 1}, {"u4", "i1", 1}}, true);
  EXPECT_EQ(result.events[1].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[2].outcome, Outcome::kRefused);
}

TEST_F(IngestTest, ALimitOfItemsHoldsToTheOne) {
  options_.limits.max_items = 3;
  Start();
  ASSERT_TRUE(SendAndWait({{"u1", "i1", 1}}).status.ok());
  const RecordResult result =
      SendAndWait({{"u1", "i2", 1}, {"u1", "i3", 1}, {"u1", "i4", 1}}, true);
  EXPECT_EQ(result.events[1].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[2].outcome, Outcome::kRefused);
}

// Ids are looked up only from the request on that could reach the limit: those before it count too.
TEST_F(IngestTest, WhatTheGroupTookBeforeCounts) {
  options_.limits.max_users = 4;
  Start();
  Hold();
  auto before = Send({{"u1", "i", 1}, {"u1", "i", 1}, {"u2", "i", 1}});
  auto after = Send({{"u3", "i", 1}, {"u1", "j", 1}, {"u4", "i", 1}, {"u3", "k", 1}}, true);
  Release();
  EXPECT_TRUE(before.get().status.ok());
  const RecordResult result = after.get();
  ASSERT_TRUE(result.status.ok());
  EXPECT_EQ(result.events[0].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[1].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[2].outcome, Outcome::kRefused);
  EXPECT_EQ(result.events[3].outcome, Outcome::kApplied);
}

TEST_F(IngestTest, WhatIsLoggedAlreadyIsADuplicateAlsoBeyondTheLimits) {
  Start();
  ASSERT_TRUE(SendAndWait({{"u", "i", 1, "id"}, {"v", "i", 1, "", "p", 1}}).status.ok());
  ingest_->Stop();
  options_.limits = {.max_users = 1, .max_items = 1, .memory_limit = 1};
  ingest_ = std::make_unique<Ingest>(options_, store_.get(), state_.get(), &waiters_);
  const RecordResult result = SendAndWait({{"u", "i", 1, "id"},
                                           {"w", "i", 1, "", "p", 1},
                                           {"w", "i", 1, "id"},
                                           {"v", "i", 1},
                                           {"w", "i", 1}},
                                          true);
  ASSERT_TRUE(result.status.ok());
  EXPECT_EQ(result.events[0].outcome, Outcome::kDuplicate);
  EXPECT_EQ(result.events[1].outcome, Outcome::kDuplicate);
  EXPECT_EQ(result.events[2].outcome, Outcome::kConflict);
  EXPECT_EQ(result.events[3].outcome, Outcome::kApplied);
  EXPECT_EQ(result.events[4].outcome, Outcome::kRefused);
}

// What happens must not depend on how requests fall into groups: a model that takes one event after
// the other agrees.
TEST_F(IngestTest, LimitsAgreeWithANaiveModelWhateverTheGroups) {
  options_.limits = {.max_users = 60, .max_items = 70};
  Start();
  std::mt19937 random(5);
  std::set<std::string> users{"first"}, items{"first"};
  const auto fits = [&](const OwnedRating& rating) {
    return (users.contains(rating.user) || users.size() < 60) &&
           (items.contains(rating.item) || items.size() < 70);
  };
  for (int round = 0; round < 40; ++round) {
    Hold();
    std::vector<std::vector<OwnedRating>> sent;
    std::vector<std::future<RecordResult>> results;
    std::vector<bool> partial;
    for (int i = 0; i < 5; ++i) {
      sent.push_back(RandomRatings(random(), 1 + random() % 6, 120, 150));
      partial.push_back(random() % 2 == 0);
      results.push_back(Send(sent.back(), partial.back()));
    }
    Release();
    for (size_t i = 0; i < sent.size(); ++i) {
      const RecordResult result = results[i].get();
      const auto users_before = users, items_before = items;
      bool all = true;
      for (size_t e = 0; e < sent[i].size(); ++e) {
        const bool taken = fits(sent[i][e]);
        if (taken) users.insert(sent[i][e].user), items.insert(sent[i][e].item);
        all = all && taken;
        if (partial[i]) {
          ASSERT_TRUE(result.status.ok());
          ASSERT_EQ(result.events[e].outcome, taken ? Outcome::kApplied : Outcome::kRefused);
        }
      }
      if (partial[i]) continue;
      ASSERT_EQ(result.status.ok(), all) << result.status;
      if (!all) users = users_before, items = items_before;
    }
  }
  MetricsAtRest();
  EXPECT_EQ(state_->user_ids().size(), 60u);
  EXPECT_EQ(state_->item_ids().size(), 70u);
}

class MemoryLimitTest : public IngestTest {
 protected:
  // A limit that leaves `room` above what a small state takes.
  void StartWithRoom(int64_t room) {
    Start();
    ASSERT_TRUE(SendAndWait({{"first", "first", 1}}).status.ok());
    ingest_->Stop();
    options_.limits.memory_limit = Memory() + room;
    ingest_ = std::make_unique<Ingest>(options_, store_.get(), state_.get(), &waiters_);
  }
  int64_t Memory() const { return state_->memory().total() + store_->MemoryBytes(); }
};

TEST_F(MemoryLimitTest, OneGroupStopsAtTheLimit) {
  constexpr int64_t kRoom = 4 << 20;
  options_.max_group_events = 100'000;
  options_.max_queued_events = 100'000;
  options_.max_queued_bytes = 100 << 20;
  StartWithRoom(kRoom);
  const int64_t before = state_->memory().total();
  std::vector<OwnedRating> ratings;
  for (int i = 0; i < 50'000; ++i) ratings.push_back({"u" + std::to_string(i), "first", 1});
  const RecordResult result = SendAndWait(ratings, true);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.events.front().outcome, Outcome::kApplied);
  EXPECT_EQ(result.events.back().outcome, Outcome::kRefused);
  EXPECT_THAT(result.events.back().reason,
              HasSubstr("user_id: is new, and would bring memory to "));
  EXPECT_THAT(result.events.back().reason,
              HasSubstr("of --memory_limit=" + std::to_string(options_.limits.memory_limit)));
  const EngineMetrics metrics = MetricsAtRest();
  const int64_t grown = state_->memory().total() - before;
  EXPECT_LE(grown, kRoom);
  EXPECT_GE(grown, kRoom / 2);
  EXPECT_GT(metrics.refusals.memory, 1000);
  EXPECT_EQ(metrics.applied + metrics.refusals.memory, 50'000);
}

TEST_F(MemoryLimitTest, ManyGroupsStopAtTheLimitAndKnownIdsGoOn) {
  constexpr int64_t kRoom = 4 << 20;
  StartWithRoom(kRoom);
  const int64_t before = state_->memory().total();
  bool refused = false;
  for (int batch = 0; batch < 500 && !refused; ++batch) {
    std::vector<OwnedRating> ratings;
    for (int i = 0; i < 500; ++i) {
      ratings.push_back({"first", "i" + std::to_string(batch * 500 + i), 1});
    }
    const RecordResult result = SendAndWait(ratings, true);
    ASSERT_TRUE(result.status.ok()) << result.status;
    refused = result.events.back().outcome == Outcome::kRefused;
  }
  EXPECT_TRUE(refused);
  const int64_t grown = state_->memory().total() - before;
  EXPECT_LE(grown, kRoom + (512 << 10));  // items' rows are taken in slabs
  EXPECT_GE(grown, kRoom / 4);            // the store grows as well
  // The store's memory comes in waves: there may be room for a few more.
  absl::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    status = SendAndWait({{"first", "new " + std::to_string(i), 1}}).status;
  }
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("events[0].item_id: is new, and would bring memory to "));
  EXPECT_TRUE(SendAndWait({{"first", "i7", 1}}).status.ok());
}

}  // namespace
}  // namespace factord
