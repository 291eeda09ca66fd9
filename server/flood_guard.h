// Ends connections whose clients begin calls faster than the server comes to them, or send what has
// no end.
//
//   FloodGuard guard({.max_calls = 1'000, .max_unanswered_bytes = 256 << 20});
//   builder.SetContextAllocator(guard.CountBegun());
//   guard.Protect(listener.get());
//   ...
//   FloodGuard::Call call(&guard, context);   // a member of whatever lives as long as the call
//
// HTTP/2 lets a client take a call back as soon as it has begun it, and begin another; and
// gRPC 1.51 does not hold it to MAX_CONCURRENT_STREAMS before it has agreed to that. Each call
// takes 10 kB until the server has disposed of it. Where one connection does so, the server sees
// that it has too many calls whose requests have not come, or that were refused before they came
// (one that is taken back is) and are not disposed of. Others are bounded by the server's places,
// and do not count here: on a busy machine the thread that disposes of them may wait for its turn
// while a client that does nothing wrong makes hundreds of calls. Where several connections flood,
// gRPC reads on for as long as bytes come, in all of the threads that would tell the server of its
// calls: then more and more calls have begun that the server has not been told of. No other
// connection is read meanwhile, and bytes soon cease to come on those that keep to HTTP/2's
// windows; so those on which they still come are ended.
//
// What comes in a call's message is bounded by HTTP/2's windows, which the server has to open anew;
// a call's headers are not: gRPC 1.51 keeps what it has of them until they end. So where the server
// has had too many bytes to which it has written nothing, the connections that have sent most are
// ended. Who says nothing more meanwhile does not answer when it is asked whether it is still there
// (keepalive), which ends its connection.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "base/mutex.h"
#include "server/listener.h"
#include "server/log.h"

namespace factord {

// Thread-safe.
class FloodGuard {
 public:
  struct Limits {
    // Of a connection: calls whose requests have not come.
    int64_t max_calls = 0;
    // Of all connections together: bytes that have come since anything was last written there.
    int64_t max_unanswered_bytes = 0;
  };
  explicit FloodGuard(const Limits& limits);
  ~FloodGuard();

  // Counts the calls that gRPC begins. For one builder; *this must outlive its server.
  std::unique_ptr<grpc::ContextAllocator> CountBegun();
  // Connections are ended there. Before its server has calls; `listener` is there until Stop.
  void Protect(Listener* listener);
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;

  // Of one connection.
  struct ConnectionCalls {
    int64_t all = 0;      // not disposed of
    int64_t waiting = 0;  // of all: the request has not come
    int64_t refused = 0;  // of all: answered before it came
    Clock::time_point next_reset;
  };

 public:
  // A call that the server has been told of, until gRPC is done with it. Thread-compatible.
  class Call {
   public:
    // `guard` may be null: nothing is counted. *context is not kept.
    Call(FloodGuard* guard, grpc::CallbackServerContext* context);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // Its request has come.
    void Received();
    // Its status is decided.
    void Answered();

   private:
    enum class Stage { kWaiting, kReceived, kRefused };
    void MoveTo(Stage stage);

    FloodGuard* const guard_;
    std::pair<const std::string, ConnectionCalls>* connection_ = nullptr;
    Stage stage_ = Stage::kWaiting;
  };

 private:
  class CountingAllocator;

  // A connection as it was when last looked at.
  struct Seen {
    uint64_t received = 0;
    uint64_t written = 0;
    // What had been received when it was first seen that the server had written more, and when it
    // was looked at before that: the answer came between the two.
    uint64_t received_after = 0;
    uint64_t received_before = 0;

    // 0: no more than HTTP/2's windows allow.
    uint64_t unanswered() const;
  };
  // A listener, and the inode of one of its connections.
  using ConnectionId = std::pair<Listener*, ino_t>;

  void Begun();
  int64_t unseen() const { return begun_ - seen_; }
  void Loop();
  void ResetConnection(const std::string& peer);
  // Ends those that flood with calls, if any do.
  void EndFloods();
  // Ends those that send without end, if any do.
  void EndEndless();
  std::vector<Listener*> listeners();
  void Log(const char* what, const std::string& peer);

  const Limits limits_;
  Mutex listeners_mu_;
  std::vector<Listener*> listeners_ ABSL_GUARDED_BY(listeners_mu_);
  std::atomic<int64_t> begun_{0};
  std::atomic<int64_t> seen_{0};
  Mutex mu_;
  // By peer; those that have any.
  absl::node_hash_map<std::string, ConnectionCalls> connections_ ABSL_GUARDED_BY(mu_);

  absl::flat_hash_map<ConnectionId, Seen> seen_connections_;  // of thread_

  log::Throttle log_;
  std::atomic<bool> woken_{false};
  std::atomic<bool> stopping_{false};
  std::counting_semaphore<> wake_{0};
  std::thread thread_;
};

}  // namespace factord
