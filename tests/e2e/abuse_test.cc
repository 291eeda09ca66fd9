// Clients that mean harm, or are broken: memory stays bounded, and others are served.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/coding.h"
#include "base/http2.h"
#include "base/temp_folder.h"
#include "base/test_http2_client.h"
#include "base/test_socket.h"
#include "client/test_certificates.h"
#include "server/test_channel.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

// AddressSanitizer keeps what was freed.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kMemoryTells = false;
#else
constexpr bool kMemoryTells = true;
#endif

int64_t ResidentBytes(const ServerProcess& server) {
  std::ifstream file("/proc/" + std::to_string(server.pid()) + "/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// The most that was ever resident, since the last ForgetPeak.
int64_t PeakBytes(const ServerProcess& server) {
  std::ifstream file("/proc/" + std::to_string(server.pid()) + "/status");
  std::string word;
  while (file >> word && word != "VmHWM:") {
  }
  int64_t kilobytes = 0;
  file >> kilobytes;
  return kilobytes << 10;
}
void ForgetPeak(const ServerProcess& server) {
  std::ofstream("/proc/" + std::to_string(server.pid()) + "/clear_refs") << 5;
}
// Processor time so far, in clock ticks.
int64_t CpuTicks(const ServerProcess& server) {
  std::ifstream file("/proc/" + std::to_string(server.pid()) + "/stat");
  std::string stat{std::istreambuf_iterator<char>(file), {}};
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  int64_t user = 0, system = 0;
  fields >> user >> system;
  return user + system;
}
// Until the server has done what there was to do.
void WaitUntilIdle(const ServerProcess& server) {
  int64_t before = 0;
  for (int64_t now = CpuTicks(server); now > before + 1; now = CpuTicks(server)) {
    before = now;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}
// It has grown by less than `bytes` since the peak was `before`.
void ExpectPeakWithin(const ServerProcess& server, int64_t before, int64_t bytes,
                      const std::string& what) {
  const int64_t growth = PeakBytes(server) - before;
  std::printf("%s: %lld bytes\n", what.c_str(), static_cast<long long>(growth));
  if (kMemoryTells) {
    EXPECT_LT(growth, bytes) << what;
  }
}

using Client = TestHttp2Client;

// Sends all of a large message but its last byte, as fast as the server takes it.
class HalfMessage : public Client {
 public:
  explicit HalfMessage(int port) : Client(port) {
    const int on = 1;  // or each small step would wait for the one before to be acknowledged
    setsockopt(fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    Greet();
    Begin(1, "/factord.v1.RatingService/RecordRatings");
    std::string head;
    http2::PutMessageHead(&head, kSize);
    Queue(head);
  }

  // What there is to wait for before the next Step.
  pollfd events() const {
    return {has_ended_ ? -1 : fd(), static_cast<int16_t>(out_.empty() ? POLLIN : POLLIN | POLLOUT),
            0};
  }
  // Takes what has come and sends what it may.
  void Step() {
    char buffer[65'536];
    const ssize_t received = recv(fd(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (received == 0 || (received < 0 && errno != EAGAIN)) has_ended_ = true;
    if (received > 0) in_.append(buffer, static_cast<size_t>(received));
    while (TakeFrame()) {
    }
    while (out_.size() < kMaxData) {
      const int64_t bytes = std::min({left_, kMaxData, window_, connection_window_});
      if (bytes <= 0) break;
      left_ -= bytes;
      Queue(std::string(static_cast<size_t>(bytes), 'x'));
    }
    const ssize_t sent = send(fd(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) out_.erase(0, static_cast<size_t>(sent));
  }
  bool has_ended() const { return has_ended_; }
  bool is_sent() const { return left_ == 0 && out_.empty(); }

 private:
  static constexpr int64_t kSize = 15 << 20;
  static constexpr int64_t kMaxData = http2::kMaxFrame;

  void Queue(const std::string& data) {
    http2::PutFrame(&out_, {http2::kData, 0, 1, data});
    window_ -= static_cast<int64_t>(data.size());
    connection_window_ -= static_cast<int64_t>(data.size());
  }
  // False: there is none yet.
  bool TakeFrame() {
    const auto frame = http2::FirstFrame(in_);
    if (!frame.has_value()) return false;
    const bool is_answer = (frame->flags & http2::kAck) != 0;
    Reader payload(frame->payload);
    if (frame->type == http2::kReset || frame->type == http2::kGoAway) has_ended_ = true;
    if (frame->type == http2::kWindowUpdate) {
      (frame->stream == 0 ? connection_window_ : window_) += payload.BigEndian32();
    }
    if (frame->type == http2::kPing && !is_answer) {
      http2::PutFrame(&out_, {http2::kPing, http2::kAck, 0, frame->payload});
    }
    if (frame->type == http2::kSettings && !is_answer) {
      while (payload.remaining() > 0) {
        const int high = payload.Byte();
        const int setting = high << 8 | payload.Byte();
        const int64_t value = payload.BigEndian32();
        if (setting == http2::kInitialWindowSize)
          window_ += value - std::exchange(initial_window_, value);
      }
      http2::PutFrame(&out_, {http2::kSettings, http2::kAck, 0, ""});
    }
    in_.erase(0, frame->bytes());
    return true;
  }

  int64_t left_ = kSize - 1;
  int64_t initial_window_ = http2::kInitialWindow;
  int64_t window_ = http2::kInitialWindow;
  int64_t connection_window_ = http2::kInitialWindow;
  bool has_ended_ = false;
  std::string in_;
  std::string out_;
};

v1::RecordRatingsRequest OneRating() {
  v1::RecordRatingsRequest request;
  SetRating("u", "i", 1, request.add_events());
  return request;
}

// TLS 1.3, from the client's side; believes any server.
class TlsSocket {
 public:
  explicit TlsSocket(int port) : socket_(port), ssl_(SSL_new(Context())) {
    SSL_set_fd(ssl_.get(), socket_.fd());
    EXPECT_EQ(SSL_connect(ssl_.get()), 1);
  }
  void Send(std::string_view bytes) {
    (void)SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  }
  std::string Receive() {
    char buffer[4096];
    const int n = SSL_read(ssl_.get(), buffer, sizeof(buffer));
    return std::string(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  }

 private:
  struct Deleter {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  static SSL_CTX* Context() {
    static const std::unique_ptr<SSL_CTX, Deleter> context = [] {
      std::unique_ptr<SSL_CTX, Deleter> made(SSL_CTX_new(TLS_client_method()));
      const unsigned char kHttp2[] = {2, 'h', '2'};
      SSL_CTX_set_alpn_protos(made.get(), kHttp2, sizeof(kHttp2));
      SSL_CTX_set_mode(made.get(), SSL_MODE_RELEASE_BUFFERS);
      return made;
    }();
    return context.get();
  }

  TestSocket socket_;
  std::unique_ptr<SSL, Deleter> ssl_;
};

// Whether the limit of open files allows so many connections; it is raised as far as it may be.
bool CanOpen(rlim_t connections) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kOthers = 1'000;
  return limit.rlim_max >= connections + kOthers;
}

constexpr int kIdleConnections = 10'000;

// Opens them, says hello on each and then nothing more. Prints and returns what each costs the
// server, in bytes.
template <typename Connection>
int64_t CostOfIdleConnections(const std::string& kind, const ServerProcess& server,
                              const std::function<void()>& call) {
  call();
  const int64_t before = ResidentBytes(server);
  std::vector<std::unique_ptr<TestHttp2ClientOver<Connection>>> idle;
  for (int i = 0; i < kIdleConnections && !testing::Test::HasFailure(); ++i) {
    idle.push_back(std::make_unique<TestHttp2ClientOver<Connection>>(server.port()));
    idle.back()->Greet();
  }
  for (const auto& connection : idle) EXPECT_NE(connection->Receive(), "");
  call();
  const int64_t each = (ResidentBytes(server) - before) / kIdleConnections;
  std::printf("%d idle %s connections: %lld bytes each\n", kIdleConnections, kind.c_str(),
              static_cast<long long>(each));
  return each;
}

TEST(AbuseTest, TenThousandIdleConnectionsLeaveRoomForOthers) {
  if (!CanOpen(kIdleConnections)) GTEST_SKIP() << "the limit of open files (ulimit -n) is too low";
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  const int64_t each = CostOfIdleConnections<TestSocket>(
      "plain", server, [&] { RecordRatings(server, OneRating()); });
  if (kMemoryTells) {
    EXPECT_LT(each, 100'000);
  }
  EXPECT_EQ(server.Stop(), kExitOk);
}

// A server that speaks TLS, and serves.
class TlsServer : public ServerProcess {
 public:
  explicit TlsServer(const TempFolder& dir) : TlsServer(dir, TestCa("CA")) {}

  // A call of a new client.
  void ExpectServes() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel =
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port()),
                                  grpc::SslCredentials({.pem_root_certs = ca_}), arguments);
    WaitForConnection(*channel, kPatience);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::RecordRatingsResponse response;
    const grpc::Status status =
        v1::RatingService::NewStub(channel)->RecordRatings(&context, OneRating(), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

 private:
  TlsServer(const TempFolder& dir, TestCa ca)
      : ServerProcess(Flags(dir, ca.Issue("server", {}, /*with_loopback=*/true))), ca_(ca.pem()) {
    EXPECT_TRUE(listening() && WaitForOutput("serving")) << output();
  }
  static std::vector<std::string> Flags(const TempFolder& dir, const TestCertificate& certificate) {
    std::ofstream(dir / "key") << certificate.key;
    std::ofstream(dir / "cert") << certificate.certificate;
    return {"--data_dir=" + (dir / "data"), "--tls_key_file=" + (dir / "key"),
            "--tls_cert_file=" + (dir / "cert")};
  }

  const std::string ca_;
};

TEST(AbuseTest, TenThousandIdleTlsConnectionsLeaveRoomForOthers) {
  if (!CanOpen(kIdleConnections)) GTEST_SKIP() << "the limit of open files (ulimit -n) is too low";
  TempFolder dir;
  TlsServer server(dir);
  const int64_t each =
      CostOfIdleConnections<TlsSocket>("TLS", server, [&] { server.ExpectServes(); });
  if (kMemoryTells) {
    EXPECT_LT(each, 200'000);
  }
  EXPECT_EQ(server.Stop(), kExitOk);
}

// Connections that stop at every step before their first call, thousands together.
TEST(AbuseTest, ConnectionsThatAreHalfOpenLeaveRoomForOthersAndEnd) {
  constexpr int kOfEachKind = 1'000;
  if (!CanOpen(4 * kOfEachKind)) GTEST_SKIP() << "the limit of open files (ulimit -n) is too low";
  TempFolder dir;
  TlsServer server(dir);
  server.ExpectServes();
  const int64_t before = ResidentBytes(server);
  // The beginning of a handshake record, and of its ClientHello.
  const std::string half_hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  std::vector<std::unique_ptr<TestSocket>> without_tls;
  std::vector<std::unique_ptr<TlsSocket>> with_tls;
  for (int i = 0; i < kOfEachKind && !HasFailure(); ++i) {
    without_tls.push_back(std::make_unique<TestSocket>(server.port()));
    without_tls.push_back(std::make_unique<TestSocket>(server.port()));
    without_tls.back()->Send(half_hello);
    with_tls.push_back(std::make_unique<TlsSocket>(server.port()));
    with_tls.push_back(std::make_unique<TlsSocket>(server.port()));
    with_tls.back()->Send("PRI * HTTP/2.0");
  }
  server.ExpectServes();
  const int64_t each = (ResidentBytes(server) - before) / (4 * kOfEachKind);
  std::printf("%d half-open connections: %lld bytes each\n", 4 * kOfEachKind,
              static_cast<long long>(each));
  if (kMemoryTells) {
    EXPECT_LT(each, 200'000);
  }
  const auto wait_for_the_end = [](auto& connection) {
    while (!connection->Receive().empty()) {
    }
  };
  for (const auto& connection : without_tls) wait_for_the_end(connection);
  for (const auto& connection : with_tls) wait_for_the_end(connection);
  EXPECT_EQ(server.Stop(), kExitOk);
}

// Two clients that each `call` fifty times take all the places there are, until the time of their
// calls is over.
void ExpectTheirTimeIsBounded(const std::function<void(Client* client, uint32_t stream)>& call) {
  TempFolder dir;
  ServerProcess server(
      {"--data_dir=" + (dir / "data"), "--max_call_time=500ms", "--max_concurrent_calls=60"});
  server.WaitUntilServing();
  std::vector<std::unique_ptr<Client>> clients;
  for (int c = 0; c < 2; ++c) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->Greet(0);
    for (uint32_t i = 0; i < 50; ++i) call(clients.back().get(), 1 + 2 * i);
  }
  const auto model = v1::ModelService::NewStub(server.channel());
  bool was_refused = false, was_served = false;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!(was_refused && was_served) && std::chrono::steady_clock::now() < deadline) {
    grpc::ClientContext context;
    v1::GetModelResponse response;
    const auto code = model->GetModel(&context, {}, &response).error_code();
    was_refused = was_refused || code == grpc::StatusCode::RESOURCE_EXHAUSTED;
    was_served = was_served || (was_refused && code == grpc::StatusCode::OK);
  }
  EXPECT_TRUE(was_refused);
  EXPECT_TRUE(was_served);
}

TEST(AbuseTest, ThoseWhoDoNotReadTheirAnswersLoseTheirCalls) {
  ExpectTheirTimeIsBounded([](Client* client, uint32_t stream) {
    client->Call(stream, "/factord.v1.ModelService/GetModel");
  });
}

TEST(AbuseTest, ThoseWhoDoNotSendTheirRequestsLoseTheirCalls) {
  ExpectTheirTimeIsBounded([](Client* client, uint32_t stream) {
    client->Begin(stream, "/factord.v1.RatingService/RecordRatings");
  });
}

// Those who read are served so many times, however long others have their answers kept. Some of
// their calls may be refused, which names `limit`, or, if the server cannot send for a second, be
// among the cancelled.
void ExpectServed(const ServerProcess& server, int times,
                  const std::string& limit = "--max_unread_answer_bytes") {
  const auto stub = v1::RecommendationService::NewStub(server.channel());
  v1::RecommendItemsRequest request;
  request.set_user_id("u");
  int served = 0;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (served < times && std::chrono::steady_clock::now() < deadline) {
    grpc::ClientContext context;
    v1::RecommendItemsResponse response;
    const grpc::Status status = stub->RecommendItems(&context, request, &response);
    served += status.ok();
    if (status.ok()) continue;
    if (status.error_code() != grpc::StatusCode::CANCELLED) {
      EXPECT_THAT(status.error_message(), testing::HasSubstr(limit));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(served, times);
}

// Answers of 270 kB to 1,500 calls, none of which is read, once were a gigabyte.
TEST(AbuseTest, AnswersThatAreNotReadStayWithinTheirBudget) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--max_unread_answer_bytes=32MiB"});
  server.WaitUntilServing();
  v1::RecordRatingsRequest many;
  for (int i = 0; i < 1000; ++i) {
    SetRating("u", std::string(250, 'i') + std::to_string(i), 3, many.add_events());
  }
  RecordRatings(server, many);
  v1::RecommendItemsRequest request;
  request.set_user_id("somebody else");
  request.set_max_items(1000);
  ForgetPeak(server);
  const int64_t before = PeakBytes(server);
  std::vector<std::unique_ptr<Client>> clients;
  for (int c = 0; c < 15; ++c) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->Greet(0);
    for (uint32_t i = 0; i < 100; ++i) {
      clients.back()->Call(1 + 2 * i, "/factord.v1.RecommendationService/RecommendItems",
                           request.SerializeAsString());
    }
  }
  ExpectServed(server, 100);
  // Until all calls have been handled.
  for (int64_t peak = 0; peak != PeakBytes(server);) {
    peak = PeakBytes(server);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  ExpectPeakWithin(server, before, 150 << 20, "1,500 answers that are not read");
}

TEST(AbuseTest, HealthIsToldHoweverManyDoNotReadIt) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  std::vector<std::unique_ptr<Client>> clients;
  for (int c = 0; c < 11; ++c) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->Greet(0);
    for (uint32_t i = 0; i < 100; ++i) {
      clients.back()->Call(1 + 2 * i, "/grpc.health.v1.Health/Check");
    }
  }
  // The oldest are dropped beyond some hundred: some calls end with a frame RST_STREAM, long before
  // the connections do since nobody answers their pings.
  const std::string reset("\0\0\4\3\0", 5);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<std::string> received(clients.size());
  bool was_reset = false;
  while (!was_reset && std::chrono::steady_clock::now() < deadline) {
    for (size_t c = 0; c < clients.size(); ++c) {
      pollfd polled = {clients[c]->fd(), POLLIN, 0};
      if (poll(&polled, 1, 10) > 0) received[c] += clients[c]->Receive();
      was_reset = was_reset || received[c].find(reset) != std::string::npos;
    }
  }
  EXPECT_TRUE(was_reset);
  const auto stub = grpc::health::v1::Health::NewStub(server.channel());
  // While others still come, one that waits for its turn may be among the oldest.
  int told = 0;
  while (told < 100 && std::chrono::steady_clock::now() < deadline) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckResponse response;
    told += stub->Check(&context, {}, &response).ok();
  }
  EXPECT_EQ(told, 100);
}

TEST(AbuseTest, HealthHasItsRoomAtEachPort) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--health_listen=127.0.0.1:0"});
  server.WaitUntilServing();
  std::vector<std::unique_ptr<Client>> clients;
  const auto connect = [&]() -> Client* {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->Greet();
    return clients.back().get();
  };
  const auto probe = [](int port,
                        const std::function<grpc::StatusCode(grpc::health::v1::Health::Stub*,
                                                             grpc::ClientContext*)>& call) {
    const auto stub = grpc::health::v1::Health::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    return call(stub.get(), &context);
  };
  const auto check = [](grpc::health::v1::Health::Stub* stub, grpc::ClientContext* context) {
    grpc::health::v1::HealthCheckResponse response;
    return stub->Check(context, {}, &response).error_code();
  };
  // The first status; without one, why not.
  const auto watch = [](grpc::health::v1::Health::Stub* stub, grpc::ClientContext* context) {
    const auto reader = stub->Watch(context, {});
    grpc::health::v1::HealthCheckResponse response;
    if (!reader->Read(&response)) return reader->Finish().error_code();
    context->TryCancel();
    (void)reader->Finish();
    return grpc::StatusCode::OK;
  };
  Client* const silent = connect();
  for (uint32_t i = 0; i < 1'000; ++i) silent->Begin(1 + 2 * i, "/grpc.health.v1.Health/Check");
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  // Twice: the place of the probe before may just have come free.
  for (int refused = 0; refused < 2 && std::chrono::steady_clock::now() < deadline;) {
    Client* const watching = connect();
    for (uint32_t i = 0; i < 100; ++i) watching->Call(1 + 2 * i, "/grpc.health.v1.Health/Watch");
    refused += probe(server.port(), watch) == grpc::StatusCode::RESOURCE_EXHAUSTED;
  }
  EXPECT_LT(std::chrono::steady_clock::now(), deadline);
  EXPECT_EQ(probe(server.port(), check), grpc::StatusCode::OK);
  EXPECT_EQ(probe(server.health_port(), check), grpc::StatusCode::OK);
  EXPECT_EQ(probe(server.health_port(), watch), grpc::StatusCode::OK);
}

// Each such client once made a stop wait for half of --drain_timeout.
TEST(AbuseTest, ThoseWhoDoNotReadTheirAnswersDoNotDelayAStop) {
  TempFolder dir;
  ServerProcess server(
      {"--data_dir=" + (dir / "data"), "--drain_timeout=120s", "--max_concurrent_calls=2"});
  server.WaitUntilServing();
  Client connection(server.port());
  connection.Greet(0);
  v1::StreamRatingsRequest start;
  start.mutable_start()->set_producer_id("p");
  connection.Call(1, "/factord.v1.ModelService/GetModel");
  connection.Call(3, "/factord.v1.RatingService/StreamRatings", start.SerializeAsString());
  // Until both are there.
  const auto model = v1::ModelService::NewStub(server.channel());
  grpc::StatusCode code = grpc::StatusCode::OK;
  while (code != grpc::StatusCode::RESOURCE_EXHAUSTED && !testing::Test::HasFailure()) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::GetModelResponse response;
    code = model->GetModel(&context, {}, &response).error_code();
    EXPECT_NE(code, grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  const auto begin = std::chrono::steady_clock::now();
  server.Signal(SIGTERM);
  const Ended ended = server.Wait();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(ended.exit_code, kExitOk);
  EXPECT_THAT(ended.output, testing::HasSubstr("stopped cleanly"));
  EXPECT_THAT(ended.output, testing::Not(testing::HasSubstr("cancelling")));
}

// Each stream that was read more slowly once stayed in memory for good, with its last message.
TEST(AbuseTest, PacedStreamsLeaveNothingBehind) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--client_events_per_second=20"});
  server.WaitUntilServing();
  const auto stub = v1::RatingService::NewStub(server.channel());
  const auto run_stream = [&] {
    grpc::ClientContext context;
    auto stream = stub->StreamRatings(&context);
    v1::StreamRatingsRequest message;
    v1::StreamRatingsResponse response;
    message.mutable_start();
    stream->Write(message);
    ASSERT_TRUE(stream->Read(&response));
    message.mutable_batch()->set_first_number(1);
    SetRating("u", "i", 1, message.mutable_batch()->add_events());
    message.mutable_batch()->mutable_events(0)->set_event_id(std::string(8 << 20, 'x'));
    stream->Write(message);
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.ack().rejected_size(), 1);
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  };
  for (int i = 0; i < 25; ++i) run_stream();  // after these, the client is over its rate
  const int64_t before = ResidentBytes(server);
  constexpr int kStreams = 40;
  for (int i = 0; i < kStreams; ++i) run_stream();
  const int64_t growth = ResidentBytes(server) - before;
  std::printf("%d paced streams: %lld bytes\n", kStreams, static_cast<long long>(growth));
  if (kMemoryTells) {
    EXPECT_LT(growth, 100 << 20);
  }
}

TEST(AbuseTest, HalfMessagesOfManyCostNoMoreThanTheNetworkMayHave) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--network_memory_bytes=16MiB"});
  server.WaitUntilServing();
  RecordRatings(server, OneRating());
  const int64_t before = ResidentBytes(server);
  constexpr int kClients = 20;  // with 300 MiB in all
  std::vector<std::unique_ptr<HalfMessage>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<HalfMessage>(server.port()));
  }
  // Until the server has ended the calls of most, or has what most of them send.
  int ended = 0, sent = 0;
  const auto deadline = std::chrono::steady_clock::now() + kPatience / 2;
  while (std::max(ended, sent) < kClients / 2 && std::chrono::steady_clock::now() < deadline) {
    std::vector<pollfd> events;
    for (const auto& client : clients) events.push_back(client->events());
    poll(events.data(), events.size(), /*timeout=*/1'000);
    ended = sent = 0;
    for (const auto& client : clients) {
      if (!client->has_ended()) client->Step();
      ended += client->has_ended();
      sent += client->is_sent();
    }
  }
  const int64_t growth = PeakBytes(server) - before;
  std::printf("%d half messages: %d sent, %d ended by the server, which grew by %lld bytes\n",
              kClients, sent, ended, static_cast<long long>(growth));
  EXPECT_GE(ended, kClients / 2);
  if (kMemoryTells) {
    EXPECT_LT(growth, 100 << 20);
  }
  // Others are served as soon as there is room again.
  clients.clear();
  const auto stub = v1::RatingService::NewStub(server.channel());
  const auto end = std::chrono::system_clock::now() + kPatience / 2;
  grpc::Status status;
  do {
    grpc::ClientContext context;
    context.set_deadline(end);
    v1::RecordRatingsResponse response;
    status = stub->RecordRatings(&context, OneRating(), &response);
  } while (!status.ok() && std::chrono::system_clock::now() < end);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(AbuseTest, WhoMayNotCallIsToldBeforeTheMessage) {
  TempFolder dir;
  std::ofstream(dir / "tokens") << "reader read 0123456789abcdef\n";
  ServerProcess server({"--data_dir=" + (dir / "data"), "--token_file=" + (dir / "tokens")});
  server.WaitUntilServing();
  Client client(server.port());
  client.Greet();
  client.Begin(1, "/factord.v1.RatingService/RecordRatings");
  std::string answer;
  while (answer.find("no token") == std::string::npos) {
    const std::string more = client.Receive();
    ASSERT_NE(more, "") << answer;
    answer += more;
  }
}

// Clients without a token that send no message and acknowledge no settings, without which gRPC 1.51
// does not hold them to the calls of a connection: these once were 1.8 GB, for good.
TEST(AbuseTest, CallsThatAreOnlyBegunDoNotStay) {
  constexpr int kFloods = 6, kCalls = 9'000;
  TempFolder dir;
  std::ofstream(dir / "tokens") << "reader read 0123456789abcdef\n";
  // Of one arena: glibc keeps for each what was freed there, and floods meet different ones.
  ServerProcess server({"--data_dir=" + (dir / "data"), "--token_file=" + (dir / "tokens")},
                       {"MALLOC_ARENA_MAX=1"});
  server.WaitUntilServing();
  ForgetPeak(server);
  const int64_t before = PeakBytes(server);
  std::vector<std::unique_ptr<Client>> clients;
  int64_t served = 0;
  // Who has a token is served all the time.
  const auto read = [&] {
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer 0123456789abcdef");
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    v1::GetModelResponse response;
    const grpc::Status status =
        v1::ModelService::NewStub(server.channel())->GetModel(&context, {}, &response);
    // gRPC itself may be short of memory for a moment.
    EXPECT_THAT(status.error_code(),
                testing::AnyOf(grpc::StatusCode::OK, grpc::StatusCode::RESOURCE_EXHAUSTED))
        << status.error_message();
    served += status.ok();
  };
  for (int f = 0; f < (kMemoryTells ? kFloods : 1) && !HasFailure(); ++f) {
    std::atomic<bool> is_over = false;
    std::thread flood([&] {
      clients.push_back(std::make_unique<Client>(server.port()));
      clients.back()->Greet();
      for (uint32_t i = 0; i < kCalls; ++i) {
        constexpr int kMoreHeaders = 55;  // nearly as many as gRPC takes
        clients.back()->Begin(1 + 2 * i, "/factord.v1.RatingService/RecordRatings", kMoreHeaders);
      }
      is_over = true;
    });
    while (!is_over && !HasFailure()) read();
    flood.join();
    read();
    WaitUntilIdle(server);
  }
  EXPECT_GT(served, 0);
  std::printf("%lld calls were served meanwhile\n", static_cast<long long>(served));
  ExpectPeakWithin(server, before, 300 << 20, "54,000 calls that were begun");
}

TEST(AbuseTest, AStreamWhoseAcknowledgementsAreNotReadIsCancelled) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--max_call_time=500ms"});
  server.WaitUntilServing();
  const int64_t before = ResidentBytes(server);
  grpc::ClientContext context;
  auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
  v1::StreamRatingsRequest message;
  message.mutable_start();
  ASSERT_TRUE(stream->Write(message));
  // Every event is rejected, so that the acknowledgements are long.
  for (int i = 0; i < 100; ++i) SetRating("u", "i", -1, message.mutable_batch()->add_events());
  int64_t sent = 0;
  while (true) {
    message.mutable_batch()->set_first_number(sent + 1);
    if (!stream->Write(message)) break;
    sent += message.batch().events_size();
    ASSERT_LT(sent, 50'000'000);
  }
  v1::StreamRatingsResponse response;
  while (stream->Read(&response)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_FALSE(status.ok());
  std::printf("ended after %lld events: %d %s; the server grew by %lld bytes\n",
              static_cast<long long>(sent), status.error_code(), status.error_message().c_str(),
              static_cast<long long>(ResidentBytes(server) - before));
  if (kMemoryTells) {
    EXPECT_LT(ResidentBytes(server) - before, 200 << 20);
  }
  RecordRatings(server, OneRating());
}

// Forty streams with nothing but bad events, whose acknowledgements nobody reads, once were 500 MB.
TEST(AbuseTest, StreamsWhoseAcknowledgementsAreNotReadStayWithinTheirBudget) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--max_unread_answer_bytes=32MiB"});
  server.WaitUntilServing();
  ForgetPeak(server);
  const int64_t before = PeakBytes(server);
  std::vector<std::thread> clients;
  for (int c = 0; c < 40; ++c) {
    clients.emplace_back([&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
      auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
      v1::StreamRatingsRequest message;
      message.mutable_start();
      stream->Write(message);
      for (int i = 0; i < 5'000; ++i) SetRating("", "", -1, message.mutable_batch()->add_events());
      for (int64_t sent = 0; sent < 60'000; sent += message.batch().events_size()) {
        message.mutable_batch()->set_first_number(sent + 1);
        if (!stream->Write(message)) break;
      }
      std::this_thread::sleep_for(std::chrono::seconds(2));
      context.TryCancel();
      stream->Finish();
    });
  }
  ExpectServed(server, 20);
  for (std::thread& client : clients) client.join();
  ExpectPeakWithin(server, before, 250 << 20, "forty streams that do not read");
}

// Four clients guess as fast as they can, without a rate for them and with one.
TEST(AbuseTest, GuessedTokensLeaveRoomForThoseWhoKnowOne) {
  const std::string kToken = "reader-0123456789";
  for (const char* const rate : {"0", "100"}) {
    TempFolder dir;
    std::ofstream(dir / "tokens") << "reader read " << kToken << "\n";
    ServerProcess server({"--data_dir=" + (dir / "data"), "--token_file=" + (dir / "tokens"),
                          absl::StrCat("--client_calls_per_second=", rate)});
    server.WaitUntilServing();
    const auto get_model = [&](const std::shared_ptr<grpc::Channel>& channel,
                               const std::string& token) {
      grpc::ClientContext context;
      context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
      v1::GetModelResponse response;
      return v1::ModelService::NewStub(channel)->GetModel(&context, {}, &response).error_code();
    };
    EXPECT_EQ(get_model(server.channel(), kToken), grpc::StatusCode::OK);
    ForgetPeak(server);
    const int64_t before = PeakBytes(server);
    std::atomic<bool> done{false};
    std::atomic<int64_t> guessed{0}, refused{0};
    std::vector<std::thread> guessers;
    for (int g = 0; g < 4; ++g) {
      guessers.emplace_back([&, g] {
        const auto channel = server.NewChannel();
        for (int64_t i = 0; !done; ++i) {
          const auto code = get_model(channel, absl::StrCat("guess-", g, "-", 1'000'000'000 + i));
          refused += code == grpc::StatusCode::RESOURCE_EXHAUSTED;
          guessed += code == grpc::StatusCode::UNAUTHENTICATED;
          EXPECT_TRUE(code == grpc::StatusCode::RESOURCE_EXHAUSTED ||
                      code == grpc::StatusCode::UNAUTHENTICATED)
              << code;
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::seconds(2));
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(get_model(server.channel(), kToken), grpc::StatusCode::OK);
    }
    done = true;
    for (std::thread& guesser : guessers) guesser.join();
    std::printf("%lld guesses, %lld more refused by their rate\n",
                static_cast<long long>(guessed.load()), static_cast<long long>(refused.load()));
    EXPECT_GT(guessed, 0);
    EXPECT_EQ(refused > 0, rate != std::string("0"));
    ExpectPeakWithin(server, before, 50 << 20, "guesses");
    // Nobody fills the log with them, or reads them there.
    EXPECT_LT(server.output().size(), size_t{64} << 10);
    EXPECT_THAT(server.output(), testing::Not(testing::HasSubstr("guess-")));
    EXPECT_EQ(server.Stop(), kExitOk);
  }
}

// Those that the server has closed for what they did.
int64_t EndedConnections(const ServerProcess& server) {
  const std::string metrics = HttpGet(server.metrics_port(), "/metrics");
  const std::string name = "\nfactord_connections_reset_total ";
  const size_t place = metrics.find(name);
  EXPECT_NE(place, std::string::npos);
  return place == std::string::npos ? 0 : std::atoll(metrics.c_str() + place + name.size());
}

// Frames that cost their sender next to nothing, or that have no end, from clients that read
// nothing.
TEST(AbuseTest, FloodsOfFramesCostOneConnection) {
  using http2::Frame, http2::PutFrame;
  struct Flood {
    std::string name;
    int64_t most_bytes;                                     // that it may cost
    bool ends;                                              // the connection is closed for it
    std::function<void(uint32_t i, std::string* out)> put;  // the i-th piece
    std::chrono::milliseconds pause{0};                     // after what is sent at once
    size_t at_once = 65'536;                                // bytes
  };
  constexpr int64_t kBytes = 64 << 20;
  constexpr int kClients = 4;
  const std::string path = "/factord.v1.ModelService/GetModel";
  std::string many_headers;
  while (many_headers.size() < http2::kMaxFrame - 200) {
    http2::PutHeader(&many_headers, "k", std::string(100, 'v'));
  }
  const std::string some_bytes(http2::kMaxFrame, 'v');
  const std::string begun = http2::CallHeaders(path);
  // The same, remembered by the server for later calls, and one of those: six bytes.
  std::string to_remember("\x83\x86\x44", 3);
  to_remember += static_cast<char>(path.size()) + path + "\x41\x09" + "127.0.0.1" + "\x5f\x10" +
                 "application/grpc" + "\x40\x02te\x08trailers";
  const std::string remembered = "\x83\x86\xc1\xc0\xbf\xbe";
  const std::string cancelled("\0\0\0\x8", 4);
  for (const Flood& flood : std::vector<Flood>{
           {"headers without end", 300 << 20, false,
            [&](uint32_t i, std::string*out) {
              PutFrame(out, i == 0 ? Frame{http2::kHeaders, 0, 1, begun}
                                   : Frame{http2::kContinuation, 0, 1, many_headers});
            }},
           {"calls that are taken back at once", 600 << 20, true,
            [&](uint32_t i, std::string*out) {
              PutFrame(out, {http2::kHeaders, http2::kEndHeaders, 1 + 2 * i, begun});
              PutFrame(out, {http2::kReset, 0, 1 + 2 * i, cancelled});
            }},
           {"calls of a few bytes, .8 MB/s from each", 600 << 20, true,
            [&](uint32_t i, std::string*out) {
              PutFrame(out, {http2::kHeaders, http2::kEndHeaders, 1 + 2 * i,
                             i == 0 ? to_remember : remembered});
              PutFrame(out, {http2::kReset, 0, 1 + 2 * i, cancelled});
            },
            std::chrono::milliseconds(10), 8'192},
           {"settings", 100 << 20, false,
            [](uint32_t, std::string*out) {
              PutFrame(out, {http2::kSettings, 0, 0, ""});
            }},
           {"pings", 250 << 20, false,
            [](uint32_t, std::string*out) {
              PutFrame(out, {http2::kPing, 0, 0, "12345678"});
            }},
           {"frames of no known type", 60 << 20, false, [&](uint32_t, std::string*out) {
              PutFrame(out, {static_cast<http2::FrameType>(0xee), 0, 0, some_bytes});
            }}}) {
    TempFolder dir;
    ServerProcess server({"--data_dir=" + (dir / "data"), "--metrics_listen=127.0.0.1:0"});
    server.WaitUntilServing();
    RecordRatings(server, OneRating());
    ForgetPeak(server);
    const int64_t before = PeakBytes(server);
    std::atomic<int64_t> sent{0};
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c) {
      clients.emplace_back([&] {
        Client connection(server.port());
        connection.Greet();
        const timeval patience = {.tv_sec = 2, .tv_usec = 0};
        setsockopt(connection.fd(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        // Until the server closes, or takes no more.
        std::string bytes;
        for (uint32_t i = 0; sent < kBytes; bytes.clear()) {
          while (bytes.size() < flood.at_once) flood.put(i++, &bytes);
          if (send(connection.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
              std::ssize(bytes)) {
            break;
          }
          sent += std::ssize(bytes);
          std::this_thread::sleep_for(flood.pause);
        }
      });
    }
    ExpectServed(server, 20, "--max_concurrent_calls");
    for (std::thread& client : clients) client.join();
    ExpectServed(server, 20, "--max_concurrent_calls");
    ExpectPeakWithin(server, before, flood.most_bytes,
                     absl::StrCat(flood.name, ", ", sent.load() >> 20, " MiB of them"));
    if (flood.ends) {
      EXPECT_GT(EndedConnections(server), 0) << flood.name;
    }
    EXPECT_EQ(server.Stop(), kExitOk) << flood.name;
  }
}

// One header, whose end gRPC waits for with all that it has of it: the head of one whose value has
// a gigabyte, 2^30 - 127, with a prefix of seven bits.
std::string HeaderWithoutEnd() {
  std::string frame;
  http2::PutFrame(
      &frame, {http2::kHeaders, 0, 1, absl::string_view("\x00\x01k\x7f\x81\xff\xff\xff\x03", 9)});
  return frame;
}
std::string MoreOfTheHeader() {
  std::string frame;
  http2::PutFrame(&frame, {http2::kContinuation, 0, 1, std::string(http2::kMaxFrame, 'v')});
  return frame;
}

TEST(AbuseTest, AHeaderWithoutEndEndsTheConnection) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--network_memory_bytes=16MiB"});
  server.WaitUntilServing();
  RecordRatings(server, OneRating());
  ForgetPeak(server);
  const int64_t before = PeakBytes(server);
  const std::string begin = HeaderWithoutEnd(), more = MoreOfTheHeader();
  // Fast, and slowly.
  constexpr int64_t kMaxSent = 24 << 20;
  std::atomic<int64_t> sent{0};
  std::atomic<bool> is_too_much{false};
  std::vector<std::thread> clients;
  for (const auto pause : {std::chrono::milliseconds(0), std::chrono::milliseconds(10)}) {
    for (int c = 0; c < 2; ++c) {
      clients.emplace_back([&, pause] {
        Client connection(server.port());
        connection.Greet();
        std::string bytes = begin;
        int64_t sent_here = 0;
        while (!is_too_much && send(connection.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                                   std::ssize(bytes)) {
          sent_here += std::ssize(bytes);
          if (sent_here > kMaxSent) is_too_much = true;
          bytes = more;
          std::this_thread::sleep_for(pause);
        }
        sent += sent_here;
      });
    }
  }
  ExpectServed(server, 20, "--max_concurrent_calls");
  for (std::thread& client : clients) client.join();
  ExpectServed(server, 20, "--max_concurrent_calls");
  EXPECT_FALSE(is_too_much);
  // What comes before it is noticed, twice.
  ExpectPeakWithin(server, before, 190 << 20,
                   absl::StrCat("headers without end, ", sent.load() >> 20, " MiB of them"));
}

// Symptom: what a connection had sent below a mebibyte did not count, however many there were.
TEST(AbuseTest, HeadersWithoutEndOnManyConnectionsCountTogether) {
  constexpr int kConnections = 100, kFrames = 50;  // 800 kB on each
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--network_memory_bytes=16MiB",
                        "--metrics_listen=127.0.0.1:0"});
  server.WaitUntilServing();
  RecordRatings(server, OneRating());
  ForgetPeak(server);
  const int64_t before = PeakBytes(server);
  std::vector<std::unique_ptr<Client>> clients;
  for (int c = 0; c < kConnections; ++c) {
    clients.push_back(std::make_unique<Client>(server.port()));
    clients.back()->Greet();
    clients.back()->Send(HeaderWithoutEnd());
  }
  const std::string more = MoreOfTheHeader();
  for (int frame = 0; frame < kFrames; ++frame) {
    for (const auto& client : clients) client->Send(more);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ExpectServed(server, 20, "--max_concurrent_calls");
  EXPECT_GT(EndedConnections(server), kConnections / 2);
  ExpectPeakWithin(server, before, 100 << 20, "headers without end on many connections");
}

// `piece` again and again, up to the largest message that is taken.
std::string Repeat(const std::string& piece) {
  std::string bytes;
  while (bytes.size() + piece.size() < (16 << 20) - 64) bytes += piece;
  return bytes;
}

// How the server ends a call of `method` with these messages.
grpc::Status CallWithBytes(const ServerProcess& server, const std::string& method,
                           const std::vector<std::string>& messages) {
  grpc::ClientContext context;
  const grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING);
  const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> call(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          server.NewChannel().get(), rpc, &context));
  for (const std::string& message : messages) {
    const grpc::Slice slice(message);
    if (!call->Write(grpc::ByteBuffer(&slice, 1))) break;
  }
  call->WritesDone();
  grpc::ByteBuffer answer;
  while (call->Read(&answer)) {
  }
  return call->Finish();
}

// A message of exactly so many bytes, by the length of its model's name.
template <typename Request>
std::string MessageOf(size_t bytes, const std::function<void(Request*, const std::string&)>& name) {
  Request request;
  name(&request, std::string(bytes, 'x'));
  name(&request, std::string(2 * bytes - request.ByteSizeLong(), 'x'));
  EXPECT_EQ(request.ByteSizeLong(), bytes);
  return request.SerializeAsString();
}

// Up to the limit they are read, and ask for a model that is not there.
void ExpectLimit(const ServerProcess& server, size_t limit, size_t bytes) {
  const std::pair<std::string, std::string> calls[] = {
      {"/factord.v1.RatingService/RecordRatings",
       MessageOf<v1::RecordRatingsRequest>(
           bytes, [](auto* request, const auto& name) { request->set_model(name); })},
      {"/factord.v1.RatingService/StreamRatings",
       MessageOf<v1::StreamRatingsRequest>(
           bytes,
           [](auto* request, const auto& name) { request->mutable_start()->set_model(name); })},
      {"/factord.v1.RecommendationService/RecommendItems",
       MessageOf<v1::RecommendItemsRequest>(
           bytes, [](auto* request, const auto& name) { request->set_model(name); })}};
  for (const auto& [method, message] : calls) {
    const grpc::Status status = CallWithBytes(server, method, {message});
    EXPECT_EQ(status.error_code(),
              bytes <= limit ? grpc::StatusCode::NOT_FOUND : grpc::StatusCode::RESOURCE_EXHAUSTED)
        << method << ", " << bytes << " bytes: " << status.error_message();
  }
}

TEST(AbuseTest, MessagesBeyondTheLimitAreRefusedAndOthersServed) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--max_message_bytes=1MiB"});
  server.WaitUntilServing();
  constexpr size_t kLimit = 1 << 20;
  for (size_t bytes = kLimit - 40; bytes <= kLimit + 40; ++bytes)
    ExpectLimit(server, kLimit, bytes);
  ExpectLimit(server, kLimit, 1 << 10);
  ExpectLimit(server, kLimit, 64 * kLimit);
  RecordRatings(server, OneRating());
  if (kMemoryTells) {
    EXPECT_LT(ResidentBytes(server), 500 << 20);
  }
}

TEST(AbuseTest, MessagesUpToTheDefaultLimitAreRead) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  constexpr size_t kLimit = 16 << 20;
  for (const size_t bytes : {kLimit - 1, kLimit, kLimit + 1}) ExpectLimit(server, kLimit, bytes);
  RecordRatings(server, OneRating());
}

// One message of empty events once became 750 MB.
TEST(AbuseTest, MessagesOfManyTinyPartsCostWhatTheirBytesDo) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  RecordRatings(server, OneRating());
  v1::StreamRatingsRequest start;
  start.mutable_start();
  // The field of the list, with an empty element.
  const std::string tiny_events = Repeat({0x12, 0}), tiny_pairs = tiny_events,
                    tiny_ids = Repeat({0x2a, 0});
  // Of a field that nobody knows: a number, and a group.
  const std::string unknown_numbers = Repeat({0x78, 0}), unknown_groups = Repeat({0x7b, 0x7c});
  // A batch with 16 MiB of it.
  const auto batch = [](const std::string& bytes) {
    std::string head = "\x12";
    for (size_t size = bytes.size(); size > 0; size >>= 7) {
      head += static_cast<char>((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
    }
    return head + bytes;
  };
  struct Case {
    std::string method;
    std::vector<std::string> messages;
    std::string message;
  };
  const std::string record = "/factord.v1.RatingService/RecordRatings",
                    stream = "/factord.v1.RatingService/StreamRatings",
                    recommend = "/factord.v1.RecommendationService/RecommendItems",
                    predict = "/factord.v1.RecommendationService/PredictRatings",
                    get_model = "/factord.v1.ModelService/GetModel";
  for (const Case& bad : std::vector<Case>{
           {record, {tiny_events}, "events: must have 1 to 10000 elements, has 8388575"},
           {predict, {tiny_pairs}, "pairs: must have 1 to 10000 elements, has 8388575"},
           {recommend, {tiny_ids}, "deny_item_ids: must have at most 10000 elements, has 8388575"},
           {stream,
            {batch(tiny_events)},
            "batch.events: must have 1 to 10000 elements, has 8388575"},
           {stream,
            {start.SerializeAsString(), batch(tiny_events)},
            "batch.events: must have 1 to 10000 elements, has 8388575"},
           {record, {unknown_numbers}, "fields"},
           {record, {unknown_groups}, "fields"},
           {stream, {batch(unknown_groups)}, "fields"},
           {get_model, {unknown_groups}, "fields"}}) {
    ForgetPeak(server);
    const int64_t before = PeakBytes(server);
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        const grpc::Status status = CallWithBytes(server, bad.method, bad.messages);
        EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
        EXPECT_THAT(status.error_message(), testing::HasSubstr(bad.message));
      });
    }
    for (std::thread& client : clients) client.join();
    ExpectPeakWithin(server, before, 250 << 20, "four " + bad.method + ", \"" + bad.message + "\"");
  }
  RecordRatings(server, OneRating());
}

TEST(AbuseTest, BytesThatAreNoHttpCostOneConnection) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, '\xff'),
        std::string("\x16\x03\x01"), std::string(1000, '\0')}) {
    Client connection(server.port());
    connection.Send(bytes);
    connection.Receive();
  }
  RecordRatings(server, OneRating());
}

}  // namespace
}  // namespace factord
