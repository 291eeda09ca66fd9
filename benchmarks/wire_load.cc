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
#include "base/http2.h"

namespace factord {
namespace {

// A thread that woke for each of many thousand calls a second would be busy with that alone.
constexpr std::chrono::microseconds kMinSleep(200);
constexpr std::chrono::milliseconds kMaxSleep(20);  // until it looks whether it shall stop

// Whoever answers nothing for so long has failed.
constexpr std::chrono::seconds kPatience(30);

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
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), headers_(http2::CallHeaders(method)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      status_ = absl::ErrnoToStatus(errno, "cannot connect");
    }
    outgoing_ = std::string(http2::kPreface);
    std::string settings;
    // So that nothing has to be remembered to read trailers.
    PutSetting(&settings, http2::kHeaderTableSize, 0);
    PutSetting(&settings, http2::kInitialWindowSize, http2::kMaxWindow);
    http2::PutFrame(&outgoing_, {http2::kSettings, 0, 0, settings});
    std::string window;
    PutBigEndian32(&window, http2::kMaxWindow - static_cast<uint32_t>(http2::kInitialWindow));
    http2::PutFrame(&outgoing_, {http2::kWindowUpdate, 0, 0, window});
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
    std::string message;
    http2::PutMessageHead(&message, static_cast<uint32_t>(request.Length()));
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
      http2::PutFrame(&outgoing_, {http2::kHeaders, http2::kEndHeaders, stream, headers_});
      for (size_t at = 0; at < message.size(); at += http2::kMaxFrame) {
        const auto part = absl::string_view(message).substr(at, http2::kMaxFrame);
        const bool is_last = at + part.size() == message.size();
        http2::PutFrame(&outgoing_,
                        {http2::kData, is_last ? http2::kEndStream : uint8_t{0}, stream, part});
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
    absl::string_view left = incoming_;
    while (const auto frame = http2::FirstFrame(left)) {
      Handle(*frame, ended);
      left.remove_prefix(frame->bytes());
    }
    incoming_.erase(0, incoming_.size() - left.size());
  }

 private:
  struct Call {
    Clock::time_point since;
    int64_t bytes;
  };

  template <typename Ended>
  void Handle(const http2::Frame& frame, const Ended& ended) {
    const auto call = calls_.find(frame.stream);
    switch (frame.type) {
      case http2::kData:
        if (call != calls_.end()) call->second.bytes += static_cast<int64_t>(frame.payload.size());
        break;
      case http2::kHeaders:
        if ((frame.flags & http2::kEndStream) == 0 || call == calls_.end()) break;
        ended(call->second.since, GrpcStatus(frame.payload), call->second.bytes);
        calls_.erase(call);
        break;
      case http2::kReset:  // after trailers that came before the request was read
        if (call != calls_.end()) status_.Update(absl::AbortedError("a call was reset"));
        break;
      case http2::kSettings:
        if ((frame.flags & http2::kAck) == 0) {
          http2::PutFrame(&outgoing_, {http2::kSettings, http2::kAck, 0, ""});
        }
        break;
      case http2::kPing:
        if ((frame.flags & http2::kAck) == 0) {
          http2::PutFrame(&outgoing_, {http2::kPing, http2::kAck, 0, frame.payload});
        }
        break;
      case http2::kGoAway:
        status_.Update(absl::UnavailableError("the server sends the connection away"));
        break;
      case http2::kWindowUpdate:
        if (frame.stream == 0) window_ += Reader(frame.payload).BigEndian32();
        break;
      case http2::kContinuation:  // gRPC's headers fit into one frame
        break;
    }
  }

  const int fd_;
  const std::string headers_;
  absl::Status status_;
  std::string outgoing_, incoming_;
  std::deque<std::pair<uint32_t, std::string>> held_;  // streams and messages, not sent yet
  int64_t window_ = http2::kInitialWindow;
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
