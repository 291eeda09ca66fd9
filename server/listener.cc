#include "server/listener.h"

#include <arpa/inet.h>
#include <linux/tcp.h>  // of whose tcp_info the C library has an old one
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/loopback.h"
#include "server/log.h"

namespace factord {
namespace {

constexpr int kBacklog = 4096;
// Where every place is taken, the closed ones are looked for so often.
constexpr std::chrono::milliseconds kSweepInterval{100};
// Pause when the process or the machine has no descriptor left.
constexpr int kExhaustedMillis = 100;

// 0: the descriptor names no file.
ino_t InodeOf(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

// Bound and listening, or the errno as a negative number.
int ListenOn(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Connections inherit it.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // [::] takes IPv4 as well.
  if (address.ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  if (bind(fd, address.ai_addr, address.ai_addrlen) == 0 && listen(fd, kBacklog) == 0) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

// The other side, as gRPC names it but for escapes: "ipv4:10.0.0.1:1234", "ipv6:[fe80::1%2]:1234".
std::string PeerOf(int fd) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  char host[INET6_ADDRSTRLEN];
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return "";
  if (address.ss_family == AF_INET) {
    const auto& ip4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &ip4.sin_addr, host, sizeof(host));
    return absl::StrCat("ipv4:", host, ":", ntohs(ip4.sin_port));
  }
  const auto& ip6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &ip6.sin6_addr, host, sizeof(host));
  absl::string_view name = host;
  if (absl::ConsumePrefix(&name, "::ffff:")) {  // IPv4 at a port of IPv6
    return absl::StrCat("ipv4:", name, ":", ntohs(ip6.sin6_port));
  }
  const std::string scope = ip6.sin6_scope_id != 0 ? absl::StrCat("%", ip6.sin6_scope_id) : "";
  return absl::StrCat("ipv6:[", name, scope, "]:", ntohs(ip6.sin6_port));
}

// All zeros if the connection has ended.
tcp_info InfoOf(int fd) {
  tcp_info info = {};
  socklen_t length = sizeof(info);
  (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  return info;
}

int PortOf(int fd) {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace

int64_t RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int64_t>(limit.rlim_cur);
}

bool HostPort::is_loopback() const { return IsLoopbackIp(host) || host == "localhost"; }

absl::StatusOr<HostPort> ParseHostPort(const std::string& address) {
  HostPort result;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &result.port) || result.port < 0 ||
      result.port > 65'535) {
    return absl::InvalidArgumentError(absl::StrCat("must be HOST:PORT, is \"", address, "\""));
  }
  result.host = address.substr(0, colon);
  const bool has_brackets = result.host.front() == '[' && result.host.back() == ']';
  if (has_brackets) result.host = result.host.substr(1, result.host.size() - 2);
  if (result.host.empty() || (!has_brackets && absl::StrContains(result.host, ":"))) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be HOST:PORT, an IPv6 address in brackets, is \"", address, "\""));
  }
  return result;
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const std::string& address,
                                                         int64_t max_connections) {
  FACTORD_ASSIGN_OR_RETURN(const HostPort host_port, ParseHostPort(address));
  std::unique_ptr<Listener> listener(new Listener(max_connections));
  FACTORD_RETURN_IF_ERROR(listener->Bind(host_port));
  return listener;
}

absl::Status Listener::Bind(const HostPort& address) {
  const auto cannot = [&](absl::string_view why) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.host, ":", address.port, ": ", why));
  };
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  if (failure != 0) return cannot(gai_strerror(failure));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  int error = 0;
  port_ = address.port;
  for (const addrinfo* next = found; next != nullptr; next = next->ai_next) {
    auto* const port = next->ai_family == AF_INET6
                           ? &reinterpret_cast<sockaddr_in6*>(next->ai_addr)->sin6_port
                           : &reinterpret_cast<sockaddr_in*>(next->ai_addr)->sin_port;
    *port = htons(static_cast<uint16_t>(port_));
    const int fd = ListenOn(*next);
    if (fd < 0) {
      // A machine without IPv6 has a name for ::1 all the same.
      if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL) return cannot(std::strerror(-fd));
      error = -fd;
      continue;
    }
    listening_.push_back(fd);
    if (port_ == 0) port_ = PortOf(fd);
  }
  if (listening_.empty()) return cannot(std::strerror(error));
  return absl::OkStatus();
}

Listener::~Listener() {
  Close();
  if (wake_ >= 0) close(wake_);
}

void Listener::Close() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    (void)!write(wake_, &one, sizeof(one));
    thread_.join();
  }
  for (const int fd : listening_) close(fd);
  listening_.clear();
}

void Listener::Start(std::unique_ptr<Acceptor> acceptor) {
  acceptor_ = std::move(acceptor);
  wake_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { Loop(); });
}

void Listener::Loop() {
  std::vector<pollfd> polled;
  for (const int fd : listening_) polled.push_back({fd, POLLIN, 0});
  polled.push_back({wake_, POLLIN, 0});
  while (true) {
    if (poll(polled.data(), polled.size(), -1) < 0) continue;  // a signal
    if (polled.back().revents != 0) return;
    for (const pollfd& one : polled) {
      if (one.revents == 0) continue;
      while (AcceptOne(one.fd)) {
      }
    }
  }
}

bool Listener::AcceptOne(int listening) {
  const int fd = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log::Error("cannot take a connection", {{"reason", std::strerror(errno)}});
      pollfd wake = {wake_, POLLIN, 0};
      poll(&wake, 1, kExhaustedMillis);
      return false;
    }
    return true;  // that connection is gone already
  }
  accepted_.fetch_add(1, std::memory_order_relaxed);
  bool has_room = false;
  {
    MutexLock lock(&mu_);
    open_.erase(fd);  // whoever had that number is gone
    has_room = HasRoomLocked();
    if (has_room) open_[fd] = InodeOf(fd);
  }
  if (!has_room) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    close(fd);
    return true;
  }
  Acceptor::NewConnectionParameters connection;
  connection.listener_fd = listening;
  connection.fd = fd;
  acceptor_->HandleNewConnection(&connection);
  return true;
}

bool Listener::HasRoomLocked() {
  const auto has_room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return static_cast<int64_t>(open_.size()) < max_connections_;
  };
  if (has_room()) return true;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_sweep_) return false;
  next_sweep_ = now + kSweepInterval;
  SweepLocked();
  return has_room();
}

void Listener::SweepLocked() {
  absl::erase_if(open_, [](const auto& entry) { return InodeOf(entry.first) != entry.second; });
}

bool Listener::Reset(const std::string& peer) {
  const std::string unescaped =
      absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  MutexLock lock(&mu_);
  for (const auto& [fd, inode] : open_) {
    if (InodeOf(fd) == inode && PeerOf(fd) == unescaped) return ResetLocked(fd);
  }
  return false;
}

std::vector<Listener::Traffic> Listener::TrafficOfEach() {
  MutexLock lock(&mu_);
  SweepLocked();
  std::vector<Traffic> all;
  for (const auto& [fd, inode] : open_) {
    const tcp_info info = InfoOf(fd);
    const uint64_t written =
        info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
    all.push_back({fd, inode, info.tcpi_bytes_received, written});
  }
  return all;
}

std::string Listener::Reset(const Traffic& connection) {
  MutexLock lock(&mu_);
  const std::string peer = PeerOf(connection.fd);
  return InodeOf(connection.fd) == connection.inode && ResetLocked(connection.fd) ? peer : "";
}

// What has come and was not read is dropped: after shutdown() gRPC would read on for as long as
// more comes.
bool Listener::ResetLocked(int fd) {
  sockaddr nobody = {};
  nobody.sa_family = AF_UNSPEC;
  if (connect(fd, &nobody, sizeof(nobody)) != 0) return false;
  reset_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

int64_t Listener::connections() {
  MutexLock lock(&mu_);
  SweepLocked();
  return static_cast<int64_t>(open_.size());
}

}  // namespace factord
