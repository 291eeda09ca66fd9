// For tests of the server: an engine whose answers the test decides, and a real server around it on
// a port of its own.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "factord/v1/admin_service.grpc.pb.h"
#include "factord/v1/model_service.grpc.pb.h"
#include "factord/v1/rating_service.grpc.pb.h"
#include "factord/v1/recommendation_service.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/server.h"
#include "server/test_channel.h"

namespace factord {

// A test that waits longer than this for anything has failed.
inline constexpr std::chrono::seconds kPatience(20);

// An engine that applies every event at once, unless told to hold requests back. Thread-safe.
class FakeEngine : public Engine {
 public:
  ~FakeEngine() override {
    for (std::thread& thread : waiting_) thread.join();
  }

  // --- What the test says ----------------------------------------------------------------------
  // Requests wait for Complete instead of being applied.
  void HoldRequests() {
    std::lock_guard lock(mu_);
    holding_ = true;
  }
  // Waits until `n` requests have come since the start.
  void WaitForRequests(size_t n) {
    Wait([&] { return requests_.size() >= n; }, "requests");
  }
  // Waits until `n` producers' numbers were asked for since the start.
  void WaitForProducerQueries(size_t n) {
    Wait([&] { return producer_queries_ >= n; }, "producer queries");
  }
  // Settles request `i` (from 0): all its events are applied, or `status`.
  void Complete(size_t i, const absl::Status& status = absl::OkStatus()) {
    RecordRequest request;
    RecordResult result;
    {
      std::lock_guard lock(mu_);
      request = requests_.at(i);
      result = status.ok() ? Apply(request) : RecordResult{status, 0, {}};
    }
    request.done(std::move(result));
  }
  void Complete(size_t i, RecordResult result) {
    std::function<void(RecordResult)> done;
    {
      std::lock_guard lock(mu_);
      done = requests_.at(i).done;
    }
    done(std::move(result));
  }
  size_t requests() const {
    std::lock_guard lock(mu_);
    return requests_.size();
  }
  // Events of request `i`. Their strings live until it is completed.
  std::vector<Event> events(size_t i) const {
    std::lock_guard lock(mu_);
    return requests_.at(i).events;
  }
  // What request `i` shares with the others of its series.
  std::shared_ptr<bool> series(size_t i) const {
    std::lock_guard lock(mu_);
    return requests_.at(i).refused_before;
  }
  // Every later request is refused with it on the caller's thread.
  void Refuse(const absl::Status& status) {
    std::lock_guard lock(mu_);
    refusal_ = status;
  }
  void SetLastNumber(const std::string& producer_id, int64_t number) {
    std::lock_guard lock(mu_);
    last_numbers_[producer_id] = number;
  }
  void SetVisible(int64_t sequence) {
    {
      std::lock_guard lock(mu_);
      sequence_ = sequence;
    }
    changed_.notify_all();
  }
  // min_sequence up to this one is waited for.
  void SetAssigned(int64_t sequence) {
    std::lock_guard lock(mu_);
    assigned_ = sequence;
  }
  void SetWriteHealth(const absl::Status& status) {
    std::lock_guard lock(mu_);
    info_.write_health = status;
  }

  // Called for a read or an operation, where set; otherwise there is an empty answer.
  std::function<absl::StatusOr<Recommendation>(const RecommendQuery&)> on_recommend;
  std::function<absl::StatusOr<Predictions>(absl::Span<const UserItem>, bool strict)> on_predict;
  std::function<absl::StatusOr<FactorPage>(absl::string_view, int64_t, int32_t)> on_item_factors;
  std::function<FactorPage(int64_t, int32_t)> on_user_factors;
  std::function<Topics(int32_t, int64_t)> on_topics;
  std::function<EngineMetrics()> on_metrics;
  std::function<absl::StatusOr<SnapshotInfo>()> on_snapshot;
  std::function<absl::Status()> on_close;

  // --- Engine ----------------------------------------------------------------------------------
  void Record(RecordRequest request) override {
    RecordResult result;
    {
      std::lock_guard lock(mu_);
      requests_.push_back(request);
      if (!refusal_.ok()) {
        result.status = refusal_;
      } else if (holding_) {
        changed_.notify_all();
        return;
      } else {
        result = Apply(request);
      }
    }
    changed_.notify_all();
    request.done(std::move(result));
  }

  void LastProducerNumber(std::string producer_id,
                          std::function<void(absl::StatusOr<int64_t>)> done) override {
    int64_t number = 0;
    {
      std::lock_guard lock(mu_);
      ++producer_queries_;
      number = last_numbers_[producer_id];
    }
    changed_.notify_all();
    done(number);
  }

  int64_t visible_sequence() const override {
    std::lock_guard lock(mu_);
    return sequence_;
  }

  void WhenVisible(int64_t sequence, std::chrono::steady_clock::time_point deadline,
                   std::function<void(absl::Status)> done) override {
    std::lock_guard lock(mu_);
    if (sequence > std::max(assigned_, sequence_)) {
      waiting_.emplace_back([done] { done(absl::OutOfRangeError("min_sequence")); });
      return;
    }
    waiting_.emplace_back([this, sequence, deadline, done] {
      bool visible = false;
      {
        std::unique_lock wait_lock(mu_);
        visible = changed_.wait_until(wait_lock, deadline, [&] { return sequence_ >= sequence; });
      }
      done(visible ? absl::OkStatus() : absl::UnavailableError("min_sequence: not yet visible"));
    });
  }

  absl::StatusOr<Recommendation> Recommend(const RecommendQuery& query) const override {
    if (on_recommend) return on_recommend(query);
    Recommendation empty;
    empty.sequence = visible_sequence();
    return empty;
  }
  absl::StatusOr<Predictions> Predict(absl::Span<const UserItem> pairs,
                                      bool strict) const override {
    if (on_predict) return on_predict(pairs, strict);
    return Predictions{std::vector<PredictedRating>(pairs.size()), visible_sequence()};
  }
  ModelInfo Info() const override {
    std::lock_guard lock(mu_);
    ModelInfo info = info_;
    info.sequence = sequence_;
    return info;
  }
  EngineMetrics Metrics() const override { return on_metrics ? on_metrics() : EngineMetrics(); }
  FactorHealth MeasureFactors() const override { return {}; }
  Topics ListTopics(int32_t items_per_topic, int64_t min_ratings) const override {
    return on_topics ? on_topics(items_per_topic, min_ratings) : Topics();
  }
  absl::StatusOr<std::string> PinItems() override { return std::string("view-1"); }
  absl::StatusOr<FactorPage> ItemFactors(absl::string_view view_token, int64_t first,
                                         int32_t limit) const override {
    if (on_item_factors) return on_item_factors(view_token, first, limit);
    return FactorPage{{}, true, 0};
  }
  void ReleaseExpiredViews() override {}
  FactorPage UserFactors(int64_t first, int32_t limit) const override {
    return on_user_factors ? on_user_factors(first, limit) : FactorPage{{}, true, 0};
  }
  absl::Status StartPasses(int32_t passes) override {
    passes_.passes = passes;
    return absl::OkStatus();
  }
  void StopPasses() override { passes_.state = PassesProgress::State::kStopped; }
  PassesProgress Passes() const override { return passes_; }
  absl::StatusOr<SnapshotInfo> CreateSnapshot() override {
    return on_snapshot ? on_snapshot() : SnapshotInfo();
  }
  absl::StatusOr<StateHash> ComputeHash() override { return StateHash{7, {1, 2}}; }
  absl::StatusOr<BackupInfo> Backup(const std::string& name) override {
    return BackupInfo{"/backups/" + name, 7, {1, 2}};
  }
  absl::Status Close() override { return on_close ? on_close() : absl::OkStatus(); }

 private:
  RecordResult Apply(const RecordRequest& request) {
    RecordResult result;
    for (size_t i = 0; i < request.events.size(); ++i) {
      result.events.push_back({EventResult::Outcome::kApplied, ++sequence_});
    }
    result.last_sequence = sequence_;
    return result;
  }

  void Wait(const std::function<bool()>& condition, const char* what) {
    std::unique_lock lock(mu_);
    ASSERT_TRUE(changed_.wait_for(lock, kPatience, condition)) << "waited in vain for " << what;
  }

  mutable std::mutex mu_;
  mutable std::condition_variable changed_;
  bool holding_ = false;
  PassesProgress passes_;
  absl::Status refusal_;
  std::vector<RecordRequest> requests_;
  size_t producer_queries_ = 0;
  std::map<std::string, int64_t> last_numbers_;
  int64_t sequence_ = 0;
  int64_t assigned_ = 0;
  ModelInfo info_;
  std::vector<std::thread> waiting_;
};

// A server with a FakeEngine, and a connection to it.
class TestServer {
 public:
  // `prepare` changes the options before the start.
  explicit TestServer(const std::function<void(ServerOptions*)>& prepare = nullptr) {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.limits.max_events_per_request = 10;
    options.stream_window_events = 20;
    auto engine = std::make_unique<FakeEngine>();
    engine_ = engine.get();
    options.open_engine = [&holder = unopened_]() -> absl::StatusOr<std::unique_ptr<Engine>> {
      return std::move(holder);
    };
    unopened_ = std::move(engine);
    if (prepare) prepare(&options);
    auto server = Server::Start(options);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    run_ = std::thread([this] { exit_code_ = server_->Run(); });
    channel_ = LazyTestChannel(server_->port());
  }

  ~TestServer() {
    if (run_.joinable()) Stop();
  }

  // Asks the server to stop, and waits until it has.
  ExitCode Stop() {
    server_->Stop();
    return Join();
  }
  ExitCode Join() {
    run_.join();
    return exit_code_;
  }

  // A connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() const {
    auto channel = LazyTestChannel(server_->port());
    WaitForConnection(*channel, kPatience);
    return channel;
  }

  // Waits until health says so of `service`.
  void WaitFor(const std::string& service,
               grpc::health::v1::HealthCheckResponse::ServingStatus status) const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    auto reader = grpc::health::v1::Health::NewStub(NewChannel())->Watch(&context, request);
    grpc::health::v1::HealthCheckResponse response;
    while (reader->Read(&response)) {
      if (response.status() == status) {
        context.TryCancel();
        while (reader->Read(&response)) {
        }
        (void)reader->Finish();
        return;
      }
    }
    FAIL() << "health of '" << service << "': " << reader->Finish().error_message();
  }
  void WaitUntilServing() const {
    WaitForConnection(*channel_, kPatience);
    WaitFor("factord.v1.RatingService", grpc::health::v1::HealthCheckResponse::SERVING);
  }

  // What /metrics would say now of a series ("name" or "name{label=\"value\",...}"); empty:
  // nothing.
  std::string Metric(const std::string& series) const {
    const std::string text =
        "\n" + prometheus::TextSerializer().Serialize(server_->metrics().Collect());
    const size_t found = text.find("\n" + series + " ");
    if (found == std::string::npos) return "";
    const size_t value = found + series.size() + 2;
    return text.substr(value, text.find('\n', value) - value);
  }
  // Waits until it does.
  void WaitForMetric(const std::string& series, const std::string& value) const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (Metric(series) != value) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline)
          << series << " is " << Metric(series) << ", not " << value;
      std::this_thread::yield();
    }
  }

  FakeEngine& engine() { return *engine_; }
  Server& server() { return *server_; }
  const Server& server() const { return *server_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  std::unique_ptr<v1::RatingService::Stub> ratings() const {
    return v1::RatingService::NewStub(channel_);
  }
  std::unique_ptr<v1::RecommendationService::Stub> recommendations() const {
    return v1::RecommendationService::NewStub(channel_);
  }
  std::unique_ptr<v1::ModelService::Stub> model() const {
    return v1::ModelService::NewStub(channel_);
  }
  std::unique_ptr<v1::AdminService::Stub> admin() const {
    return v1::AdminService::NewStub(channel_);
  }

 private:
  FakeEngine* engine_ = nullptr;
  std::unique_ptr<Engine> unopened_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::thread run_;
  ExitCode exit_code_ = kExitFailed;
};

inline void SetRating(const std::string& user, const std::string& item, float value,
                      v1::Rating* rating) {
  rating->set_user_id(user);
  rating->set_item_id(item);
  rating->set_rating(value);
}

}  // namespace factord
