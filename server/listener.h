// Where connections come in: an address, and how many may be open at once.
//
//   FACTORD_ASSIGN_OR_RETURN(auto listener, Listener::Open("127.0.0.1:7070", 20'000));
//   auto acceptor = builder.experimental().AddExternalConnectionAcceptor(FROM_FD, credentials);
//   ... builder.BuildAndStart() ...
//   listener->Start(std::move(acceptor));
//
// gRPC could listen itself, but it takes as many connections as come, and stops listening for good
// when the process has no file descriptor left.
#pragma once

#include <grpcpp/server_builder.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "base/status.h"

namespace factord {

// Lets the process have as many file descriptors as it may; returns how many those are.
int64_t RaiseFileLimit();

// HOST:PORT, taken apart. The host without the brackets of IPv6.
struct HostPort {
  std::string host;
  int port = 0;

  // Whether only this machine can reach it: localhost, 127.0.0.0/8 or ::1.
  bool is_loopback() const;
};
// INVALID_ARGUMENT.
absl::StatusOr<HostPort> ParseHostPort(const std::string& address);

// Thread-safe.
class Listener {
 public:
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  // Binds every address that `address`, a HOST:PORT, stands for. Port 0 lets the system choose.
  // UNAVAILABLE: the port is in use or an address is not ours.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& address,
                                                        int64_t max_connections);
  // Closes the port. Connections stay open.
  ~Listener();

  // The same, once. Not beside another Close.
  void Close();

  int port() const { return port_; }

  // Takes connections, on a thread of its own, and hands them to `acceptor`, whose server runs.
  void Start(std::unique_ptr<Acceptor> acceptor);

  // Ends the connection of a peer, as gRPC names it ("ipv4:10.0.0.1:1234"). False: there is none.
  bool Reset(const std::string& peer);

  // How many bytes have come on each connection so far, and were written to it, sent or not.
  struct Traffic {
    int fd = -1;
    ino_t inode = 0;
    uint64_t received = 0;
    uint64_t written = 0;
  };
  std::vector<Traffic> TrafficOfEach();
  // Ends that connection, if it is still there. Its peer; empty: it is not.
  std::string Reset(const Traffic& connection);

  int64_t max_connections() const { return max_connections_; }
  // How many are open now.
  int64_t connections();
  int64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  int64_t refused() const { return refused_.load(std::memory_order_relaxed); }
  // Ended by Reset.
  int64_t reset() const { return reset_.load(std::memory_order_relaxed); }

 private:
  explicit Listener(int64_t max_connections) : max_connections_(max_connections) {}

  absl::Status Bind(const HostPort& address);
  void Loop();
  // False when there is none waiting.
  bool AcceptOne(int listening);
  // Whether one more may be open.
  bool HasRoomLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SweepLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool ResetLocked(int fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t max_connections_;
  int port_ = 0;
  std::vector<int> listening_;
  int wake_ = -1;  // an eventfd: the end
  std::unique_ptr<Acceptor> acceptor_;
  std::atomic<int64_t> accepted_{0};
  std::atomic<int64_t> refused_{0};
  std::atomic<int64_t> reset_{0};

  Mutex mu_;
  // gRPC does not tell when it closes a connection. Its descriptor then names another file or none,
  // which the file's inode tells.
  absl::flat_hash_map<int, ino_t> open_ ABSL_GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point next_sweep_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;
};

}  // namespace factord
