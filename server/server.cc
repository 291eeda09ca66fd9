#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>

namespace factord {
namespace {

// Two reads of many rows at once: enough for a report beside a dump, few enough to leave the cores
// to the rest.
constexpr int kReadWorkers = 2;
// How often health looks at the engine's write health.
constexpr std::chrono::milliseconds kHealthInterval(200);

// Dead clients are found within a minute or so, also behind a NAT that forgets; a client may ping
// every ten seconds.
constexpr int kKeepaliveTimeMillis = 30'000;
constexpr int kKeepaliveTimeoutMillis = 10'000;
constexpr int kMinClientPingMillis = 10'000;

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

absl::Status WritePortFile(const std::string& path, int port) {
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << port << '\n';
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::UnknownError(
        absl::StrCat("cannot write --port_file ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      read_workers_(kReadWorkers),
      admin_worker_(1),
      ratings_(&engines_, &calls_, options_.limits, options_.stream_window_events),
      recommendations_(&engines_, &calls_, options_.limits, options_.max_sequence_wait,
                       &read_workers_),
      model_(&engines_, &calls_, options_.limits, &read_workers_),
      admin_(&engines_, &calls_, &admin_worker_) {}

Server::~Server() {
  if (grpc_server_ != nullptr) grpc_server_->Shutdown(std::chrono::system_clock::now());
  if (recovery_.joinable()) recovery_.join();
  if (drain_.joinable()) drain_.join();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  FACTORD_RETURN_IF_ERROR(server->Listen());
  server->recovery_ = std::thread([s = server.get()] { s->Recover(); });
  return server;
}

absl::Status Server::Listen() {
  if (!options_.port_file.empty()) std::remove(options_.port_file.c_str());
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port_);
  builder.SetMaxReceiveMessageSize(options_.max_message_bytes);
  // Otherwise a second server on the port would silently take half of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMillis);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinClientPingMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.RegisterService(&health_);
  builder.RegisterService(&ratings_);
  builder.RegisterService(&recommendations_);
  builder.RegisterService(&model_);
  builder.RegisterService(&admin_);
  grpc_server_ = builder.BuildAndStart();
  if (grpc_server_ == nullptr || port_ == 0) {
    grpc_server_.reset();
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options_.listen,
                                               ": the port is in use or the address is not ours"));
  }
  if (!options_.port_file.empty()) {
    FACTORD_RETURN_IF_ERROR(WritePortFile(options_.port_file, port_));
  }
  spdlog::info("listening on {} (port {})", options_.listen, port_);
  return absl::OkStatus();
}

void Server::Recover() {
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<std::unique_ptr<Engine>> engine = options_.open_engine();
  if (engine.ok()) {
    const ModelInfo info = (*engine)->Info();
    spdlog::info(
        "recovered in {:.3f} s: sequence {}, {} users, {} items, snapshot at {}, log from {}",
        SecondsSince(start), info.sequence, info.users, info.items, info.snapshot_sequence,
        info.log_start_sequence);
    std::string config;
    for (const auto& [name, value] : ToFields(info.config)) {
      absl::StrAppend(&config, config.empty() ? "" : " ", name, "=", value);
    }
    spdlog::info("model: {}", config);
  }
  MutexLock lock(&mu_);
  opened_ = std::move(engine);
  changed_.NotifyAll();
}

void Server::Stop() {
  MutexLock lock(&mu_);
  stop_requested_ = true;
  changed_.NotifyAll();
}

ExitCode Server::Run() {
  if (!ServeUntilStopped()) {
    spdlog::error("cannot open the data folder: {}", outcome_.ToString());
    return ExitCodeForData(outcome_);
  }
  spdlog::info("draining");
  const auto start = std::chrono::steady_clock::now();
  drain_ = std::thread([this] { Drain(); });
  MutexLock lock(&mu_);
  while (!drained_) {
    if (std::chrono::steady_clock::now() >= start + options_.drain_timeout) {
      spdlog::error("not drained within --drain_timeout: ending without a final snapshot");
      return kExitDrainTimeout;
    }
    changed_.WaitUntil(&mu_, start + options_.drain_timeout);
  }
  if (!outcome_.ok()) {
    spdlog::error("closing the data folder failed: {}", outcome_.ToString());
    return kExitFailed;
  }
  spdlog::info("stopped cleanly in {:.3f} s", SecondsSince(start));
  return kExitOk;
}

bool Server::ServeUntilStopped() {
  const Engine* engine = nullptr;
  {
    MutexLock lock(&mu_);
    while (!stop_requested_ && !opened_.has_value()) changed_.Wait(&mu_);
    if (stop_requested_) return true;
    outcome_ = opened_->status();
    if (!outcome_.ok()) return false;
    engine = opened_->value().get();
    engines_.Serve(*std::exchange(opened_, std::nullopt).value());
  }
  health_.SetReads(true);
  health_.SetWrites(true);
  spdlog::info("serving");
  bool writes = true;
  while (true) {
    const absl::Status write_health = engine->Info().write_health;
    if (writes && !write_health.ok()) {
      writes = false;
      health_.SetWrites(false);
      spdlog::error("writes are refused until a restart, reads go on: {}", write_health.ToString());
    }
    MutexLock lock(&mu_);
    if (stop_requested_) return true;
    changed_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kHealthInterval);
    if (stop_requested_) return true;
  }
}

void Server::Drain() {
  health_.Drain();
  engines_.Drain();
  ratings_.Drain();
  if (!calls_.WaitUntilNone(std::chrono::steady_clock::now() + options_.drain_timeout / 2)) {
    spdlog::warn("cancelling the calls that still run");
    grpc_server_->Shutdown(std::chrono::system_clock::now());
  }
  recovery_.join();
  // Later calls are refused and no earlier one is left, so the engine may go.
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
