// The server: port, services, health, recovery, drain.
//
//   FACTORD_ASSIGN_OR_RETURN(auto server, Server::Start(options));   // the port is open
//   ... on a signal: server->Stop();
//   const ExitCode code = server->Run();                             // until stopped and drained
//
// Life: the port opens first, with NOT_SERVING and every call UNAVAILABLE ("recovering"), so that a
// supervisor sees at once that the process is there. The engine recovers on a thread of its own;
// then health says SERVING. Stop lets running calls end, gives every stream its last
// acknowledgement, closes the engine (final snapshot) and returns. All the while, and after it,
// calls are answered UNAVAILABLE: the port closes with the process. gRPC's own shutdown would
// answer CANCELLED to a call that arrives just then, which clients do not repeat.
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
#include "server/call_counter.h"
#include "server/engine_holder.h"
#include "server/exit_codes.h"
#include "server/health_service.h"
#include "server/model_service.h"
#include "server/rating_service.h"
#include "server/recommendation_service.h"
#include "server/validation.h"
#include "server/worker_pool.h"

namespace factord {

struct ServerOptions {
  // HOST:PORT. Port 0 lets the system choose; see port_file.
  std::string listen = "127.0.0.1:7070";
  // Receives the port as decimal digits and a newline once it is open, in one step. It is removed
  // before the port is opened, so whoever finds it finds this server. Empty: none.
  std::string port_file;
  // Opens the engine: blocks for as long as recovery takes.
  std::function<absl::StatusOr<std::unique_ptr<Engine>>()> open_engine;
  Limits limits;
  // How long a read waits for its min_sequence at the most.
  std::chrono::milliseconds max_sequence_wait = std::chrono::seconds(1);
  // How many events of a stream may be unacknowledged. At least limits.max_events_per_request.
  int32_t stream_window_events = 65'536;
  // The largest message that is taken. 10,000 events with ids of usual length have 1 MB, with the
  // longest ones 7 MB.
  int32_t max_message_bytes = 16 << 20;
  // How long Stop may take. Running calls have half of it before they are cancelled; the rest is
  // for the final snapshot.
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(30);
};

// Thread-safe where it says so.
class Server {
 public:
  // Opens the port and begins to recover. UNAVAILABLE: the port cannot be had.
  static absl::StatusOr<std::unique_ptr<Server>> Start(ServerOptions options);

  // Closes the port. REQUIRES: Run has returned, and not with kExitDrainTimeout, after which the
  // process can only be ended.
  ~Server();

  // The port that was opened.
  int port() const { return port_; }

  // Serves until Stop is called or the engine cannot be opened. To be called once.
  ExitCode Run();

  // Makes Run drain and return. Returns at once; further calls change nothing. Thread-safe, but not
  // for use in a signal handler.
  void Stop();

 private:
  explicit Server(ServerOptions options);

  absl::Status Listen();
  void Recover();
  // Waits for Stop. False: the engine could not be opened.
  bool ServeUntilStopped();
  void Drain();

  const ServerOptions options_;
  EngineHolder engines_;
  CallCounter calls_;
  WorkerPool read_workers_;
  WorkerPool admin_worker_;
  HealthService health_;
  RatingService ratings_;
  RecommendationService recommendations_;
  ModelService model_;
  AdminService admin_;
  std::unique_ptr<grpc::Server> grpc_server_;
  int port_ = 0;

  Mutex mu_;
  CondVar changed_;
  bool stop_requested_ ABSL_GUARDED_BY(mu_) = false;
  bool drained_ ABSL_GUARDED_BY(mu_) = false;
  // What recovery came to, until somebody takes it.
  std::optional<absl::StatusOr<std::unique_ptr<Engine>>> opened_ ABSL_GUARDED_BY(mu_);
  absl::Status outcome_;  // of opening and closing the engine

  std::thread recovery_;
  std::thread drain_;
};

}  // namespace factord
