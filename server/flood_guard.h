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
// that it has too many calls that are not answered, or too many that it has taken back or that were
// refused before their request had come, and are not disposed of. (Others that were answered do not
// count: on a busy machine the thread that has to dispose of them may wait for its turn while a
// client that does nothing wrong makes hundreds of calls.) Where several do, gRPC reads on for as
// long as bytes come, in all of the threads that would tell the server of its calls: then more and
// more calls have begun that the server has not been told of. No other connection is read
// meanwhile, and bytes soon cease to come on those that keep to HTTP/2's windows; so those on which
// they still come are ended.
//
// What comes in a call's message is bounded by HTTP/2's windows, which the server has to open anew;
// a call's headers are not: gRPC 1.51 keeps what it has of them until they end. So where the server
// has had too many bytes to which it has sent nothing, the connections that have sent most are
// ended. Who says nothing more meanwhile does not answer when it is asked whether it is still there
// (keepalive), which ends its connection.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
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
    // Of a connection: calls that are not answered or, if it takes calls back, not disposed of;
    // three times as many that were refused and are not disposed of.
    int64_t max_calls = 0;
    // Of all together: bytes that have come on a connection since anything was last sent on it.
    int64_t max_unanswered_bytes = 0;
  };
  explicit FloodGuard(const Limits& limits);
  ~FloodGuard();

  // Counts the calls that gRPC begins. For one builder; *this must outlive its server.
  std::unique_ptr<grpc::ContextAllocator> CountBegun();
  // Connections are ended there. Before its server has calls; `listener` is there until Stop.
  void Protect(Listener* listener);
  void Stop();

  struct CallsOfConnection {
    int64_t there = 0;       // not disposed of
    int64_t unanswered = 0;  // of those
    int64_t refused = 0;     // of those: answered before the request had come
    int64_t taken_back = 0;  // of those that were there before; each that was not takes one off
    bool was_reset = false;
  };

  // A call that the server has been told of, until gRPC is done with it.
  class Call {
   public:
    // `guard` may be null: nothing is counted. *context outlives it.
    Call(FloodGuard* guard, grpc::CallbackServerContext* context);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // Its status is decided, and whether its request had come by then. Once is enough; not
    // thread-safe.
    void Answered(bool has_request);

   private:
    FloodGuard* const guard_;
    grpc::CallbackServerContext* const context_;
    std::pair<const std::string, CallsOfConnection>* connection_ = nullptr;
    bool is_answered_ = false;
    bool is_refused_ = false;
  };

 private:
  class CountingAllocator;

  // A connection as it was when last looked at.
  struct Seen {
    uint64_t received = 0;
    uint64_t sent = 0;
    // Of what was received, what was there before the server last sent anything, and when that was
    // seen.
    uint64_t answered = 0;
    uint64_t received_by_then = 0;

    uint64_t unanswered() const { return received > received_by_then ? received - answered : 0; }
  };
  // A listener, and the inode of one of its connections.
  using Connection = std::pair<Listener*, ino_t>;

  void Begun();
  bool HasTooMany(const CallsOfConnection& calls) const;
  int64_t unseen() const { return begun_ - seen_; }
  void Loop();
  void ResetConnection(const std::string& peer);
  // Ends those that flood with calls, if any do.
  void FindFlood();
  // Ends those that send without end, if any do.
  void FindEndless();
  std::vector<Listener*> listeners();
  void Log(const char* what, const std::string& peer);

  const Limits limits_;
  Mutex listeners_mu_;
  std::vector<Listener*> listeners_ ABSL_GUARDED_BY(listeners_mu_);
  std::atomic<int64_t> begun_{0};
  std::atomic<int64_t> seen_{0};
  Mutex mu_;
  // By peer; those that have any.
  absl::node_hash_map<std::string, CallsOfConnection> connections_ ABSL_GUARDED_BY(mu_);

  absl::flat_hash_map<Connection, Seen> seen_connections_;  // of thread_

  log::Throttle log_;
  std::atomic<bool> woken_{false};
  std::atomic<bool> stopping_{false};
  std::counting_semaphore<> wake_{0};
  std::thread thread_;
};

}  // namespace factord
