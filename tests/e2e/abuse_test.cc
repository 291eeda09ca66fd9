// Clients that mean harm, or are broken: memory stays bounded, and others are served.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

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

// A connection on which this test writes HTTP/2 itself.
class RawConnection {
 public:
  explicit RawConnection(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_open_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawConnection() { close(fd_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  bool is_open() const { return is_open_; }
  // The client's greeting. `window`: how many bytes of an answer it takes.
  void Greet(uint32_t window) {
    std::string settings = Number(4, 2) + Number(window, 4);  // SETTINGS_INITIAL_WINDOW_SIZE
    Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0, settings));
  }
  // A unary call with an empty request.
  void Call(uint32_t stream, const std::string& path) {
    std::string headers;
    for (const auto& [name, value] :
         std::vector<std::pair<std::string, std::string>>{{":method", "POST"},
                                                          {":scheme", "http"},
                                                          {":path", path},
                                                          {":authority", "localhost"},
                                                          {"te", "trailers"},
                                                          {"content-type", "application/grpc"}}) {
      headers += Literal(name, value);
    }
    constexpr int kEndHeaders = 4, kEndStream = 1;
    Send(Frame(1, kEndHeaders, stream, headers) +
         Frame(0, kEndStream, stream, std::string(5, '\0')));
  }
  void Send(const std::string& bytes) {
    (void)!send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // What the server sent first; empty: it closed the connection.
  std::string Receive() {
    char buffer[256];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    return std::string(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  }

 private:
  static std::string Number(uint32_t value, int bytes) {
    std::string text;
    for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> (8 * i));
    return text;
  }
  static std::string Frame(int type, int flags, uint32_t stream, const std::string& payload) {
    return Number(static_cast<uint32_t>(payload.size()), 3) + static_cast<char>(type) +
           static_cast<char>(flags) + Number(stream, 4) + payload;
  }
  // HPACK: a literal header without indexing or Huffman's code.
  static std::string Literal(const std::string& name, const std::string& value) {
    return std::string(1, '\0') + static_cast<char>(name.size()) + name +
           static_cast<char>(value.size()) + value;
  }

  const int fd_;
  bool is_open_ = false;
};

v1::RecordRatingsRequest OneRating() {
  v1::RecordRatingsRequest request;
  SetRating("u", "i", 1, request.add_events());
  return request;
}

TEST(AbuseTest, TenThousandIdleConnectionsLeaveRoomForOthers) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const int wanted = limit.rlim_max < 11'000 ? static_cast<int>(limit.rlim_max) / 2 : 10'000;
  TempDir dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  RecordRatings(server, OneRating());
  const int64_t before = ResidentBytes(server);
  std::vector<std::unique_ptr<RawConnection>> idle;
  for (int i = 0; i < wanted; ++i) {
    idle.push_back(std::make_unique<RawConnection>(server.port()));
    ASSERT_TRUE(idle.back()->is_open()) << i;
    idle.back()->Greet(65'535);
  }
  for (const auto& connection : idle) ASSERT_NE(connection->Receive(), "");
  RecordRatings(server, OneRating());
  EXPECT_EQ(GetModel(server).sequence(), 2);
  const int64_t each = (ResidentBytes(server) - before) / wanted;
  std::printf("%d idle connections: %lld bytes each\n", wanted, static_cast<long long>(each));
  if (kMemoryTells) EXPECT_LT(each, 100'000);
  idle.clear();
  EXPECT_EQ(server.Stop(), kExitOk);
}

TEST(AbuseTest, ThoseWhoDoNotReadTheirAnswersLoseTheirCalls) {
  TempDir dir;
  ServerProcess server(
      {"--data_dir=" + (dir / "data"), "--max_call_time=500ms", "--max_concurrent_calls=60"});
  server.WaitUntilServing();
  constexpr int kCalls = 50;
  RawConnection connection(server.port());
  connection.Greet(0);
  for (uint32_t i = 0; i < kCalls; ++i) {
    connection.Call(1 + 2 * i, "/factord.v1.ModelService/GetModel");
  }
  RawConnection another(server.port());
  another.Greet(0);
  for (uint32_t i = 0; i < kCalls; ++i) {
    another.Call(1 + 2 * i, "/factord.v1.ModelService/GetModel");
  }
  // All sixty places are taken, until the time of the calls is over.
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

TEST(AbuseTest, AStreamWhoseAcknowledgementsAreNotReadIsCancelled) {
  TempDir dir;
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
  if (kMemoryTells) EXPECT_LT(ResidentBytes(server) - before, 200 << 20);
  RecordRatings(server, OneRating());
}

TEST(AbuseTest, MessagesBeyondTheLimitAreRefusedAndOthersServed) {
  TempDir dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--max_message_bytes=1MiB"});
  server.WaitUntilServing();
  for (const size_t size :
       {size_t{1} << 10, (size_t{1} << 20) - 100, (size_t{1} << 20) + 1, size_t{64} << 20}) {
    v1::RecordRatingsRequest request = OneRating();
    request.set_model(std::string(size, 'x'));
    grpc::ClientContext context;
    v1::RecordRatingsResponse response;
    const grpc::Status status = v1::RatingService::NewStub(server.NewChannel())
                                    ->RecordRatings(&context, request, &response);
    EXPECT_EQ(status.error_code(), size < size_t{1} << 20 ? grpc::StatusCode::NOT_FOUND
                                                          : grpc::StatusCode::RESOURCE_EXHAUSTED)
        << size << ": " << status.error_message();
  }
  RecordRatings(server, OneRating());
  if (kMemoryTells) EXPECT_LT(ResidentBytes(server), 500 << 20);
}

TEST(AbuseTest, BytesThatAreNoHttpCostOneConnection) {
  TempDir dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, '\xff'),
        std::string("\x16\x03\x01"), std::string(1000, '\0')}) {
    RawConnection connection(server.port());
    connection.Send(bytes);
    connection.Receive();
  }
  RecordRatings(server, OneRating());
}

}  // namespace
}  // namespace factord
