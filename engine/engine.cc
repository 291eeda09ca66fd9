#include "engine/engine.h"

#include <atomic>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/kill_point.h"
#include "base/mutex.h"
#include "engine/further_passes.h"
#include "engine/ingest.h"
#include "engine/model_state.h"
#include "engine/pinned_views.h"
#include "engine/query.h"
#include "engine/recovery.h"
#include "engine/sequence_waiters.h"
#include "engine/snapshotter.h"

namespace factord {
namespace {

// Names every field in which the folder's configuration differs from the one asked for.
absl::Status CompareConfig(const ModelConfig& folder, const ModelConfig& asked,
                           const std::string& path) {
  const ConfigFields have = ToFields(folder), want = ToFields(asked);
  std::vector<std::string> differences;
  for (const auto& [name, value] : have) {
    if (want.at(name) != value) {
      differences.push_back(absl::StrCat(name, " is ", value, ", not ", want.at(name)));
    }
  }
  if (differences.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the model in ", path,
                   " was created with another configuration: ", absl::StrJoin(differences, "; ")));
}

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const EngineOptions& options) {
  if (!Store::Exists(options.data_dir)) {
    if (!options.create_if_missing) {
      return absl::NotFoundError(absl::StrCat("no model in ", options.data_dir));
    }
    FACTORD_RETURN_IF_ERROR(options.config.Validate());
    FACTORD_RETURN_IF_ERROR(Store::Create(options.data_dir, ToFields(options.config)));
  }
  FACTORD_ASSIGN_OR_RETURN(
      auto store, Store::Open({.path = options.data_dir,
                               .durability = options.durability,
                               .snapshot_bytes_per_second = options.snapshot_bytes_per_second}));
  return store;
}

class EngineImpl : public Engine {
 public:
  EngineImpl(const EngineOptions& options, const ModelConfig& config, std::unique_ptr<Store> store)
      : options_(options),
        store_(std::move(store)),
        state_(config),
        pinned_views_(options.max_pinned_views, options.pinned_view_ttl) {}

  ~EngineImpl() override { Close().IgnoreError(); }

  absl::Status Start() {
    RecoveryProgress* const progress = options_.recovery_progress.get();
    FACTORD_RETURN_IF_ERROR(Recover(*store_, state_, progress));
    KillPoint("recovery.checked");
    FACTORD_RETURN_IF_ERROR(store_->ClearEvidence());
    KillPoint("recovery.end");
    CopyStatistics();
    ingest_.emplace(Ingest::Options{.max_queued_events = options_.max_queued_events,
                                    .max_queued_bytes = options_.max_queued_bytes,
                                    .max_group_events = options_.max_group_events,
                                    .min_free_bytes = options_.min_free_bytes,
                                    .limits = {.max_users = options_.max_users,
                                               .max_items = options_.max_items,
                                               .memory_limit = options_.memory_limit,
                                               .max_producers = options_.max_producers},
                                    .on_logged = [this](int64_t bytes) { OnLogged(bytes); },
                                    .on_published = [this] { CopyStatistics(); }},
                    store_.get(), &state_, &waiters_);
    snapshotter_.emplace(Snapshotter::Options{.interval = options_.snapshot_interval,
                                              .log_bytes = options_.snapshot_log_bytes,
                                              .log_retention = options_.log_retention,
                                              .on_snapshot = options_.on_snapshot},
                         store_.get(), &state_, &*ingest_);
    further_passes_.emplace(&state_, &*ingest_);
    started_.store(true, std::memory_order_release);
    if (progress != nullptr) progress->Finish();
    return absl::OkStatus();
  }

  // --- Writes
  void Record(RecordRequest request) override { ingest_->Record(std::move(request)); }

  void LastProducerNumber(std::string producer_id,
                          std::function<void(absl::StatusOr<int64_t>)> done) override {
    ingest_->LastProducerNumber(std::move(producer_id), std::move(done));
  }

  // --- Reads
  int64_t visible_sequence() const override { return state_.visible_sequence(); }

  void WhenVisible(int64_t sequence, std::chrono::steady_clock::time_point deadline,
                   std::function<void(absl::Status)> done) override {
    if (sequence <= visible_sequence()) {
      done(absl::OkStatus());
      return;
    }
    const int64_t assigned = ingest_->assigned_sequence();
    if (sequence > assigned) {
      done(absl::OutOfRangeError(absl::StrCat("min_sequence: ", sequence,
                                              " was never assigned (the last is ", assigned, ")")));
      return;
    }
    waiters_.Add(sequence, deadline, std::move(done));
  }

  absl::StatusOr<Recommendation> Recommend(const RecommendQuery& query) const override {
    if (query.view_token.empty()) return RecommendItems(state_, state_.items().Pin(), query);
    FACTORD_ASSIGN_OR_RETURN(const auto view, pinned_views_.Get(query.view_token));
    return RecommendItems(state_, *view, query);
  }

  absl::StatusOr<Predictions> Predict(absl::Span<const UserItem> pairs,
                                      bool strict) const override {
    return PredictRatings(state_, pairs, strict);
  }

  ModelInfo Info() const override {
    ModelInfo info;
    info.config = state_.config();
    // Of the newest view, so that no read has shown more. visible_sequence() follows it.
    info.sequence = state_.items().Pin().sequence();
    {
      MutexLock lock(&statistics_mu_);
      info.passive_updates = static_cast<int64_t>(statistics_.passive_updates);
      info.clipped_updates = static_cast<int64_t>(statistics_.clipped_updates);
      PrequentialError& error = info.prequential_error;
      error.events = static_cast<int64_t>(statistics_.events);
      if (error.events > 0) {
        const auto n = static_cast<double>(error.events);
        error.mae = statistics_.absolute_error_sum / n;
        error.rmse = std::sqrt(statistics_.squared_error_sum / n);
        error.fading_mae = statistics_.fading_absolute_error / statistics_.fading_weight;
        error.fading_rmse = std::sqrt(statistics_.fading_squared_error / statistics_.fading_weight);
      }
    }
    info.log_start_sequence = store_->log()->range().first;
    info.snapshot_sequence = snapshotter_->snapshot_sequence();
    info.users = state_.user_ids().size();
    info.items = state_.item_ids().size();
    info.duplicates = ingest_->duplicates();
    info.write_health = ingest_->write_health();
    return info;
  }

  EngineMetrics Metrics() const override {
    EngineMetrics metrics;
    ingest_->AddMetrics(&metrics);
    snapshotter_->AddMetrics(&metrics);
    LogMetrics log = store_->log()->metrics();
    metrics.log_append_seconds = std::move(log.append_seconds);
    metrics.log_sync_seconds = std::move(log.sync_seconds);
    metrics.log_bytes = log.bytes;
    const LogRange range = store_->log()->range();
    metrics.log_events = range.last - range.first + 1;
    metrics.producers = state_.producers();
    metrics.dedupe_entries = state_.dedupe_entries();
    metrics.dedupe_evictions = state_.dedupe_evictions();
    metrics.memory = state_.memory();
    metrics.memory.store = store_->MemoryBytes();
    metrics.disk_free_bytes = store_->FreeBytes().value_or(0);
    return metrics;
  }

  FactorHealth MeasureFactors() const override { return ::factord::MeasureFactors(state_); }

  Topics ListTopics(int32_t items_per_topic, int64_t min_ratings) const override {
    return FindTopics(state_, items_per_topic, min_ratings);
  }

  absl::StatusOr<std::string> PinItems() override {
    return pinned_views_.Add(state_.items().Pin());
  }

  absl::StatusOr<FactorPage> ItemFactors(absl::string_view view_token, int64_t first,
                                         int32_t limit) const override {
    FACTORD_ASSIGN_OR_RETURN(const auto view, pinned_views_.Get(view_token));
    return ReadItemFactors(state_, *view, first, limit);
  }

  FactorPage UserFactors(int64_t first, int32_t limit) const override {
    return ReadUserFactors(state_, first, limit);
  }

  void ReleaseExpiredViews() override { pinned_views_.Expire(); }

  // --- Further passes
  absl::Status StartPasses(int32_t passes) override { return further_passes_->Start(passes); }
  void StopPasses() override { further_passes_->Stop(); }
  PassesProgress Passes() const override { return further_passes_->progress(); }

  // --- Operations
  absl::StatusOr<SnapshotInfo> CreateSnapshot() override { return snapshotter_->Snapshot(); }

  absl::StatusOr<StateHash> ComputeHash() override {
    StateHash result;
    FACTORD_RETURN_IF_ERROR(ingest_->RunOnWriter([&] {
      result.sequence = state_.sequence();
      result.hash = state_.ComputeHash();
    }));
    return result;
  }

  absl::StatusOr<BackupInfo> Backup(const std::string& name) override {
    if (options_.backup_dir.empty()) {
      return absl::FailedPreconditionError("the server was started without --backup_dir");
    }
    return snapshotter_->Backup((std::filesystem::path(options_.backup_dir) / name).string());
  }

  absl::Status Close() override {
    if (closed_.exchange(true)) return absl::OkStatus();
    if (!further_passes_.has_value()) return absl::OkStatus();  // Start failed
    store_->LiftSnapshotLimit();  // nobody's writes are held up any more
    further_passes_->Stop();
    snapshotter_->Stop();
    absl::Status status;
    if (state_.visible_sequence() > snapshotter_->snapshot_sequence()) {
      status = snapshotter_->Snapshot().status();
    }
    ingest_->Stop();
    if (!status.ok()) return status;
    // A write may have come between the snapshot and here; the log holds it and the hash counts it.
    return store_->CloseClean({state_.sequence(), state_.RunningHash()});
  }

 private:
  void OnLogged(int64_t bytes) {
    // The first groups may come before the snapshotter is there.
    if (started_.load(std::memory_order_acquire)) snapshotter_->OnLogged(bytes);
  }

  void CopyStatistics() {
    MutexLock lock(&statistics_mu_);
    statistics_ = state_.statistics();
  }

  const EngineOptions options_;
  const std::unique_ptr<Store> store_;
  ModelState state_;
  mutable PinnedViews pinned_views_;
  SequenceWaiters waiters_;
  mutable Mutex statistics_mu_;
  ModelStatistics statistics_ ABSL_GUARDED_BY(statistics_mu_);
  std::atomic<bool> started_{false};
  std::atomic<bool> closed_{false};
  std::optional<Ingest> ingest_;
  std::optional<Snapshotter> snapshotter_;
  std::optional<FurtherPasses> further_passes_;
};

absl::StatusOr<std::unique_ptr<Engine>> OpenOnce(const EngineOptions& options) {
  FACTORD_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenStore(options));
  FACTORD_ASSIGN_OR_RETURN(const ModelConfig config, FromFields(store->config()));
  FACTORD_RETURN_IF_ERROR(CompareConfig(config, options.config, options.data_dir));
  auto engine = std::make_unique<EngineImpl>(options, config, std::move(store));
  FACTORD_RETURN_IF_ERROR(engine->Start());
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace

absl::Status EngineOptions::Validate() const {
  std::vector<std::string> errors;
  const auto require = [&errors](bool good, absl::string_view what) {
    if (!good) errors.emplace_back(what);
  };
  require(!data_dir.empty(), "data_dir: must be set");
  require(snapshot_interval.count() >= 0, "snapshot_interval: must be at least 0");
  require(snapshot_log_bytes >= 0, "snapshot_log_bytes: must be at least 0");
  require(snapshot_bytes_per_second >= 0, "snapshot_bytes_per_second: must be at least 0");
  require(min_free_bytes >= 0, "min_free_bytes: must be at least 0");
  require(max_queued_events > 0, "max_queued_events: must be at least 1");
  require(max_queued_bytes > 0, "max_queued_bytes: must be at least 1");
  const auto is_row_limit = [](int64_t limit) {
    return limit >= 0 && limit <= UserTable::kMaxRows;
  };
  const std::string row_limit = absl::StrCat(": must be 0 to ", UserTable::kMaxRows);
  require(is_row_limit(max_users), absl::StrCat("max_users", row_limit));
  require(is_row_limit(max_items), absl::StrCat("max_items", row_limit));
  require(memory_limit >= 0, "memory_limit: must be at least 0");
  require(max_producers >= 0, "max_producers: must be at least 0");
  require(max_group_events > 0, "max_group_events: must be at least 1");
  // Each takes one of the slots that readers of items have, 256 in all.
  require(max_pinned_views > 0 && max_pinned_views <= 128, "max_pinned_views: must be 1 to 128");
  require(pinned_view_ttl.count() > 0, "pinned_view_ttl: must be above 0");
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(errors, "; "));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options) {
  FACTORD_RETURN_IF_ERROR(options.Validate());
  auto engine = OpenOnce(options);
  // Rows may be missing since a read failed in passing (Store::NameDamage says why that is not
  // always told): then they are there the next time.
  if (absl::IsDataLoss(engine.status())) engine = OpenOnce(options);
  return engine;
}

}  // namespace factord
