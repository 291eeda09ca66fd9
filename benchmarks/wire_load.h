// Unary calls that cost the load next to nothing, for a server that shall get more of them than it
// can answer: gRPC's client takes as much of its core for a call as the server does to refuse it,
// so that its own queue would be measured. This speaks HTTP/2 itself, on one thread: frames that
// are made once, the request's bytes put in.
//
//   WireLoad load({.port = server.port(), .method = kRecommendItems, .make_request = ...,
//                  .per_second = 20'000}, &meter);
//
// A load runs from its construction to its destruction, which waits for what is on its way. An open
// loop's durations are counted from when a call was to begin (no coordinated omission), of which up
// to .2 ms may be the load's.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/meter.h"

namespace factord {

class WireLoad {
 public:
  struct Options {
    int port = 0;         // of 127.0.0.1, in plain text
    int connections = 1;  // calls take turns
    std::string method;
    std::function<grpc::ByteBuffer()> make_request;
    int in_flight = 1;
    // Set: an open loop, and in_flight does not matter.
    std::optional<double> per_second = std::nullopt;
  };
  // RESOURCE_EXHAUSTED is counted as refused; whatever else is not OK is told to `meter`, which
  // outlives the load. A connection that fails ends it. REQUIRES: requests of 60,000 bytes at the
  // most, and a server that takes any number of calls on a connection.
  WireLoad(Options options, Meter* meter);
  ~WireLoad();

 private:
  class Connection;

  void Run();
  // Starts what is due, and returns when the next one is.
  Clock::time_point BeginDue();
  void Begin(Clock::time_point since);

  const Options options_;
  Meter* const meter_;
  std::vector<std::unique_ptr<Connection>> connections_;
  size_t next_connection_ = 0;
  const Clock::time_point start_ = Clock::now();
  int64_t begun_ = 0;
  int64_t ended_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace factord
