#include "server/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iterator>

#include "absl/strings/match.h"
#include "model/kernels.h"
#include "server/engine_metric_families.h"
#include "server/listener.h"
#include "server/metric_families.h"

namespace factord {
namespace {

// --- The process, under the names that every Prometheus client uses

int64_t OpenFiles() {
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  int64_t files = -3;  // ".", ".." and the folder itself
  while (readdir(folder) != nullptr) ++files;
  closedir(folder);
  return files;
}

double ResidentBytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long long size = 0, resident = 0;
  const int read = std::fscanf(file, "%lld %lld", &size, &resident);
  std::fclose(file);
  return read == 2 ? static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

double CpuSeconds() {
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double StartTime() {
  static const double start =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return start;
}

void AddProcess(MetricFamilies* metrics) {
  metrics->Gauge("factord_build_info", "1; the labels tell version and arithmetic kernels.",
                 {{{{"version", FACTORD_VERSION}, {"kernel", ActiveKernels().name}}, 1}});
  metrics->Gauge("process_resident_memory_bytes", "Resident memory.", ResidentBytes());
  metrics->Counter("process_cpu_seconds_total", "User and system CPU time.", CpuSeconds());
  metrics->Gauge("process_open_fds", "Open file descriptors.", static_cast<double>(OpenFiles()));
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  metrics->Gauge("process_max_fds", "File descriptors at the most.",
                 static_cast<double>(limit.rlim_cur));
  metrics->Gauge("process_start_time_seconds", "When the process started, in seconds since 1970.",
                 StartTime());
}

// --- Calls and connections

constexpr const char* kCodeNames[CallMetrics::kCodes] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

void AddCalls(const CallGate& gate, MetricFamilies* metrics) {
  std::vector<MetricFamilies::Labelled<HistogramSnapshot>> durations;
  std::vector<MetricFamilies::Labelled<double>> in_flight;
  for (size_t i = 0; i < static_cast<size_t>(Rpc::kUnknown); ++i) {
    const auto rpc = static_cast<Rpc>(i);
    const RpcInfo& info = InfoOf(rpc);
    const MetricFamilies::Labels labels = {{"service", info.service}, {"method", info.method}};
    in_flight.push_back({labels, static_cast<double>(gate.in_flight(rpc))});
    for (int code = 0; code < CallMetrics::kCodes; ++code) {
      HistogramSnapshot snapshot = gate.metrics().durations(rpc, code).Snapshot();
      // OK from the start, so that a rate is there before the first call; others once they occur.
      if (snapshot.count == 0 && code != 0) continue;
      durations.push_back({labels, std::move(snapshot)});
      durations.back().labels.emplace_back("code", kCodeNames[code]);
    }
  }
  metrics->Histogram(
      "factord_rpc_duration_seconds",
      "From a request's arrival until its status was decided; StreamRatings: how long "
      "streams were open.",
      durations);
  metrics->Gauge("factord_rpc_in_flight", "Calls that run; a stream, until it has its status.",
                 in_flight);
  metrics->Gauge("factord_rpc_share_let_in",
                 "Of RecordRatings, RecommendItems and PredictRatings, the share that is let in: "
                 "below 1 while more come than can be answered.",
                 gate.share_let_in());
  metrics->Gauge("factord_streams", "StreamRatings calls that are open.",
                 static_cast<double>(gate.in_flight(Rpc::kStreamRatings)));
  metrics->Histogram("factord_stream_batch_duration_seconds",
                     "From the arrival of a StreamRatings batch until its events were settled.",
                     gate.metrics().stream_batches().Snapshot());
}

void AddConnections(Listener* listener, MetricFamilies* metrics) {
  metrics->Gauge("factord_connections", "Connections that are open.",
                 static_cast<double>(listener->connections()));
  metrics->Gauge("factord_connections_limit",
                 "--max_connections, or fewer where the limit of open files is lower.",
                 static_cast<double>(listener->max_connections()));
  metrics->Counter("factord_connections_accepted_total", "Connections that came in.",
                   static_cast<double>(listener->accepted()));
  metrics->Counter("factord_connections_refused_total",
                   "Of them, those closed at once (--max_connections).",
                   static_cast<double>(listener->refused()));
  metrics->Counter("factord_connections_reset_total",
                   "Of them, those closed for their flood of calls, or of headers without end.",
                   static_cast<double>(listener->reset()));
}

// --- Security

void AddSecurity(const MetricsSources& sources, MetricFamilies* metrics) {
  std::vector<MetricFamilies::Labelled<double>> reloads;
  const auto add_reloads = [&](const char* file, int64_t ok, int64_t failed) {
    reloads.push_back({{{"file", file}, {"result", "ok"}}, static_cast<double>(ok)});
    reloads.push_back({{{"file", file}, {"result", "failed"}}, static_cast<double>(failed)});
  };
  if (sources.certificates != nullptr) {
    metrics->Gauge("factord_tls_certificate_expiry_timestamp_seconds",
                   "When the server's certificate expires, in seconds since 1970.",
                   static_cast<double>(sources.certificates->Get()->expires));
    add_reloads("certificates", sources.certificates->reloads(), sources.certificates->failures());
  }
  if (sources.tokens != nullptr) {
    metrics->Gauge("factord_tokens", "Bearer tokens that are good.",
                   static_cast<double>(sources.tokens->Get()->size()));
    add_reloads("tokens", sources.tokens->reloads(), sources.tokens->failures());
  }
  if (!reloads.empty()) {
    metrics->Counter(
        "factord_reloads_total",
        "Times that files were read again; failed: tried in vain, at each look at a bad file.",
        reloads);
  }
}

// --- What was refused, by the gate and by the engine

void AddRefusals(const CallMetrics& calls, const EngineMetrics::Refusals& engine,
                 MetricFamilies* metrics) {
  std::vector<MetricFamilies::Labelled<double>> refused;
  const auto add = [&](const char* reason, int64_t count) {
    refused.push_back({{{"reason", reason}}, static_cast<double>(count)});
  };
  add("calls", calls.refusals(Refusal::kCalls));
  add("overload", calls.refusals(Refusal::kOverload));
  add("streams", calls.refusals(Refusal::kStreams));
  add("unread_answers", calls.refusals(Refusal::kUnreadAnswers));
  add("producers", calls.refusals(Refusal::kProducers));
  add("rate_limit", calls.refusals(Refusal::kRateLimit));
  add("auth_missing", calls.refusals(Refusal::kAuthMissing));
  add("auth_unknown", calls.refusals(Refusal::kAuthUnknown));
  add("auth_scope", calls.refusals(Refusal::kAuthScope));
  add("no_request", calls.refusals(Refusal::kNoRequest));
  add("unread_refusals", calls.refusals(Refusal::kUnreadRefusals));
  add("queue", engine.queue);
  add("users", engine.users);
  add("items", engine.items);
  add("memory", engine.memory);
  add("disk", engine.disk);
  metrics->Counter("factord_refused_total", "Calls and events that were refused, by what limit.",
                   refused);
}

}  // namespace

void MetricsCollector::SetEngine(const Engine* engine) {
  MutexLock lock(&mu_);
  engine_ = engine;
}

std::vector<prometheus::MetricFamily> MetricsCollector::Collect() const {
  MetricFamilies metrics;
  AddProcess(&metrics);
  AddCalls(*sources_.gate, &metrics);
  AddConnections(sources_.listener, &metrics);
  AddSecurity(sources_, &metrics);
  metrics.Gauge("factord_serving", "1 while reads or writes are served.",
                {{{{"operation", "reads"}}, sources_.health->serves_reads() ? 1.0 : 0.0},
                 {{{"operation", "writes"}}, sources_.health->serves_writes() ? 1.0 : 0.0}});
  metrics.Gauge("factord_recovery_progress_ratio",
                "How much of the folder is loaded and replayed; 1: all of it.",
                sources_.recovery == nullptr ? 0 : sources_.recovery->fraction());
  metrics.Gauge("factord_recovery_duration_seconds", "How long recovery took; 0: not done yet.",
                recovery_seconds_.load(std::memory_order_relaxed));
  AddLimits(sources_.engine_limits, &metrics);
  MutexLock lock(&mu_);
  EngineMetrics engine;
  if (engine_ != nullptr) {
    engine = engine_->Metrics();
    AddEngine(engine_->Info(), engine_->MeasureFactors(), engine, sources_.gate->metrics(),
              &metrics);
  }
  AddRefusals(sources_.gate->metrics(), engine.refusals, &metrics);
  return std::move(metrics).Take();
}

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const std::string& address, std::weak_ptr<prometheus::Collectable> collector) {
  StartTime();
  // A client that is slow to ask or to read holds a thread, but soon loses its connection: with so
  // many threads a scrape is served beside dozens of them.
  const std::vector<std::string> options = {"listening_ports",    address, "num_threads", "16",
                                            "request_timeout_ms", "2000"};
  // civetweb reports by exception.
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(options);
    exposer->RegisterCollectable(collector);
    return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(exposer)));
  } catch (const std::exception& error) {
    // What is wrong with the port it does not say: our own listener does.
    const absl::Status why = Listener::Open(address, /*max_connections=*/1).status();
    return absl::UnavailableError(absl::StrCat(
        why.ok() ? absl::StrCat("cannot listen on ", address, ": ", error.what()) : why.message(),
        " (--metrics_listen)"));
  }
}

int MetricsServer::port() const { return exposer_->GetListeningPorts().at(0); }

}  // namespace factord
