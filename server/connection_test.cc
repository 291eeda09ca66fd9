// How long a connection lasts, and what it may cost: what is closed, when, and what is not.
#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/http2.h"
#include "base/test_http2_client.h"
#include "server/test_stream.h"
#include "server/test_util.h"

namespace factord {
namespace {

using grpc::StatusCode;
using std::chrono::hours;
using std::chrono::milliseconds;

constexpr milliseconds kSoon(100);
// How long a test waits for what the server is told to do soon. Less than any of gRPC's own
// defaults, of which the shortest, that of a keepalive's answer, has 20 seconds.
constexpr std::chrono::seconds kPatienceBelowDefaults(15);

std::chrono::system_clock::time_point Deadline() {
  return std::chrono::system_clock::now() + kPatienceBelowDefaults;
}

std::string PingFrame(char id, bool is_answer) {
  std::string frame;
  http2::PutFrame(&frame, {http2::kPing, is_answer ? http2::kAck : uint8_t{0}, 0,
                           absl::StrCat("a ping ", std::string(1, id))});
  return frame;
}

constexpr char kGetModel[] = "/factord.v1.ModelService/GetModel";

// Answers nothing.
class Client : public TestHttp2Client {
 public:
  explicit Client(const TestServer& server, int family = AF_INET)
      : TestHttp2Client(server.server().port(), family) {}

  // A call, until the headers of its answer have come.
  bool CallUntilAnswered(uint32_t stream) {
    Call(stream, kGetModel);
    std::string answer;
    http2::PutFrame(&answer, {http2::kHeaders, http2::kEndHeaders, stream, ""});
    return ReadUntil(answer.substr(3));  // without its length
  }
  void Ping(char id) { Send(PingFrame(id, /*is_answer=*/false)); }
  // Reads until `text` has come. False: the connection has ended, or it is too late.
  bool ReadUntil(const std::string& text) {
    while (received_.find(text) == std::string::npos) {
      if (!ReadMore()) return false;
    }
    return true;
  }
  // Reads to the end of the connection. False: there is none in time.
  bool ReadToTheEnd() {
    while (ReadMore()) {
    }
    return has_ended_;
  }

 private:
  bool ReadMore() {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now()).count();
    pollfd polled = {fd(), POLLIN, 0};
    if (has_ended_ || left <= 0 || poll(&polled, 1, static_cast<int>(left)) <= 0) return false;
    const std::string more = Receive();
    has_ended_ = more.empty();
    received_ += more;
    return !has_ended_;
  }
  using Clock = std::chrono::steady_clock;

  const Clock::time_point deadline_ = Clock::now() + kPatienceBelowDefaults;
  bool has_ended_ = false;
  std::string received_;
};

// Waits for the end of a channel's connection; false: it is still there.
bool WaitForEnd(grpc::Channel& channel) {
  return channel.WaitForStateChange(GRPC_CHANNEL_READY, Deadline());
}

StatusCode Read(const std::shared_ptr<grpc::Channel>& channel,
                std::chrono::system_clock::time_point deadline = Deadline()) {
  grpc::ClientContext context;
  context.set_deadline(deadline);
  v1::GetModelResponse response;
  return v1::ModelService::NewStub(channel)->GetModel(&context, {}, &response).error_code();
}

TEST(IdleTest, AConnectionWithoutCallsIsClosed) {
  TestServer server([](ServerOptions* options) {
    options->network.max_connection_idle = milliseconds(500);  // enough to begin a call
  });
  server.WaitUntilServing();
  // One with a call is not idle.
  const auto busy = server.NewChannel();
  Stream stream(busy);
  stream.Start("");
  const auto idle = server.NewChannel();
  EXPECT_EQ(Read(idle), StatusCode::OK);
  EXPECT_TRUE(WaitForEnd(*idle));
  EXPECT_EQ(busy->GetState(false), GRPC_CHANNEL_READY);
  EXPECT_EQ(Read(idle), StatusCode::OK);  // on another one
  stream.Cancel();
  EXPECT_TRUE(WaitForEnd(*busy));
}

TEST(AgeTest, AnOldConnectionIsClosedThoughACallRuns) {
  TestServer server([](ServerOptions* options) {
    options->network.max_connection_age = std::chrono::seconds(1);  // enough to begin a call
    options->network.max_connection_age_grace = kSoon;
  });
  server.WaitUntilServing();
  Stream stream(server.NewChannel());
  stream.Start("");
  EXPECT_EQ(stream.Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_TRUE(stream.acks().empty());
}

TEST(KeepaliveTest, AConnectionWhoseClientDoesNotAnswerIsClosed) {
  TestServer server([](ServerOptions* options) {
    options->network.keepalive_time = kSoon;
    options->network.keepalive_timeout = kSoon;
  });
  Client client(server);
  client.Greet();
  EXPECT_TRUE(client.ReadToTheEnd());
}

TEST(PingTest, AClientThatPingsTooOftenIsSentAway) {
  TestServer server(
      [](ServerOptions* options) { options->network.min_client_ping_interval = hours(1); });
  Client client(server);
  client.Greet();
  for (char id = 'a'; id <= 'z'; ++id) client.Ping(id);
  EXPECT_TRUE(client.ReadUntil("too_many_pings"));
}

// gRPC by itself takes one in five minutes, or in two hours where there are no calls.
TEST(PingTest, AClientMayPingAsOftenAsItIsToldWithoutCalls) {
  TestServer server(
      [](ServerOptions* options) { options->network.min_client_ping_interval = milliseconds(0); });
  Client client(server);
  client.Greet();
  for (char id = 'a'; id <= 'z'; ++id) {
    client.Ping(id);
    ASSERT_TRUE(client.ReadUntil(PingFrame(id, /*is_answer=*/true))) << id;
  }
}

TEST(HandshakeTest, AConnectionThatSaysNothingIsClosed) {
  TestServer server([](ServerOptions* options) { options->network.handshake_timeout = kSoon; });
  Client client(server);
  EXPECT_TRUE(client.ReadToTheEnd());
}

TEST(CallsOfAConnectionTest, OneMoreWaitsUntilOneHasEnded) {
  TestServer server([](ServerOptions* options) { options->network.max_calls_per_connection = 1; });
  server.WaitUntilServing();
  server.engine().HoldRequests();
  std::thread first([&] {
    v1::RecordRatingsRequest request;
    SetRating("u", "i", 1, request.add_events());
    grpc::ClientContext context;
    context.set_deadline(Deadline());
    v1::RecordRatingsResponse response;
    EXPECT_TRUE(server.ratings()->RecordRatings(&context, request, &response).ok());
  });
  server.engine().WaitForRequests(1);
  EXPECT_EQ(Read(server.channel(), std::chrono::system_clock::now() + kSoon),
            StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(Read(server.NewChannel()), StatusCode::OK);
  std::thread second([&] { EXPECT_EQ(Read(server.channel()), StatusCode::OK); });
  server.engine().Complete(0);
  first.join();
  second.join();
}

// Symptom: who took calls back at once had as many as it liked, 10 kB each, at the server.
TEST(CallsOfAConnectionTest, OneThatHasFarTooManyIsClosed) {
  const std::pair<const char*, int> kKinds[] = {
      {"127.0.0.1:0", AF_INET}, {"[::]:0", AF_INET}, {"[::]:0", AF_INET6}};
  for (const auto& [listen, family] : kKinds) {
    if (family == AF_INET6 && !TestSocket::HasIpv6()) continue;
    SCOPED_TRACE(testing::Message() << listen << ", family " << family);
    TestServer server([listen = listen](ServerOptions* options) {
      options->listen = listen;
      options->network.max_calls_per_connection = 2;  // 20 are still there for a moment
    });
    server.WaitUntilServing();
    Client client(server, family), other(server, family);
    client.Greet();
    other.Greet();
    for (uint32_t i = 0; i < 20; ++i) other.Begin(1 + 2 * i, kGetModel);
    other.Ping('a');
    ASSERT_TRUE(other.ReadUntil(PingFrame('a', /*is_answer=*/true)));
    for (uint32_t i = 0; i < 30; ++i) client.Begin(1 + 2 * i, kGetModel);
    EXPECT_TRUE(client.ReadToTheEnd());
    other.Ping('b');
    EXPECT_TRUE(other.ReadUntil(PingFrame('b', /*is_answer=*/true)));
    EXPECT_EQ(Read(server.channel()), StatusCode::OK);
  }
}

// Symptom: once in millions of calls a client that made one after the other lost its connection. On
// a busy machine gRPC may come late to dispose of calls that were answered long ago.
TEST(CallsOfAConnectionTest, ThoseThatWereAnsweredDoNotCount) {
  TestServer server([](ServerOptions* options) {
    options->network.max_calls_per_connection = 1;  // 10 are too many
  });
  server.WaitUntilServing();
  Client client(server);
  client.Greet(/*window=*/0);  // for answers that cannot be sent
  for (uint32_t i = 0; i < 100; ++i) ASSERT_TRUE(client.CallUntilAnswered(1 + 2 * i)) << i;
}

}  // namespace
}  // namespace factord
