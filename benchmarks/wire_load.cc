#include "benchmarks/wire_load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/coding.h"

namespace factord {
namespace {

// A thread that woke for each of many thousand calls a second would be busy with that alone.
constexpr std::chrono::microseconds kMinSleep(200);
constexpr std::chrono::milliseconds kMaxSleep(20);  // until it looks whether it shall stop

// HTTP/2, RFC 9113.
enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
};
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kAck = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr size_t kFrameHeader = 9;
constexpr size_t kMaxFrame = 16'384;
constexpr int64_t kInitialWindow = 65'535;
constexpr uint32_t kStreamId = 0x7fff'ffff;   // without the reserved bit
constexpr uint32_t kMaxWindow = 0x7fff'ffff;  // more than any load gets back
// Whoever answers nothing for so long has failed.
constexpr std::chrono::seconds kPatience(30);

uint32_t Big32(const char* bytes) { return Reader({bytes, sizeof(uint32_t)}).BigEndian32(); }

void PutFrame(FrameType type, uint8_t flags, uint32_t stream, absl::string_view payload,
              std::string* bytes) {
  const auto size = static_cast<uint32_t>(payload.size());
  PutBigEndian32(bytes, size << 8 | type);
  bytes->push_back(static_cast<char>(flags));
  PutBigEndian32(bytes, stream);
  absl::StrAppend(bytes, payload);
}

// HPACK, RFC 7541: one field whose name is in the static table, or is given; not to be indexed.
// REQUIRES: fewer than 127 characters each.
std::string Field(uint8_t name_index, absl::string_view value, absl::string_view name = "") {
  std::string field;
  constexpr uint8_t kPrefix = 15;
  if (name_index < kPrefix) {
    field.push_back(static_cast<char>(name_index));
  } else {
    field.push_back(kPrefix);
    field.push_back(static_cast<char>(name_index - kPrefix));
  }
  if (name_index == 0)
    absl::StrAppend(&field, std::string(1, static_cast<char>(name.size())), name);
  absl::StrAppend(&field, std::string(1, static_cast<char>(value.size())), value);
  return field;
}

std::string RequestHeaders(const std::string& method) {
  constexpr char kPost = '\x83', kHttp = '\x86';  // :method and :scheme, fields of the static table
  constexpr uint8_t kPath = 4, kAuthority = 1, kContentType = 31;
  return absl::StrCat(std::string{kPost, kHttp}, Field(kPath, method),
                      Field(kAuthority, "127.0.0.1"), Field(kContentType, "application/grpc"),
                      Field(0, "trailers", "te"));
}

// Of trailers that were encoded without a table; -1: there is none.
int GrpcStatus(absl::string_view trailers) {
  constexpr absl::string_view kName = "grpc-status";
  const size_t at = trailers.find(kName);
  if (at == absl::string_view::npos || at + kName.size() + 1 >= trailers.size()) return -1;
  trailers.remove_prefix(at + kName.size());
  const auto length = static_cast<size_t>(trailers[0]);
  int status = 0;
  for (const char digit : trailers.substr(1, length)) status = status * 10 + (digit - '0');
  return status;
}

}  // namespace

// One connection, and the calls on it.
class WireLoad::Connection {
 public:
  Connection(int port, const std::string& method)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), headers_(RequestHeaders(method)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      status_ = absl::ErrnoToStatus(errno, "cannot connect");
    }
    outgoing_ = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    std::string settings;
    const auto put = [&settings](uint16_t name, uint32_t value) {
      settings.push_back(0);
      settings.push_back(static_cast<char>(name));
      PutBigEndian32(&settings, value);
    };
    constexpr uint16_t kHeaderTableSize = 1, kInitialWindowSize = 4;
    put(kHeaderTableSize, 0);  // so that nothing has to be remembered to read trailers
    put(kInitialWindowSize, kMaxWindow);
    PutFrame(kSettings, 0, 0, settings, &outgoing_);
    std::string window;
    PutBigEndian32(&window, kMaxWindow - static_cast<uint32_t>(kInitialWindow));
    PutFrame(kWindowUpdate, 0, 0, window, &outgoing_);
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }
  bool has_more_to_send() const { return !outgoing_.empty(); }
  const absl::Status& status() const { return status_; }

  // Sends no byte yet.
  void Begin(Clock::time_point since, const grpc::ByteBuffer& request) {
    const uint32_t stream = std::exchange(next_stream_, next_stream_ + 2);
    calls_[stream] = {since, 0};
    std::string message(1, '\0');  // not compressed
    PutBigEndian32(&message, static_cast<uint32_t>(request.Length()));
    std::vector<grpc::Slice> slices;
    (void)request.Dump(&slices);
    for (const grpc::Slice& slice : slices) {
      message.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    held_.push_back({stream, std::move(message)});
  }

  // Sends what the server lets in.
  void Send() {
    for (; !held_.empty() && static_cast<int64_t>(held_.front().second.size()) <= window_;
         held_.pop_front()) {
      const auto& [stream, message] = held_.front();
      window_ -= static_cast<int64_t>(message.size());
      PutFrame(kHeaders, kEndHeaders, stream, headers_, &outgoing_);
      for (size_t at = 0; at < message.size(); at += kMaxFrame) {
        const auto part = absl::string_view(message).substr(at, kMaxFrame);
        const bool is_last = at + part.size() == message.size();
        PutFrame(kData, is_last ? kEndStream : 0, stream, part, &outgoing_);
      }
    }
    if (outgoing_.empty()) return;
    const ssize_t n = send(fd_, outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) outgoing_.erase(0, static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN) status_.Update(absl::ErrnoToStatus(errno, "cannot send"));
  }

  // Reads what has come, and tells of each call that has ended: since when it was to be, its
  // status, and the bytes of its answer.
  template <typename Ended>
  void Receive(const Ended& ended) {
    char chunk[64 << 10];
    const ssize_t n = recv(fd_, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n > 0) incoming_.append(chunk, static_cast<size_t>(n));
    if (n == 0) status_.Update(absl::UnavailableError("the server has closed a connection"));
    if (n < 0 && errno != EAGAIN) status_.Update(absl::ErrnoToStatus(errno, "cannot receive"));
    size_t at = 0;
    while (incoming_.size() - at >= kFrameHeader) {
      const char* const frame = incoming_.data() + at;
      const uint32_t size = Big32(frame) >> 8;
      if (incoming_.size() - at < kFrameHeader + size) break;
      Handle(static_cast<FrameType>(frame[3]), static_cast<uint8_t>(frame[4]),
             Big32(frame + 5) & kStreamId, {frame + kFrameHeader, size}, ended);
      at += kFrameHeader + size;
    }
    incoming_.erase(0, at);
  }

 private:
  struct Call {
    Clock::time_point since;
    int64_t bytes;
  };

  template <typename Ended>
  void Handle(FrameType type, uint8_t flags, uint32_t stream, absl::string_view payload,
              const Ended& ended) {
    const auto call = calls_.find(stream);
    switch (type) {
      case kData:
        if (call != calls_.end()) call->second.bytes += static_cast<int64_t>(payload.size());
        break;
      case kHeaders:
        if ((flags & kEndStream) == 0 || call == calls_.end()) break;
        ended(call->second.since, GrpcStatus(payload), call->second.bytes);
        calls_.erase(call);
        break;
      case kReset:  // after trailers that came before the request was read
        if (call != calls_.end()) status_.Update(absl::AbortedError("a call was reset"));
        break;
      case kSettings:
        if ((flags & kAck) == 0) PutFrame(kSettings, kAck, 0, "", &outgoing_);
        break;
      case kPing:
        if ((flags & kAck) == 0) PutFrame(kPing, kAck, 0, payload, &outgoing_);
        break;
      case kGoAway:
        status_.Update(absl::UnavailableError("the server sends the connection away"));
        break;
      case kWindowUpdate:
        if (stream == 0) window_ += Big32(payload.data());
        break;
    }
  }

  const int fd_;
  const std::string headers_;
  absl::Status status_;
  std::string outgoing_, incoming_;
  std::deque<std::pair<uint32_t, std::string>> held_;  // streams and messages, not sent yet
  int64_t window_ = kInitialWindow;
  uint32_t next_stream_ = 1;
  absl::flat_hash_map<uint32_t, Call> calls_;
};

WireLoad::WireLoad(Options options, Meter* meter) : options_(std::move(options)), meter_(meter) {
  for (int i = 0; i < options_.connections; ++i) {
    connections_.push_back(std::make_unique<Connection>(options_.port, options_.method));
  }
  thread_ = std::thread([this] { Run(); });
}

WireLoad::~WireLoad() {
  stopping_ = true;
  thread_.join();
}

void WireLoad::Begin(Clock::time_point since) {
  connections_[next_connection_++ % connections_.size()]->Begin(since, options_.make_request());
  ++begun_;
}

Clock::time_point WireLoad::BeginDue() {
  const Clock::time_point now = Clock::now();
  if (stopping_) return now + kMaxSleep;
  if (!options_.per_second.has_value()) {
    while (begun_ - ended_ < options_.in_flight) Begin(now);
    return now + kMaxSleep;
  }
  while (true) {
    const auto due =
        start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                     static_cast<double>(begun_) / *options_.per_second));
    if (due > now) return due;
    Begin(due);
  }
}

void WireLoad::Run() {
  std::vector<pollfd> polled;
  for (const auto& connection : connections_) polled.push_back({connection->fd(), POLLIN, 0});
  const auto ended = [this](Clock::time_point since, int status, int64_t bytes) {
    ++ended_;
    const auto code = static_cast<absl::StatusCode>(status);
    if (code == absl::StatusCode::kOk) return meter_->Done(since, Clock::now(), 1, bytes);
    if (code == absl::StatusCode::kResourceExhausted) return meter_->Refused(Clock::now());
    meter_->Fail(absl::Status(code, "a call failed"));
  };
  int64_t seen = 0;
  Clock::time_point seen_at = Clock::now();
  while (!stopping_ || ended_ < begun_) {
    if (std::exchange(seen, ended_) != ended_ || ended_ == begun_) seen_at = Clock::now();
    if (Clock::now() - seen_at > kPatience) {
      return meter_->Fail(absl::DeadlineExceededError("calls are not answered"));
    }
    const Clock::time_point next = BeginDue();
    for (size_t i = 0; i < connections_.size(); ++i) {
      connections_[i]->Send();
      polled[i].events = connections_[i]->has_more_to_send() ? POLLIN | POLLOUT : POLLIN;
    }
    const auto sleep = std::clamp<Clock::duration>(next - Clock::now(), kMinSleep, kMaxSleep);
    const timespec timeout = {0, static_cast<long>(sleep.count())};
    if (ppoll(polled.data(), polled.size(), &timeout, nullptr) <= 0) continue;
    for (size_t i = 0; i < connections_.size(); ++i) {
      if ((polled[i].revents & ~POLLOUT) != 0) connections_[i]->Receive(ended);
      if (!connections_[i]->status().ok()) return meter_->Fail(connections_[i]->status());
    }
  }
}

}  // namespace factord
