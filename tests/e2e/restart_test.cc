// SIGTERM or SIGKILL, and a start on the same folder and port, again and again, under closed loops
// of the shipped client: no call fails, and every rating is there exactly once. Prints the longest
// gap that a caller saw.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "client/client.h"
#include "client/event_ids.h"
#include "storage/store.h"
#include "tests/e2e/closed_loop.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRestarts = 6;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

v1::Rating RatingNumber(int64_t number) {
  v1::Rating rating;
  SetRating(absl::StrCat("user ", number % 50), absl::StrCat("item ", number % 70),
            static_cast<float>(number % 11) / 2, &rating);
  return rating;
}

// The longest gaps that callers saw, and the longest time from the signal to serving, in seconds.
struct Gaps {
  double restart = 0;
  double reads = 0;
  double writes = 0;
  double streamed = 0;
};

// Restarts a server with these flags under a client with these options, whose target is not set.
void RestartUnderLoad(std::vector<std::string> flags, Client::Options options, Gaps* gaps) {
  TempFolder dir;
  flags.push_back("--data_dir=" + (dir / "data"));
  flags.push_back("--log_retention=all");
  auto server = std::make_unique<ServerProcess>(flags);
  server->WaitUntilServing();
  const std::string address = absl::StrCat("127.0.0.1:", server->port());
  options.target = address;
  auto client = Client::Create(options);
  ASSERT_TRUE(client.ok()) << client.status();

  ClosedLoop reads("RecommendItems", [&](int64_t number) {
    v1::RecommendItemsRequest request;
    request.set_user_id(absl::StrCat("user ", number % 50));
    return (*client)->RecommendItems(request).status();
  });
  std::map<std::string, int64_t> sequences;  // of the unary writes, by event id
  ClosedLoop writes("RecordRatings", [&](int64_t number) {
    v1::RecordRatingsRequest request;
    *request.add_events() = RatingNumber(number);
    (*client)->StampEventIds(&request);
    auto response = (*client)->RecordRatings(request);
    if (response.ok()) sequences[request.events(0).event_id()] = response->last_sequence();
    return response.status();
  });
  auto stream = (*client)->StreamRatings({.producer_id = "producer"});
  ASSERT_TRUE(stream.ok()) << stream.status();
  ClosedLoop streamed("StreamRatings", [&](int64_t number) {
    const absl::Status status = (*stream)->Write(number, RatingNumber(number));
    return status.ok() ? (*stream)->Flush() : status;
  });

  for (int restart = 0; restart <= kRestarts; ++restart) {
    for (ClosedLoop* const loop : {&reads, &writes, &streamed}) {
      ASSERT_TRUE(loop->WaitForCalls(50)) << server->output();
    }
    if (restart == kRestarts) break;
    const Clock::time_point start = Clock::now();
    if (restart % 2 == 0) {
      ASSERT_EQ(server->Stop(), kExitOk);
    } else {
      server->Kill();
    }
    std::vector<std::string> again = flags;
    again.push_back("--listen=" + address);
    server = std::make_unique<ServerProcess>(again);
    server->WaitUntilServing();
    gaps->restart = std::max(gaps->restart, Seconds(Clock::now() - start));
  }
  for (ClosedLoop* const loop : {&reads, &writes, &streamed}) loop->Stop();
  EXPECT_TRUE((*stream)->Close().ok());
  EXPECT_EQ((*stream)->stats().reconnects, kRestarts);
  EXPECT_EQ(server->Stop(), kExitOk);
  gaps->reads = reads.longest_gap();
  gaps->writes = writes.longest_gap();
  gaps->streamed = streamed.longest_gap();
  std::printf(
      "%d restarts, the longest took %.3f s from the signal to serving. Calls, longest gap:\n",
      kRestarts, gaps->restart);
  std::printf("  RecommendItems %8lld  %.3f s\n", static_cast<long long>(reads.calls()),
              gaps->reads);
  std::printf("  RecordRatings  %8lld  %.3f s\n", static_cast<long long>(writes.calls()),
              gaps->writes);
  std::printf("  StreamRatings  %8lld  %.3f s\n", static_cast<long long>(streamed.calls()),
              gaps->streamed);

  auto store = Store::Open({.path = dir / "data", .read_only = true});
  ASSERT_TRUE(store.ok()) << store.status();
  auto cursor = (*store)->log()->ReadFrom(1);
  ASSERT_TRUE(cursor.ok()) << cursor.status();
  int64_t last_number = 0;
  while (true) {
    const auto events = (*cursor)->Next();
    ASSERT_TRUE(events.ok()) << events.status();
    if (events->empty()) break;
    for (const Event& event : *events) {
      if (event.producer_id == "producer") {
        EXPECT_EQ(event.producer_number, ++last_number);
        continue;
      }
      const auto found = sequences.find(std::string(event.event_id));
      ASSERT_NE(found, sequences.end()) << "twice, or never acknowledged: " << event.event_id;
      EXPECT_EQ(found->second, event.sequence);
      sequences.erase(found);
    }
  }
  EXPECT_EQ(last_number, streamed.calls());
  EXPECT_THAT(sequences, ::testing::IsEmpty()) << "acknowledged, and missing";
}

TEST(RestartTest, NoCallFailsAndEveryRatingIsThereOnce) {
  // Not sync: a busy disk would be what is measured.
  Gaps gaps;
  RestartUnderLoad(
      {"--durability=async"},
      {.read_timeout = absl::FromChrono(kPatience), .write_timeout = absl::FromChrono(kPatience)},
      &gaps);
  // Symptom once: calls that slept between attempts left the connection to gRPC's own poller, and a
  // restart of 0.2 s became a gap of 10 s.
  for (const double gap : {gaps.reads, gaps.writes, gaps.streamed}) {
    EXPECT_LT(gap, gaps.restart + 4);
  }
}

// A client of another language, which has client/service_config.json and no more.
TEST(RestartTest, NoCallFailsWithTheServiceConfigAlone) {
  TempFolder dir;
  std::vector<std::string> flags = {"--durability=async", "--data_dir=" + (dir / "data")};
  auto server = std::make_unique<ServerProcess>(flags);
  server->WaitUntilServing();
  flags.push_back(absl::StrCat("--listen=127.0.0.1:", server->port()));
  std::ifstream config(FACTORD_SOURCE_DIR "/client/service_config.json");
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON({std::istreambuf_iterator<char>(config), {}});
  const auto stub = v1::RatingService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("127.0.0.1:", server->port()), grpc::InsecureChannelCredentials(), arguments));
  EventIdSource ids;
  ClosedLoop writes("RecordRatings", [&](int64_t number) {
    v1::RecordRatingsRequest request;
    *request.add_events() = RatingNumber(number);
    StampEventIds(&ids, &request);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::RecordRatingsResponse response;
    const grpc::Status status = stub->RecordRatings(&context, request, &response);
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  });
  for (int restart = 0; restart < 2; ++restart) {
    ASSERT_TRUE(writes.WaitForCalls(50)) << server->output();
    ASSERT_EQ(server->Stop(), kExitOk);
    server = std::make_unique<ServerProcess>(flags);
    server->WaitUntilServing();
  }
  ASSERT_TRUE(writes.WaitForCalls(50)) << server->output();
  writes.Stop();
}

// What users have who set nothing: every restart is over before the deadline of a call.
TEST(RestartTest, NoCallFailsWithTheDefaultsOfServerAndClient) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "a restart with AddressSanitizer may take longer than the deadlines are made for";
#endif
  Gaps gaps;
  RestartUnderLoad({}, {}, &gaps);
}

}  // namespace
}  // namespace factord
