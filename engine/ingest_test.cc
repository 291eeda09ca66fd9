// The writer and its queue, with control over which requests share a group.
#include "engine/ingest.h"

#include <deque>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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
  void Hold(const OwnedRating& rating = {"first", "first", 1}) {
    {
      MutexLock lock(&mu_);
      holding_ = true;
      is_held_ = false;
    }
    Send({rating});
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
    return Send(ratings, allow_partial).get();
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
                           .max_group_events = 1000,
                           .min_free_bytes = 0,
                           .on_logged = nullptr,
                           .on_published = nullptr};
  std::unique_ptr<Store> store_;
  std::unique_ptr<ModelState> state_;
  std::unique_ptr<Ingest> ingest_;

 private:
  void OnPublished() {
    MutexLock lock(&mu_);
    is_held_ = holding_;
    changed_.NotifyAll();
    while (holding_) changed_.Wait(&mu_);
  }

  TempDir dir_;
  SequenceWaiters waiters_;
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
  Release();
  EXPECT_TRUE(two.get().status.ok());
  EXPECT_EQ(MetricsAtRest().refusals.queue, 1);
  // Larger than the whole queue, but alone.
  EXPECT_TRUE(
      SendAndWait({{"u", "a", 1}, {"u", "b", 1}, {"u", "c", 1}, {"u", "d", 1}}).status.ok());
}

}  // namespace
}  // namespace factord
