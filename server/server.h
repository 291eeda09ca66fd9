// The server: ports, services, health, recovery, drain.
//
//   FACTORD_ASSIGN_OR_RETURN(auto server, Server::Start(options));   // the port is open
//   ... on a signal: server->Stop();
//   const ExitCode code = server->Run();                             // until stopped and drained
//
// Life: the port opens first, with NOT_SERVING and every call UNAVAILABLE ("recovering"), so that a
// supervisor sees at once that the process is there. The engine recovers on a thread of its own;
// then health says SERVING. Stop lets running calls end, gives every stream its last
// acknowledgement, waits a second for clients that have not taken their answers, closes the engine
// (final snapshot) and returns. All the while, and after it, calls are answered UNAVAILABLE: the
// port closes with the process. gRPC's own shutdown would answer CANCELLED to a call that arrives
// just then, which clients do not repeat.
#pragma once

#include <grpcpp/server.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "engine/engine.h"
#include "server/admin_service.h"
#include "server/call_gate.h"
#include "server/certificates.h"
#include "server/engine_holder.h"
#include "server/engine_metric_families.h"
#include "server/exit_codes.h"
#include "server/flood_guard.h"
#include "server/health_service.h"
#include "server/listener.h"
#include "server/metrics.h"
#include "server/model_service.h"
#include "server/rating_service.h"
#include "server/recommendation_service.h"
#include "server/tokens.h"
#include "server/unknown_calls.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

// What connections may cost, and how long they may last. 0 milliseconds: no limit.
struct NetworkOptions {
  int64_t max_connections = 20'000;
  int32_t max_calls_per_connection = 100;
  // The largest message that is taken. 10,000 events with ids of usual length have 1 MB, with the
  // longest ones 7 MB.
  int32_t max_message_bytes = 16 << 20;
  // For what gRPC has read and not yet handed over. Beyond, it reads no further, and connections
  // whose headers do not end are closed.
  int64_t memory_bytes = int64_t{256} << 20;
  // A connection must have said hello (and spoken TLS) within this time.
  std::chrono::milliseconds handshake_timeout = std::chrono::seconds(20);
  // A connection that is quiet for so long is asked, and closed if there is no answer in time: dead
  // clients are found within a minute, also behind a NAT that forgets.
  std::chrono::milliseconds keepalive_time = std::chrono::seconds(30);
  std::chrono::milliseconds keepalive_timeout = std::chrono::seconds(10);
  // A client that pings more often is sent away.
  std::chrono::milliseconds min_client_ping_interval = std::chrono::seconds(10);
  std::chrono::milliseconds max_connection_idle = std::chrono::minutes(30);
  // Older connections are closed once their calls have ended, or after the grace: so that clients
  // spread over the servers anew.
  std::chrono::milliseconds max_connection_age = std::chrono::milliseconds(0);
  std::chrono::milliseconds max_connection_age_grace = std::chrono::seconds(30);
};

struct ServerOptions {
  // HOST:PORT. Port 0 lets the system choose; see port_file.
  std::string listen = "127.0.0.1:7070";
  // Plain text, and nothing but health: for probes that cannot speak TLS. Empty: none.
  std::string health_listen;
  // HTTP, and nothing but /metrics. Empty: none.
  std::string metrics_listen;
  // Receives the port as decimal digits and a newline once it is open, in one step; then a line
  // each "health PORT" and "metrics PORT", where they are open. It is removed before the port is
  // opened, so whoever finds it finds this server. Empty: none.
  std::string port_file;
  TlsFiles tls;
  // Empty: no tokens are asked for.
  std::string token_file;
  // How often certificates and tokens are read again.
  std::chrono::milliseconds reload_interval = std::chrono::seconds(10);
  // Tells the services and messages to who asks for them.
  bool reflection = true;
  // Opens the engine: blocks for as long as recovery takes.
  std::function<absl::StatusOr<std::unique_ptr<Engine>>()> open_engine;
  // What open_engine keeps up to date meanwhile, for /metrics. May be null.
  std::shared_ptr<RecoveryProgress> recovery_progress;
  // The limits that open_engine gives the engine: for /metrics, and for a warning when memory comes
  // near its own.
  EngineLimits engine_limits;
  NetworkOptions network;
  CallGate::Options calls;
  Limits limits;
  // How long a read waits for its min_sequence at the most.
  std::chrono::milliseconds max_sequence_wait = std::chrono::seconds(1);
  // How many events of a stream may be unacknowledged. At least limits.max_events_per_request.
  int32_t stream_window_events = 65'536;
  // How long Stop may take. Running calls have half of it before they are cancelled; the rest is
  // for the final snapshot.
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(30);
};

// Thread-safe where it says so.
class Server {
 public:
  // Opens the ports and begins to recover. UNAVAILABLE: a port cannot be had. INVALID_ARGUMENT:
  // certificates or tokens are bad.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options);

  // Closes the port. REQUIRES: Run has returned, and not with kExitDrainTimeout, after which the
  // process can only be ended.
  ~Server();

  // The ports that were opened; 0: none.
  int port() const { return api_.listener->port(); }
  int health_port() const { return probes_.listener ? probes_.listener->port() : 0; }
  int metrics_port() const { return metrics_server_ ? metrics_server_->port() : 0; }

  // The numbers behind --metrics_listen.
  const MetricsCollector& metrics() const { return *metrics_; }

  // Serves until Stop is called or the engine cannot be opened. To be called once.
  ExitCode Run();

  // Makes Run drain and return. Returns at once; further calls change nothing. Thread-safe, but not
  // for use in a signal handler.
  void Stop();
  // Has certificates and tokens looked at now rather than after reload_interval. As Stop.
  void Reload();

 private:
  // A port that speaks gRPC.
  struct GrpcPort {
    std::unique_ptr<Listener> listener;
    std::unique_ptr<grpc::Server> server;
  };

  explicit Server(ServerOptions options);

  absl::Status LoadFiles();
  absl::Status Listen();
  absl::Status ListenForCalls();
  absl::Status ListenForProbes();
  absl::Status ListenForMetrics();
  absl::Status WritePortFile() const;
  void Recover();
  // Waits for Stop. False: the engine could not be opened.
  bool ServeUntilStopped();
  void Serve(std::unique_ptr<Engine> engine);
  // What is done now and then.
  void Housekeep();
  bool WasReloadRequested();
  void ReloadFiles();
  void CheckWrites();
  void CheckRoom();
  void WarnOfExpiry();
  void Drain();

  const ServerOptions options_;
  const std::unique_ptr<CertificateStore> certificates_;  // null: no TLS
  const std::unique_ptr<Reloadable<TokenTable>> tokens_;  // null: none are asked for
  EngineHolder engines_;
  FloodGuard flood_guard_;
  CallGate gate_;
  WorkerPool read_workers_;
  WorkerPool admin_worker_;
  Health health_;
  HealthService api_health_{&health_, &flood_guard_};
  HealthService probe_health_{&health_, &flood_guard_};
  RatingService ratings_;
  RecommendationService recommendations_;
  ModelService model_;
  AdminService admin_;
  UnknownCalls unknown_;
  UnknownCalls unknown_to_probes_;
  GrpcPort api_;
  GrpcPort probes_;
  std::shared_ptr<MetricsCollector> metrics_;
  std::unique_ptr<MetricsServer> metrics_server_;

  // Of the thread that runs.
  Engine* engine_ = nullptr;
  bool writes_are_served_ = false;
  bool memory_is_short_ = false;
  bool disk_is_full_ = false;
  int64_t warned_of_expiry_ = 0;  // of a certificate, in seconds since 1970
  std::chrono::steady_clock::time_point next_reload_;
  std::chrono::steady_clock::time_point next_room_check_;

  Mutex mu_;
  CondVar changed_;
  bool stop_requested_ ABSL_GUARDED_BY(mu_) = false;
  bool reload_requested_ ABSL_GUARDED_BY(mu_) = false;
  bool drained_ ABSL_GUARDED_BY(mu_) = false;
  // What recovery came to, until somebody takes it.
  std::optional<absl::StatusOr<std::unique_ptr<Engine>>> opened_ ABSL_GUARDED_BY(mu_);
  absl::Status outcome_;  // of opening and closing the engine

  std::thread recovery_;
  std::thread drain_;
};

}  // namespace factord
