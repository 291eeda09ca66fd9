// Clients that write whatever happens to the server, and remember what it promised them.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "factord/v1/rating_service.grpc.pb.h"

namespace factord {

// There are more users and items the more has been sent, so that rows are made all the time.
inline constexpr int kUsers = 60, kItems = 80, kEventsAUser = 20, kEventsAnItem = 50;
// Of a recommendation: more than there ever are.
inline constexpr int kMaxItems = 1'000;
// Of the events that are no ratings.
inline constexpr char kEventType[] = "click";

using SteadyTime = std::chrono::steady_clock::time_point;

// Where the clients find the server: one after another, until there is none any more. Thread-safe.
class Address {
 public:
  void Set(std::shared_ptr<grpc::Channel> channel);
  // No server comes any more.
  void Close() { Set(nullptr); }
  // The server may end from now on; until then it leaves no call without an answer.
  void ExpectEnd();
  // Of a call that the server has not answered. Fails the test if nothing has happened to it.
  void CheckUnanswered(const grpc::Status& status);

  // A server that is newer than *generation. Null when there is none any more.
  std::shared_ptr<grpc::Channel> WaitForNewer(int* generation);
  // Until so many clients have noticed that the newest server is gone.
  void AwaitWaiting(int clients);

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::shared_ptr<grpc::Channel> channel_;
  bool end_is_expected_ = false;
  int generation_ = 0;
  int waiting_ = 0;
};

// What all clients together have seen. Thread-safe.
class Counts {
 public:
  std::atomic<int64_t> acknowledged{0};  // events
  std::atomic<int64_t> lost{0};          // of those, ones that a later server does not have

  // Events that were sent at `begun` have had no answer from a server that is gone.
  void AddUnanswered(SteadyTime begun);
  // When the first of them were sent since the last TakeUnanswered; nothing: there were none.
  std::optional<SteadyTime> TakeUnanswered();

 private:
  std::mutex mu_;
  std::optional<SteadyTime> unanswered_;
};

// A request of a unary writer, and where its events were put.
struct SentRequest {
  std::vector<v1::Rating> events;
  SteadyTime begun, answered;
  std::vector<int64_t> sequences;  // of the events; empty: it had no answer
};

// What a stream has sent: number n is at n - 1, and the first `acknowledged` are safe.
struct SentStream {
  std::string producer;
  std::vector<v1::Rating> events;
  int64_t acknowledged = 0;
  std::map<int64_t, int64_t> sequences;  // of numbers, as far as they were told
};

// Sends one request after another, each until it is acknowledged; now and then twice at once, as
// one does that has not waited for the answer, or with an event that was acknowledged; and looks
// whether what it wrote can be seen.
class UnaryWriter {
 public:
  UnaryWriter(Address* address, Counts* counts, uint64_t seed, std::string name);
  void Join() { thread_.join(); }
  // After Join. Of the last one alone the answer may be missing.
  const std::vector<SentRequest>& sent() const { return sent_; }

 private:
  void Write();
  // The next request, without a place yet.
  SentRequest MakeRequest();

  Address* const address_;
  Counts* const counts_;
  std::mt19937_64 random_;
  const std::string name_;
  int64_t events_ = 0;
  std::vector<SentRequest> sent_;
  std::thread thread_;
};

// One named producer: streams, and goes on where the server stopped, or sends again what it has had
// no answer to.
class StreamWriter {
 public:
  StreamWriter(Address* address, Counts* counts, uint64_t seed, std::string producer);
  void Join() { thread_.join(); }
  // After Join.
  const SentStream& sent() const { return sent_; }

 private:
  void Write();
  // When the first events were sent that had no answer; nothing: all had.
  std::optional<SteadyTime> Stream(const std::shared_ptr<grpc::Channel>& channel);
  void Acknowledge(const v1::StreamAck& ack);

  Address* const address_;
  Counts* const counts_;
  std::mt19937_64 random_;
  SentStream sent_;
  std::thread thread_;
};

}  // namespace factord
