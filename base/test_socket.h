// A TCP connection for tests that speak for themselves instead of through a library.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace factord {

class TestSocket {
 public:
  // Connects to a port of this machine, 127.0.0.1 or, for AF_INET6, ::1; fails the test if nobody
  // listens there.
  explicit TestSocket(int port, int family = AF_INET)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_TRUE(OnLoopback(connect, fd_, port, family));
  }
  // Whether this machine has ::1.
  static bool HasIpv6() {
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool has = fd >= 0 && OnLoopback(bind, fd, 0, AF_INET6);
    close(fd);
    return has;
  }
  ~TestSocket() { close(fd_); }
  TestSocket(const TestSocket&) = delete;
  TestSocket& operator=(const TestSocket&) = delete;

  int fd() const { return fd_; }
  // Whatever becomes of it: the other side may have closed.
  void Send(std::string_view bytes) { (void)!send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Waits for some bytes; empty: the connection has ended.
  std::string Receive() {
    char buffer[4096];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    return std::string(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  }

 private:
  // Binds or connects to it.
  static bool OnLoopback(int (*call)(int, const sockaddr*, socklen_t), int fd, int port,
                         int family) {
    if (family == AF_INET6) {
      sockaddr_in6 address = {};
      address.sin6_family = AF_INET6;
      address.sin6_port = htons(static_cast<uint16_t>(port));
      address.sin6_addr = in6addr_loopback;
      return call(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return call(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }

  const int fd_;
};

// The whole answer, with its head, of HTTP at a port of this machine.
inline std::string HttpGet(int port, std::string_view path) {
  TestSocket socket(port);
  socket.Send("GET " + std::string(path) + " HTTP/1.0\r\n\r\n");
  std::string answer, more;
  while (!(more = socket.Receive()).empty()) answer += more;
  return answer;
}

}  // namespace factord
