#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/log.h"

namespace factord {
namespace {

// Two reads of many rows at once: enough for a report beside a dump, few enough to leave the cores
// to the rest.
constexpr int kReadWorkers = 2;
// How often the server looks after itself, and after what takes a while to find out.
constexpr std::chrono::milliseconds kHousekeepingInterval(200);
constexpr std::chrono::seconds kRoomCheckInterval(1);
// Reflection's calls hold a thread each.
constexpr int kMaxSyncThreads = 32;
// gRPC tells the server nothing of what it has read until it is through with it; by default, of 4
// MiB.
constexpr int kMaxReadBytes = 256 << 10;
// So many times --max_calls_per_connection: what a client takes back is still there for a moment.
constexpr int64_t kCallsKept = 10;
// What gRPC keeps of headers that have not ended, for each of their bytes.
constexpr int64_t kHeaderCost = 2;
// Probes need few connections, and little room and time.
constexpr int64_t kMaxProbeConnections = 100;
constexpr std::chrono::seconds kProbeConnectionIdle(30);
constexpr int64_t kProbeMemoryBytes = 8 << 20;
// How long a drain waits for clients to take their answers.
constexpr std::chrono::seconds kSendGrace(1);
// The share of --memory_limit from which the log warns.
constexpr double kShortOfMemory = 0.8;
// Descriptors that are kept for the data folder and for ourselves.
constexpr int64_t kReservedFiles = 800;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string Text(const absl::Status& status) { return status.ToString(); }

int Millis(std::chrono::milliseconds time) {
  constexpr int kNever = std::numeric_limits<int>::max();
  return time.count() == 0 ? kNever : static_cast<int>(std::min<int64_t>(time.count(), kNever));
}

// Connections must not use up the descriptors that the store needs.
int64_t ConnectionsThatFit(int64_t wanted) {
  const int64_t files = RaiseFileLimit();
  const int64_t fit = std::max<int64_t>(files - kReservedFiles, files / 2);
  if (wanted <= fit) return wanted;
  log::Warning("fewer connections than --max_connections: the limit of open files is too low",
               {{"connections", fit}, {"open_files", files}});
  return fit;
}

void SetArguments(const NetworkOptions& network, grpc::ServerBuilder* builder) {
  const auto set = [builder](const char* name, int value) {
    builder->AddChannelArgument(name, value);
  };
  builder->SetMaxReceiveMessageSize(network.max_message_bytes);
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, network.max_calls_per_connection);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(network.keepalive_time));
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(network.keepalive_timeout));
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      static_cast<int>(network.min_client_ping_interval.count()));
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Millis(network.max_connection_idle));
  set(GRPC_ARG_MAX_CONNECTION_AGE_MS, Millis(network.max_connection_age));
  set(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Millis(network.max_connection_age_grace));
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Millis(network.handshake_timeout));
  set(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kMaxReadBytes);
}

void SetQuota(const char* name, int64_t bytes, grpc::ServerBuilder* builder) {
  grpc::ResourceQuota quota(name);
  quota.Resize(static_cast<size_t>(bytes));
  quota.SetMaxThreads(kMaxSyncThreads);
  builder->SetResourceQuota(quota);
}

// Debian's library of reflection puts it into every server of the process.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->erase(std::remove_if(plugins->begin(), plugins->end(),
                                  [](const auto& plugin) {
                                    return plugin->name() == "proto_server_reflection";
                                  }),
                   plugins->end());
  }
};

// Builds the server, whose connections come from `listener`, and starts both.
absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(
    grpc::ServerBuilder* builder, Listener* listener,
    const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  auto acceptor = builder->experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  std::unique_ptr<grpc::Server> server = builder->BuildAndStart();
  if (server == nullptr) return absl::InternalError("gRPC could not be started");
  listener->Start(std::move(acceptor));
  return server;
}

std::unique_ptr<CertificateStore> MakeCertificates(const TlsFiles& files) {
  if (!files.is_on()) return nullptr;
  return std::make_unique<CertificateStore>("certificates",
                                            [files] { return ReadCertificates(files); });
}

std::unique_ptr<Reloadable<TokenTable>> MakeTokens(const std::string& file) {
  if (file.empty()) return nullptr;
  return std::make_unique<Reloadable<TokenTable>>("tokens", [file] { return ReadTokens(file); });
}

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      certificates_(MakeCertificates(options_.tls)),
      tokens_(MakeTokens(options_.token_file)),
      flood_guard_({.max_calls = kCallsKept * options_.network.max_calls_per_connection,
                    .max_unanswered_bytes = options_.network.memory_bytes / kHeaderCost}),
      gate_(options_.calls, tokens_.get(), &flood_guard_),
      read_workers_(kReadWorkers),
      admin_worker_(1),
      ratings_(&engines_, &gate_, options_.limits, options_.stream_window_events),
      recommendations_(&engines_, &gate_, options_.limits, options_.max_sequence_wait,
                       &read_workers_),
      model_(&engines_, &gate_, options_.limits, &read_workers_),
      admin_(&engines_, &gate_, &admin_worker_),
      unknown_(&gate_),
      unknown_to_probes_(&gate_),
      next_reload_(std::chrono::steady_clock::now() + options_.reload_interval) {}

Server::~Server() {
  metrics_server_.reset();
  flood_guard_.Stop();
  for (GrpcPort* port : {&api_, &probes_}) {
    port->listener.reset();
    if (port->server != nullptr) port->server->Shutdown(std::chrono::system_clock::now());
  }
  if (recovery_.joinable()) recovery_.join();
  if (drain_.joinable()) drain_.join();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  FACTORD_RETURN_IF_ERROR(server->LoadFiles());
  FACTORD_RETURN_IF_ERROR(server->Listen());
  server->recovery_ = std::thread([s = server.get()] { s->Recover(); });
  return server;
}

absl::Status Server::LoadFiles() {
  std::vector<std::string> mistakes;
  const auto add = [&mistakes](const char* flags, const absl::Status& status) {
    if (!status.ok()) mistakes.push_back(absl::StrCat(flags, ": ", status.message()));
  };
  if (certificates_ != nullptr) {
    add("--tls_cert_file, --tls_key_file, --tls_client_ca_file", certificates_->Load());
  }
  if (tokens_ != nullptr) add("--token_file", tokens_->Load());
  if (!mistakes.empty()) return absl::InvalidArgumentError(absl::StrJoin(mistakes, "\n"));
  WarnOfExpiry();
  return absl::OkStatus();
}

void Server::WarnOfExpiry() {
  if (certificates_ == nullptr) return;
  const int64_t expires = certificates_->Get()->expires;
  if (expires == warned_of_expiry_ || expires >= absl::ToUnixSeconds(absl::Now())) return;
  warned_of_expiry_ = expires;
  log::Warning("the certificate has expired", {{"file", options_.tls.cert_file}});
}

absl::Status Server::Listen() {
  if (!options_.port_file.empty()) std::remove(options_.port_file.c_str());
  FACTORD_RETURN_IF_ERROR(ListenForCalls());
  FACTORD_RETURN_IF_ERROR(ListenForProbes());
  FACTORD_RETURN_IF_ERROR(ListenForMetrics());
  FACTORD_RETURN_IF_ERROR(WritePortFile());
  log::Info("listening", {{"address", options_.listen},
                          {"port", port()},
                          {"tls", options_.tls.is_on()},
                          {"client_certificates", !options_.tls.client_ca_file.empty()},
                          {"tokens", tokens_ != nullptr},
                          {"health_port", health_port()},
                          {"metrics_port", metrics_port()}});
  return absl::OkStatus();
}

absl::Status Server::ListenForCalls() {
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();  // or it would not be linked
  FACTORD_ASSIGN_OR_RETURN(
      api_.listener,
      Listener::Open(options_.listen, ConnectionsThatFit(options_.network.max_connections)));
  grpc::ServerBuilder builder;
  SetArguments(options_.network, &builder);
  SetQuota("api", options_.network.memory_bytes, &builder);
  if (!options_.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  builder.RegisterService(&api_health_);
  builder.RegisterService(&ratings_);
  builder.RegisterService(&recommendations_);
  builder.RegisterService(&model_);
  builder.RegisterService(&admin_);
  builder.RegisterCallbackGenericService(&unknown_);
  builder.SetContextAllocator(flood_guard_.CountBegun());
  flood_guard_.Protect(api_.listener.get());
  FACTORD_ASSIGN_OR_RETURN(api_.server,
                           StartServer(&builder, api_.listener.get(),
                                       certificates_ ? TlsServerCredentials(certificates_.get())
                                                     : grpc::InsecureServerCredentials()));
  return absl::OkStatus();
}

absl::Status Server::ListenForProbes() {
  if (options_.health_listen.empty()) return absl::OkStatus();
  FACTORD_ASSIGN_OR_RETURN(probes_.listener,
                           Listener::Open(options_.health_listen, kMaxProbeConnections));
  grpc::ServerBuilder builder;
  NetworkOptions network = options_.network;
  network.max_connection_idle = kProbeConnectionIdle;
  SetArguments(network, &builder);
  SetQuota("health", kProbeMemoryBytes, &builder);
  builder.SetOption(std::make_unique<WithoutReflection>());
  builder.RegisterService(&probe_health_);
  builder.RegisterCallbackGenericService(&unknown_to_probes_);
  builder.SetContextAllocator(flood_guard_.CountBegun());
  flood_guard_.Protect(probes_.listener.get());
  FACTORD_ASSIGN_OR_RETURN(probes_.server, StartServer(&builder, probes_.listener.get(),
                                                       grpc::InsecureServerCredentials()));
  return absl::OkStatus();
}

absl::Status Server::ListenForMetrics() {
  metrics_ = std::make_shared<MetricsCollector>(
      MetricsSources{.gate = &gate_,
                     .health = &health_,
                     .listener = api_.listener.get(),
                     .certificates = certificates_.get(),
                     .tokens = tokens_.get(),
                     .recovery = options_.recovery_progress.get(),
                     .engine_limits = options_.engine_limits});
  if (options_.metrics_listen.empty()) return absl::OkStatus();
  FACTORD_ASSIGN_OR_RETURN(metrics_server_,
                           MetricsServer::Start(options_.metrics_listen, metrics_));
  return absl::OkStatus();
}

absl::Status Server::WritePortFile() const {
  const std::string& path = options_.port_file;
  if (path.empty()) return absl::OkStatus();
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << port() << '\n';
  if (health_port() != 0) file << "health " << health_port() << '\n';
  if (metrics_port() != 0) file << "metrics " << metrics_port() << '\n';
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::UnknownError(
        absl::StrCat("cannot write --port_file ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

void Server::Recover() {
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<std::unique_ptr<Engine>> engine = options_.open_engine();
  if (engine.ok()) {
    metrics_->SetRecoverySeconds(SecondsSince(start));
    const ModelInfo info = (*engine)->Info();
    log::Info("recovered", {{"seconds", SecondsSince(start)},
                            {"sequence", info.sequence},
                            {"users", info.users},
                            {"items", info.items},
                            {"snapshot_sequence", info.snapshot_sequence},
                            {"log_start_sequence", info.log_start_sequence}});
    std::string config;
    for (const auto& [name, value] : ToFields(info.config)) {
      absl::StrAppend(&config, config.empty() ? "" : " ", name, "=", value);
    }
    log::Info("model", {{"configuration", config}});
  }
  MutexLock lock(&mu_);
  opened_ = std::move(engine);
  changed_.NotifyAll();
}

void Server::Reload() {
  MutexLock lock(&mu_);
  reload_requested_ = true;
  changed_.NotifyAll();
}

void Server::Stop() {
  MutexLock lock(&mu_);
  stop_requested_ = true;
  changed_.NotifyAll();
}

ExitCode Server::Run() {
  if (!ServeUntilStopped()) {
    log::Error("cannot open the data folder", {{"reason", Text(outcome_)}});
    return ExitCodeForData(outcome_);
  }
  log::Info("draining");
  const auto start = std::chrono::steady_clock::now();
  drain_ = std::thread([this] { Drain(); });
  MutexLock lock(&mu_);
  while (!drained_) {
    if (std::chrono::steady_clock::now() >= start + options_.drain_timeout) {
      log::Error("not drained within --drain_timeout: ending without a final snapshot");
      return kExitDrainTimeout;
    }
    changed_.WaitUntil(&mu_, start + options_.drain_timeout);
  }
  if (!outcome_.ok()) {
    log::Error("closing the data folder failed", {{"reason", Text(outcome_)}});
    return ExitCodeForData(outcome_);
  }
  log::Info("stopped cleanly", {{"seconds", SecondsSince(start)}});
  return kExitOk;
}

bool Server::ServeUntilStopped() {
  while (true) {
    std::unique_ptr<Engine> engine;
    {
      MutexLock lock(&mu_);
      if (!stop_requested_ && !reload_requested_ && !opened_.has_value()) {
        changed_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kHousekeepingInterval);
      }
      if (stop_requested_) return true;
      if (opened_.has_value()) {
        outcome_ = opened_->status();
        if (!outcome_.ok()) return false;
        engine = *std::exchange(opened_, std::nullopt).value();
      }
    }
    if (engine != nullptr) Serve(std::move(engine));
    Housekeep();
  }
}

void Server::Serve(std::unique_ptr<Engine> engine) {
  engine_ = engine.get();
  metrics_->SetEngine(engine_);
  engines_.Serve(std::move(engine));
  health_.SetReads(true);
  health_.SetWrites(true);
  writes_are_served_ = true;
  log::Info("serving");
}

void Server::Housekeep() {
  const auto now = std::chrono::steady_clock::now();
  if (writes_are_served_) CheckWrites();
  gate_.CancelOverdue(now);
  if (engine_ != nullptr) engine_->ReleaseExpiredViews();
  if (engine_ != nullptr && now >= next_room_check_) {
    next_room_check_ = now + kRoomCheckInterval;
    CheckRoom();
  }
  if (now >= next_reload_ || WasReloadRequested()) ReloadFiles();
}

bool Server::WasReloadRequested() {
  MutexLock lock(&mu_);
  return std::exchange(reload_requested_, false);
}

void Server::ReloadFiles() {
  next_reload_ = std::chrono::steady_clock::now() + options_.reload_interval;
  if (certificates_ != nullptr) certificates_->Reload();
  WarnOfExpiry();
  if (tokens_ != nullptr) tokens_->Reload();
}

void Server::CheckWrites() {
  const absl::Status write_health = engine_->Info().write_health;
  if (write_health.ok()) return;
  writes_are_served_ = false;
  health_.SetWrites(false);
  log::Error("writes are refused until a restart, reads go on", {{"reason", Text(write_health)}});
}

void Server::CheckRoom() {
  const EngineMetrics metrics = engine_->Metrics();
  const int64_t limit = options_.engine_limits.memory_limit;
  const int64_t used = metrics.memory.total();
  const bool memory_is_short =
      limit > 0 && used > static_cast<int64_t>(kShortOfMemory * static_cast<double>(limit));
  if (memory_is_short && !memory_is_short_) {
    log::Warning("memory comes near --memory_limit, beyond which new users and items are refused",
                 {{"bytes", used}, {"limit", limit}});
  }
  memory_is_short_ = memory_is_short;

  const int64_t min_free = options_.engine_limits.min_free_bytes;
  const bool disk_is_full = metrics.disk_free_bytes < min_free;
  if (disk_is_full && !disk_is_full_) {
    log::Error("ratings are refused: less disk is free than --min_free_bytes",
               {{"free_bytes", metrics.disk_free_bytes}, {"min_free_bytes", min_free}});
  } else if (!disk_is_full && disk_is_full_) {
    log::Info("ratings are taken again", {{"free_bytes", metrics.disk_free_bytes}});
  }
  disk_is_full_ = disk_is_full;
}

void Server::Drain() {
  health_.Drain();
  engines_.Drain();
  ratings_.Drain();
  const auto deadline = std::chrono::steady_clock::now() + options_.drain_timeout / 2;
  if (gate_.WaitUntilSettled(deadline)) {
    (void)gate_.WaitUntilNone(std::min(deadline, std::chrono::steady_clock::now() + kSendGrace));
  } else {
    log::Warning("cancelling the calls that still run");
    // gRPC would leave connections that come from now on open, and silent.
    api_.listener->Close();
    api_.server->Shutdown(std::chrono::system_clock::now());
  }
  recovery_.join();
  metrics_->SetEngine(nullptr);
  // Later calls are refused and the earlier ones are settled, so the engine may go.
  std::unique_ptr<Engine> engine = engines_.Release();
  absl::Status status;
  {
    MutexLock lock(&mu_);
    if (opened_.has_value()) {  // stopped while recovering
      if (opened_->ok()) {
        engine = *std::move(*opened_);
      } else {
        status = opened_->status();
      }
      opened_.reset();
    }
  }
  if (engine != nullptr) status = engine->Close();
  engine.reset();
  MutexLock lock(&mu_);
  outcome_ = status;
  drained_ = true;
  changed_.NotifyAll();
}

}  // namespace factord
