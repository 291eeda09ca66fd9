#include "server/engine_metric_families.h"

namespace factord {
namespace {

double Number(int64_t value) { return static_cast<double>(value); }

void AddModel(const ModelInfo& info, MetricFamilies* metrics) {
  metrics->Gauge("factord_sequence", "Sequence of the newest visible event.",
                 Number(info.sequence));
  metrics->Gauge("factord_users", "Users of the model.", Number(info.users));
  metrics->Gauge("factord_items", "Items of the model.", Number(info.items));
  metrics->Counter("factord_passive_updates_total",
                   "Events, since the model was created, that changed no row.",
                   Number(info.passive_updates));
  metrics->Counter("factord_clipped_updates_total",
                   "Events, since the model was created, whose step was cut.",
                   Number(info.clipped_updates));
  const PrequentialError& error = info.prequential_error;
  metrics->Counter("factord_prequential_events_total",
                   "Events, since the model was created, that were predicted before they were "
                   "learned.",
                   Number(error.events));
  metrics->Gauge("factord_prequential_mae", "Mean absolute error of those predictions.", error.mae);
  metrics->Gauge("factord_prequential_rmse", "Root of the mean squared error.", error.rmse);
  metrics->Gauge("factord_prequential_fading_mae",
                 "Mean absolute error with fading weights (half-life some 7,000 events).",
                 error.fading_mae);
  metrics->Gauge("factord_prequential_fading_rmse",
                 "Root of the mean squared error with the same weights.", error.fading_rmse);
}

void AddFactors(const FactorHealth& factors, MetricFamilies* metrics) {
  metrics->Gauge(
      "factord_zero_factors_ratio", "Factors that are 0, of some thousand rows.",
      {{{{"side", "users"}}, factors.user_zeros}, {{{"side", "items"}}, factors.item_zeros}});
  metrics->Gauge("factord_dead_rows_ratio", "Rows without another factor, of some thousand rows.",
                 {{{{"side", "users"}}, factors.dead_user_rows},
                  {{{"side", "items"}}, factors.dead_item_rows}});
  metrics->Gauge("factord_dead_coordinates",
                 "Coordinates that are 0 in all of those rows of a side.",
                 Number(factors.dead_coordinates));
}

void AddIngest(const EngineMetrics& engine, MetricFamilies* metrics) {
  metrics->Gauge("factord_queue_events", "Events that wait for the writer.",
                 Number(engine.queue_events));
  metrics->Gauge("factord_queue_bytes", "Their bytes.", Number(engine.queue_bytes));
  metrics->Histogram("factord_commit_group_events",
                     "Events that became durable and visible together.", engine.group_events);
  metrics->Histogram("factord_log_append_duration_seconds",
                     "One append to the log, in sync mode with its fsync.",
                     engine.log_append_seconds);
  metrics->Histogram("factord_log_sync_duration_seconds", "One fsync of the log.",
                     engine.log_sync_seconds);
  metrics->Gauge("factord_log_events", "Events in the log.", Number(engine.log_events));
  metrics->Gauge("factord_log_bytes", "The log on disk.", Number(engine.log_bytes));
}

void AddSnapshots(const ModelInfo& info, const EngineMetrics& engine, MetricFamilies* metrics) {
  metrics->Gauge("factord_snapshot_sequence", "Sequence of the last committed snapshot; 0: none.",
                 Number(info.snapshot_sequence));
  metrics->Gauge("factord_snapshot_timestamp_seconds",
                 "When it was committed, in seconds since 1970; 0: none.",
                 Number(engine.snapshot_unix_seconds));
  metrics->Gauge("factord_snapshot_running", "1 while a snapshot is written.",
                 engine.snapshot_running ? 1 : 0);
  metrics->Histogram("factord_snapshot_duration_seconds", "One snapshot that was committed.",
                     engine.snapshot_seconds);
  metrics->Counter("factord_snapshot_failures_total", "Snapshots that could not be committed.",
                   Number(engine.snapshot_failures));
}

void AddMemory(const EngineMetrics& engine, MetricFamilies* metrics) {
  const MemoryUsage& memory = engine.memory;
  std::vector<MetricFamilies::Labelled<double>> parts;
  const auto add = [&](const char* part, int64_t bytes) {
    parts.push_back({{{"part", part}}, Number(bytes)});
  };
  add("users", memory.users);
  add("histories", memory.histories);
  add("user_ids", memory.user_ids);
  add("items", memory.items);
  add("item_ids", memory.item_ids);
  add("dedupe", memory.dedupe);
  add("store", memory.store);
  metrics->Gauge("factord_memory_bytes", "Memory of the model's state, by part.", parts);
  metrics->Gauge("factord_producers", "Producers whose numbers are remembered.",
                 Number(engine.producers));
  metrics->Gauge("factord_dedupe_entries", "Event ids that are remembered.",
                 Number(engine.dedupe_entries));
  metrics->Counter("factord_dedupe_evictions_total", "Event ids forgotten: the window went on.",
                   Number(engine.dedupe_evictions));
  metrics->Gauge("factord_disk_free_bytes", "Free space where the data folder is.",
                 Number(engine.disk_free_bytes));
}

void AddEvents(const EngineMetrics& engine, const CallMetrics& calls, MetricFamilies* metrics) {
  metrics->Counter("factord_events_total", "Events since the start, by what became of them.",
                   {{{{"outcome", "applied"}}, Number(engine.applied)},
                    {{{"outcome", "duplicate"}}, Number(engine.duplicates)},
                    {{{"outcome", "conflict"}}, Number(engine.conflicts)},
                    {{{"outcome", "rejected"}}, Number(calls.rejected_events())}});
}

}  // namespace

void AddLimits(const EngineLimits& limits, MetricFamilies* metrics) {
  metrics->Gauge("factord_queue_limit_events", "--max_queued_events.",
                 Number(limits.queued_events));
  metrics->Gauge("factord_queue_limit_bytes", "--max_queued_bytes.", Number(limits.queued_bytes));
  metrics->Gauge("factord_users_limit", "--max_users; 0: none.", Number(limits.users));
  metrics->Gauge("factord_items_limit", "--max_items; 0: none.", Number(limits.items));
  metrics->Gauge("factord_memory_limit_bytes", "--memory_limit; 0: none.",
                 Number(limits.memory_limit));
  metrics->Gauge("factord_disk_min_free_bytes", "--min_free_bytes.", Number(limits.min_free_bytes));
}

void AddEngine(const ModelInfo& info, const FactorHealth& factors, const EngineMetrics& engine,
               const CallMetrics& calls, MetricFamilies* metrics) {
  AddModel(info, metrics);
  AddFactors(factors, metrics);
  AddEvents(engine, calls, metrics);
  AddIngest(engine, metrics);
  AddSnapshots(info, engine, metrics);
  AddMemory(engine, metrics);
}

}  // namespace factord
