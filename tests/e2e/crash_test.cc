// SIGKILL at random instants, under load: nothing that was acknowledged is missing, nothing is
// there twice, and the folder's log replayed from empty gives the server's state.
//
// --kills=N: how many (default 12). --seed=N: of all that is random (printed).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/temp_folder.h"
#include "engine/verify.h"
#include "storage/store.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

int kills = 12;
uint64_t seed = 20240501;

constexpr int kUnaryWriters = 4;
constexpr int kUsers = 60, kItems = 80;

// An event with strings of its own, as it was sent or as the log has it.
struct LoggedEvent {
  int64_t sequence = 0;
  std::string user, item;
  float rating = 0;
  int64_t time_micros = 0;
  bool time_is_servers = true;
  std::string event_id, recommendation_id, producer;
  int64_t number = 0;

  bool SameContent(const v1::Rating& sent) const {
    return user == sent.user_id() && item == sent.item_id() && rating == sent.rating() &&
           event_id == sent.event_id() && time_is_servers == !sent.has_event_time() &&
           (time_is_servers || time_micros == sent.event_time().seconds() * 1'000'000 +
                                                  sent.event_time().nanos() / 1'000);
  }
};

// Where the clients find the server: one after another, until there is none any more.
class Address {
 public:
  void Set(std::shared_ptr<grpc::Channel> channel) {
    std::lock_guard lock(mu_);
    channel_ = std::move(channel);
    ++generation_;
    changed_.notify_all();
  }
  // No server comes any more.
  void Close() { Set(nullptr); }

  // A server that is newer than *generation. Null when there is none any more.
  std::shared_ptr<grpc::Channel> WaitForNewer(int* generation) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return generation_ > *generation; });
    *generation = generation_;
    return channel_;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::shared_ptr<grpc::Channel> channel_;
  int generation_ = 0;
};

v1::Rating RandomRating(std::mt19937_64& random) {
  v1::Rating rating;
  SetRating(absl::StrCat("user ", random() % kUsers), absl::StrCat("item ", random() % kItems),
            static_cast<float>(random() % 11) / 2, &rating);
  if (random() % 2 == 0) {
    rating.mutable_event_time()->set_seconds(static_cast<int64_t>(random() % 2'000'000'000));
    rating.mutable_event_time()->set_nanos(123'456'000);
  }
  return rating;
}

// What a writer knows to be safe: the event, and the sequence it was told.
struct Acknowledged {
  v1::Rating rating;
  int64_t sequence = 0;
};

// Sends one request after another, each until it is acknowledged, whatever happens to the server.
class UnaryWriter {
 public:
  UnaryWriter(Address* address, int index)
      : thread_([this, address, index] { Write(address, index); }) {}
  void Join() { thread_.join(); }
  const std::vector<Acknowledged>& acknowledged() const { return acknowledged_; }
  int64_t requests() const { return requests_; }

 private:
  void Write(Address* address, int index) {
    std::mt19937_64 random(seed + 100 + index);
    int generation = 0;
    auto channel = address->WaitForNewer(&generation);
    int64_t next = 0;
    while (channel != nullptr) {
      v1::RecordRatingsRequest request;
      for (uint64_t n = 1 + random() % 5; n > 0; --n) {
        *request.add_events() = RandomRating(random);
        request.mutable_events()->rbegin()->set_event_id(absl::StrCat("w", index, "-", next++));
      }
      // Now and then an event of a while ago, once more: well within the dedupe window.
      if (!acknowledged_.empty() && random() % 10 == 0) {
        const size_t back = 1 + random() % std::min<size_t>(acknowledged_.size(), 1'000);
        *request.add_events() = acknowledged_[acknowledged_.size() - back].rating;
      }
      v1::RecordRatingsResponse response;
      while (channel != nullptr) {
        grpc::ClientContext context;
        const grpc::Status status =
            v1::RatingService::NewStub(channel)->RecordRatings(&context, request, &response);
        if (status.ok()) break;
        ASSERT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
        channel = address->WaitForNewer(&generation);
      }
      if (channel == nullptr) return;  // the last one has no answer
      ++requests_;
      ASSERT_EQ(response.results_size(), request.events_size());
      for (int i = 0; i < request.events_size(); ++i) {
        ASSERT_NE(response.results(i).outcome(), v1::RatingResult::OUTCOME_REJECTED);
        acknowledged_.push_back({request.events(i), response.results(i).sequence()});
      }
    }
  }

  std::vector<Acknowledged> acknowledged_;
  std::atomic<int64_t> requests_{0};
  std::thread thread_;
};

// One named producer: streams, and goes on where the server stopped.
class StreamWriter {
 public:
  explicit StreamWriter(Address* address) : thread_([this, address] { Write(address); }) {}
  void Join() { thread_.join(); }
  const std::vector<v1::Rating>& sent() const { return sent_; }
  int64_t acknowledged() const { return acknowledged_; }
  int reconnects() const { return reconnects_; }

 private:
  void Write(Address* address) {
    std::mt19937_64 random(seed + 50);
    int generation = 0;
    for (auto channel = address->WaitForNewer(&generation); channel != nullptr;
         channel = address->WaitForNewer(&generation)) {
      Stream(channel, random);
      ++reconnects_;
    }
  }

  void Stream(const std::shared_ptr<grpc::Channel>& channel, std::mt19937_64& random) {
    grpc::ClientContext context;
    auto stream = v1::RatingService::NewStub(channel)->StreamRatings(&context);
    v1::StreamRatingsRequest message;
    v1::StreamRatingsResponse response;
    message.mutable_start()->set_producer_id("producer");
    if (!stream->Write(message) || !stream->Read(&response)) {
      stream->Finish();
      return;
    }
    // Everything acknowledged has survived; the server may have taken more than it could say.
    const int64_t last = response.started().last_number();
    ASSERT_GE(last, acknowledged_);
    ASSERT_LE(last, static_cast<int64_t>(sent_.size()));
    int64_t next = last + 1;
    bool open = true;
    while (open) {
      // Three batches in flight.
      for (int b = 0; b < 3 && open; ++b) {
        message.mutable_batch()->Clear();
        message.mutable_batch()->set_first_number(next);
        for (uint64_t n = 1 + random() % 20; n > 0; --n, ++next) {
          if (next > static_cast<int64_t>(sent_.size())) sent_.push_back(RandomRating(random));
          *message.mutable_batch()->add_events() = sent_[next - 1];
        }
        open = stream->Write(message);
      }
      while (open && acknowledged_ < next - 1) {
        open = stream->Read(&response);
        if (open) {
          ASSERT_EQ(response.ack().rejected_size(), 0);
          acknowledged_ = response.ack().last_number();
        }
      }
    }
    stream->Finish();
  }

  std::vector<v1::Rating> sent_;  // number n is at n - 1
  std::atomic<int64_t> acknowledged_{0};
  int reconnects_ = 0;
  std::thread thread_;
};

// The whole log of a folder that nobody has open.
std::vector<LoggedEvent> ReadLog(const std::string& path) {
  std::vector<LoggedEvent> log;
  auto store = Store::Open({.path = path, .read_only = true});
  EXPECT_TRUE(store.ok()) << store.status();
  if (!store.ok()) return log;
  auto cursor = (*store)->log()->ReadFrom(1);
  EXPECT_TRUE(cursor.ok()) << cursor.status();
  while (cursor.ok()) {
    const auto events = (*cursor)->Next();
    EXPECT_TRUE(events.ok()) << events.status();
    if (!events.ok() || events->empty()) break;
    for (const Event& event : *events) {
      log.push_back({event.sequence, std::string(event.user_id), std::string(event.item_id),
                     event.rating, event.time_micros, event.time_is_servers,
                     std::string(event.event_id), std::string(event.recommendation_id),
                     std::string(event.producer_id), event.producer_number});
    }
  }
  return log;
}

v1::Rating ToRating(const LoggedEvent& event) {
  v1::Rating rating;
  SetRating(event.user, event.item, event.rating, &rating);
  if (!event.time_is_servers) {
    rating.mutable_event_time()->set_seconds(event.time_micros / 1'000'000);
    rating.mutable_event_time()->set_nanos(
        static_cast<int32_t>(event.time_micros % 1'000'000 * 1'000));
  }
  rating.set_event_id(event.event_id);
  rating.set_recommendation_id(event.recommendation_id);
  return rating;
}

// Sends the events of a log in their order, those of a producer by a stream of its own.
void SendInOrder(const ServerProcess& server, const std::vector<LoggedEvent>& log, size_t first,
                 size_t end) {
  size_t i = first;
  while (i < end) {
    const std::string& producer = log[i].producer;
    size_t run = i;
    if (producer.empty()) {
      v1::RecordRatingsRequest request;
      for (; run < end && run - i < 500 && log[run].producer.empty(); ++run) {
        *request.add_events() = ToRating(log[run]);
      }
      RecordRatings(server, request);
    } else {
      grpc::ClientContext context;
      auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
      v1::StreamRatingsRequest message;
      message.mutable_start()->set_producer_id(producer);
      ASSERT_TRUE(stream->Write(message));
      message.mutable_batch()->set_first_number(log[i].number);
      for (; run < end && log[run].producer == producer &&
             log[run].number == log[i].number + static_cast<int64_t>(run - i);
           ++run) {
        *message.mutable_batch()->add_events() = ToRating(log[run]);
      }
      ASSERT_TRUE(stream->Write(message));
      stream->WritesDone();
      v1::StreamRatingsResponse response;
      while (stream->Read(&response)) {
      }
      ASSERT_TRUE(stream->Finish().ok());
      ASSERT_EQ(response.ack().last_sequence(), static_cast<int64_t>(run));
    }
    i = run;
  }
}

// The server's flags, with a random durability: neither may lose anything to a SIGKILL. Snapshots
// are frequent, so that many kills meet one.
std::vector<std::string> Flags(const std::string& data_dir, const std::string& retention,
                               std::mt19937_64& random) {
  return {"--data_dir=" + data_dir,
          "--log_retention=" + retention,
          random() % 2 == 0 ? "--durability=sync" : "--durability=async",
          "--snapshot_interval=" + std::to_string(20 + random() % 200) + "ms",
          "--snapshot_log_bytes=" + std::to_string(10'000 + random() % 100'000),
          "--rank=8",
          "--dedupe_window=100000"};
}

TEST(CrashTest, NothingAcknowledgedIsMissingAndNothingIsThereTwice) {
  std::mt19937_64 random(seed);
  TempFolder dir;
  const std::string data = dir / "data";
  Address address;
  std::vector<std::unique_ptr<UnaryWriter>> writers;
  for (int i = 0; i < kUnaryWriters; ++i) {
    writers.push_back(std::make_unique<UnaryWriter>(&address, i));
  }
  StreamWriter streamer(&address);

  for (int kill = 0; kill <= kills; ++kill) {
    ServerProcess server(Flags(data, "all", random));
    // Now and then it is killed while it recovers.
    if (kill < kills && random() % 4 == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
      server.Kill();
      continue;
    }
    server.WaitUntilServing();
    address.Set(server.channel());
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 600'000));
    if (kill < kills) {
      server.Kill();
      continue;
    }
    // The last one ends well, after the clients.
    const int64_t requests = writers[0]->requests();
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while ((writers[0]->requests() < requests + 20 || streamer.acknowledged() == 0) &&
           std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    address.Close();
    server.Signal(SIGTERM);
    const Ended ended = server.Wait();
    EXPECT_EQ(ended.exit_code, kExitOk) << ended.output;
  }
  for (auto& writer : writers) writer->Join();
  streamer.Join();

  // The log has everything that was acknowledged, once, as it was sent, under the sequence that was
  // told.
  const std::vector<LoggedEvent> log = ReadLog(data);
  std::map<std::string, const LoggedEvent*> by_id;
  std::map<int64_t, const LoggedEvent*> by_number;
  for (size_t i = 0; i < log.size(); ++i) {
    ASSERT_EQ(log[i].sequence, static_cast<int64_t>(i) + 1);
    const bool fresh = log[i].producer.empty() ? by_id.emplace(log[i].event_id, &log[i]).second
                                               : by_number.emplace(log[i].number, &log[i]).second;
    EXPECT_TRUE(fresh) << "twice: " << log[i].event_id << " " << log[i].number;
  }
  size_t acknowledged = 0;
  for (const auto& writer : writers) {
    for (const Acknowledged& event : writer->acknowledged()) {
      const auto found = by_id.find(event.rating.event_id());
      ASSERT_NE(found, by_id.end()) << "missing: " << event.rating.event_id();
      EXPECT_TRUE(found->second->SameContent(event.rating));
      EXPECT_EQ(found->second->sequence, event.sequence);
      ++acknowledged;
    }
  }
  for (int64_t number = 1; number <= streamer.acknowledged(); ++number) {
    const auto found = by_number.find(number);
    ASSERT_NE(found, by_number.end()) << "missing: number " << number;
    EXPECT_TRUE(found->second->SameContent(streamer.sent()[number - 1]));
    ++acknowledged;
  }
  std::printf("%d kills, %zu events in the log, %zu acknowledged, %d streams, seed %llu\n", kills,
              log.size(), acknowledged, streamer.reconnects(),
              static_cast<unsigned long long>(seed));
  EXPECT_GT(acknowledged, 500u);

  // Replayed from empty, the log gives the hash that the server left.
  const auto verified = VerifyFolder(data);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->events, static_cast<int64_t>(log.size()));
  const std::string hash = verified->hash.ToHex();
  {
    ServerProcess server(Flags(data, "all", random));
    server.WaitUntilServing();
    EXPECT_EQ(ComputeHash(server).hash(), hash);
    EXPECT_EQ(server.Stop(), kExitOk);
  }
#ifdef FACTORCTL_BINARY
  Ended tool = RunProgram({FACTORCTL_BINARY, "verify", data});
  EXPECT_EQ(tool.exit_code, 0) << tool.output;
  tool = RunProgram({FACTORCTL_BINARY, "log", data});
  EXPECT_EQ(tool.exit_code, 0) << tool.output;
  std::vector<std::string> lines = absl::StrSplit(tool.output, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), log.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_TRUE(absl::StartsWith(
        lines[i], absl::StrCat(log[i].sequence, "\t", log[i].user, "\t", log[i].item, "\t")))
        << lines[i];
  }
#endif

  // A server that trims its log, given the same events in the same order and killed meanwhile, ends
  // with the same hash.
  size_t sent = 0;
  while (sent < log.size()) {
    ServerProcess server(Flags(dir / "trimmed", "snapshot", random));
    server.WaitUntilServing();
    ASSERT_EQ(GetModel(server).sequence(), static_cast<int64_t>(sent));
    const size_t end = std::min(log.size(), sent + log.size() / 3 + 1);
    SendInOrder(server, log, sent, end);
    sent = end;
    if (sent < log.size()) {
      server.Kill();
      continue;
    }
    const v1::ComputeHashResponse trimmed = ComputeHash(server);
    EXPECT_EQ(trimmed.sequence(), static_cast<int64_t>(log.size()));
    EXPECT_EQ(trimmed.hash(), hash);
    EXPECT_EQ(server.Stop(), kExitOk);
  }
  ServerProcess server(Flags(dir / "trimmed", "snapshot", random));
  server.WaitUntilServing();
  EXPECT_GT(GetModel(server).log_start_sequence(), 1);  // it did trim
  EXPECT_EQ(ComputeHash(server).hash(), hash);
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    const bool known =
        (absl::ConsumePrefix(&argument, "--kills=") &&
         absl::SimpleAtoi(argument, &factord::kills)) ||
        (absl::ConsumePrefix(&argument, "--seed=") && absl::SimpleAtoi(argument, &factord::seed));
    if (!known) {
      std::fprintf(stderr, "unknown argument: %s\n", argv[i]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
