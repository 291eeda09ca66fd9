// Connections that die without a word, and proxies of the environment.
#include "client/channel.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/fake_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::SizeIs;

// The address of 127.0.0.1 with this port.
sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Passes on what a client and a server say to each other, until it is told to freeze.
class Proxy {
 public:
  explicit Proxy(const std::string& target) {
    int port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(target.substr(target.rfind(':') + 1), &port));
    server_ = Loopback(port);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listening_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listening_, 10), 0);
    EXPECT_EQ(getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Loop(); });
  }
  ~Proxy() {
    done_ = true;
    thread_.join();
    close(listening_);
    for (const auto& [client, server] : pairs_) {
      close(client);
      close(server);
    }
  }

  std::string target() const { return absl::StrCat("127.0.0.1:", port_); }
  int connections() const { return connections_; }
  // From now on nothing passes on the connections that there are, as if every packet was lost. They
  // stay open; new ones are made as before.
  void Freeze() {
    freeze_ = true;
    while (freeze_) absl::SleepFor(absl::Milliseconds(1));
  }

 private:
  void Loop() {
    size_t first = 0;  // of those that are not frozen
    while (!done_) {
      if (freeze_) first = pairs_.size();
      freeze_ = false;
      std::vector<pollfd> polled = {{listening_, POLLIN, 0}};
      for (size_t i = first; i < pairs_.size(); ++i) {
        polled.push_back({pairs_[i].first, POLLIN, 0});
        polled.push_back({pairs_[i].second, POLLIN, 0});
      }
      poll(polled.data(), polled.size(), /*timeout=*/5);
      for (size_t i = 1; i < polled.size(); ++i) {
        if (polled[i].revents != 0) Pass(polled[i].fd, polled[((i - 1) ^ 1) + 1].fd);
      }
      if (polled[0].revents != 0) Accept();
    }
  }

  void Accept() {
    const int client = accept(listening_, nullptr, nullptr);
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(server, reinterpret_cast<sockaddr*>(&server_), sizeof(server_)), 0);
    pairs_.emplace_back(client, server);
    ++connections_;
  }

  static void Pass(int from, int to) {
    char buffer[1 << 14];
    const ssize_t bytes = read(from, buffer, sizeof(buffer));
    if (bytes > 0) {
      EXPECT_EQ(send(to, buffer, static_cast<size_t>(bytes), MSG_NOSIGNAL), bytes);
    } else {
      shutdown(to, SHUT_WR);
    }
  }

  sockaddr_in server_;
  int listening_ = -1;
  int port_ = 0;
  std::atomic<bool> done_{false};
  std::atomic<bool> freeze_{false};
  std::atomic<int> connections_{0};
  std::vector<std::pair<int, int>> pairs_;
  std::thread thread_;
};

// Much less than the client's own, so that the tests are quick.
constexpr Keepalive kQuick = {absl::Milliseconds(300), absl::Seconds(1)};

std::shared_ptr<grpc::Channel> MakeChannel(const Proxy& proxy) {
  return (*Channels::Create({.target = proxy.target()}, kQuick))->Current();
}

// Symptom: calls and streams went on to use a connection whose packets were lost, for minutes.
TEST(ChannelTest, AConnectionThatDiedIsNoticedByCalls) {
  FakeServer server;
  Proxy proxy(server.target());
  const auto stub = v1::ModelService::NewStub(MakeChannel(proxy));
  const auto call = [&](absl::Duration timeout) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    v1::GetModelResponse response;
    return stub->GetModel(&context, {}, &response);
  };
  ASSERT_TRUE(call(absl::Seconds(30)).ok());
  ASSERT_EQ(proxy.connections(), 1);
  proxy.Freeze();
  EXPECT_EQ(call(absl::Seconds(30)).error_code(), grpc::StatusCode::UNAVAILABLE);
  // The channel may take a moment to see it, too.
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (!call(absl::Seconds(30)).ok()) ASSERT_LT(absl::Now(), end);
  EXPECT_GE(proxy.connections(), 2);
}

TEST(ChannelTest, AConnectionThatDiedIsNoticedWithoutCalls) {
  FakeServer server;
  Proxy proxy(server.target());
  const auto channel = MakeChannel(proxy);
  const auto until = [] { return absl::ToChronoTime(absl::Now() + absl::Seconds(30)); };
  ASSERT_TRUE(channel->WaitForConnected(until()));
  // Until gRPC would not ask any more by itself.
  EXPECT_FALSE(channel->WaitForStateChange(
      GRPC_CHANNEL_READY, absl::ToChronoTime(absl::Now() + absl::Milliseconds(1'500))));
  proxy.Freeze();
  EXPECT_TRUE(channel->WaitForStateChange(GRPC_CHANNEL_READY, until()));
}

TEST(ChannelTest, AStreamWhoseConnectionDiedIsResumed) {
  FakeServer server;
  Proxy proxy(server.target());
  auto stream = RatingStream::Create([channel = MakeChannel(proxy)] { return channel; },
                                     {.producer_id = "p", .ack_timeout = std::chrono::minutes(2)});
  ASSERT_TRUE(stream.ok()) << stream.status();
  const auto write = [&] {
    v1::Rating rating;
    rating.set_user_id("ann");
    rating.set_item_id("casablanca");
    return (*stream)->Write(rating);
  };
  ASSERT_TRUE(write().ok());
  ASSERT_TRUE((*stream)->Flush().ok());
  proxy.Freeze();
  ASSERT_TRUE(write().ok());
  EXPECT_TRUE((*stream)->Close().ok());
  EXPECT_GE((*stream)->stats().reconnects, 1);
  EXPECT_THAT(server.applied(), SizeIs(2));
}

// Sets a variable of the environment for as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    const char* const former = std::getenv(name);
    if (former != nullptr) former_ = former;
    setenv(name, value.c_str(), /*overwrite=*/1);
  }
  ~Variable() {
    if (former_.has_value()) {
      setenv(name_, former_->c_str(), /*overwrite=*/1);
    } else {
      unsetenv(name_);
    }
  }

 private:
  const char* const name_;
  std::optional<std::string> former_;
};

// Symptom: where the environment has a proxy, `factorctl health` failed in the server's own
// container, and a token that may only go to this machine went to the proxy in plain text.
TEST(ChannelTest, AServerOnThisMachineIsNotReachedThroughAProxy) {
  FakeServer server, other;
  server.RequireToken("0123456789abcdef");
  Proxy proxy(other.target());
  const Variable variable("http_proxy", "http://" + proxy.target());
  const Variable grpc_variable("grpc_proxy", "http://" + proxy.target());
  const Variable none("no_proxy", ""), no_grpc("no_grpc_proxy", "");
  const std::string port = server.target().substr(server.target().rfind(':'));
  for (const std::string host : {"127.0.0.1", "localhost", "dns:///localhost"}) {
    const auto client = Client::Create({.target = host + port, .token = "0123456789abcdef"});
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_TRUE((*client)->GetModel({}).ok()) << host;
    EXPECT_TRUE((*Client::Create({.target = host + port}))->CheckHealth("").ok()) << host;
  }
  EXPECT_EQ(proxy.connections(), 0);
  // Other machines are, as the environment says.
  const auto remote = Client::Create({.target = "ratings.example:7070"});
  (void)(*remote)->CheckHealth("", absl::Seconds(2));
  EXPECT_GE(proxy.connections(), 1);
}

}  // namespace
}  // namespace factord
