// Load on a server: calls and streams of ratings, each as a closed loop (so many are on their way
// all the time) or as an open one (so many begin each second, whatever has become of those before).
//
//   CallLoad load(server.Connect(4), {.method = kRecommendItems, .make_request = ..., .in_flight =
//   32},
//                 &meter);
//
// A load runs from its construction to its destruction, which waits for what is on its way. An open
// loop's durations are counted from when something was to begin, so a server that stands still
// shows in all that waited for it (no coordinated omission).
//
// It costs little: gRPC's callback API, on gRPC's few threads; requests come as bytes, replies are
// looked at only as far as the loop needs it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "benchmarks/meter.h"
#include "benchmarks/requests.h"

namespace factord {

inline constexpr char kRecordRatings[] = "/factord.v1.RatingService/RecordRatings";
inline constexpr char kStreamRatings[] = "/factord.v1.RatingService/StreamRatings";
inline constexpr char kRecommendItems[] = "/factord.v1.RecommendationService/RecommendItems";

// Calls are spread over them.
using Channels = std::vector<std::shared_ptr<grpc::Channel>>;

// Calls a function at even intervals, on a thread of its own, with the time at which that was due.
// When it is late, it catches up.
class Pacer {
 public:
  Pacer(double per_second, std::function<void(Clock::time_point due)> tick);
  ~Pacer();

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Unary calls.
class CallLoad {
 public:
  struct Options {
    std::string method;
    std::function<grpc::ByteBuffer()> make_request;  // called by several threads at once
    int in_flight = 1;
    // Set: an open loop, and in_flight does not matter.
    std::optional<double> per_second = std::nullopt;
  };
  // A call that fails is told to `meter`, which outlives the load; a closed loop goes on without
  // it.
  CallLoad(Channels channels, Options options, Meter* meter);
  ~CallLoad();

 private:
  class Call;

  // A call that does nothing at present.
  Call* FreeCall();
  // `call` is over. Whether it shall make another one.
  bool Ended(Call* call, const absl::Status& status);

  const Channels channels_;
  const Options options_;
  Meter* const meter_;

  Mutex mu_;
  CondVar none_;
  std::deque<std::unique_ptr<Call>> calls_ ABSL_GUARDED_BY(mu_);
  std::vector<Call*> free_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::optional<Pacer> pacer_;
};

// StreamRatings calls without a producer. The meter counts events, and the time from a message to
// its acknowledgement.
class StreamLoad {
 public:
  struct Options {
    int streams = 1;
    int events_a_message = 100;
    // Of each stream: messages that are not acknowledged. An open loop holds more back.
    int in_flight = 100;
    // Set: an open loop; messages go to the streams in turn.
    std::optional<double> events_per_second = std::nullopt;
  };
  // A rejected or duplicate event is a failure. `requests` and `meter` outlive the load.
  StreamLoad(const Channels& channels, const Options& options, RatingRequests* requests,
             Meter* meter);
  ~StreamLoad();

 private:
  class Stream;

  const Options options_;
  RatingRequests* const requests_;
  Meter* const meter_;
  std::vector<std::unique_ptr<Stream>> streams_;
  size_t next_stream_ = 0;  // the pacer's
  std::optional<Pacer> pacer_;
};

}  // namespace factord
