// Which addresses do not leave the machine.
#pragma once

#include <arpa/inet.h>

#include <string>

namespace factord {

// An IPv4 address in 127.0.0.0/8, or ::1. A name is none, though it may begin with "127.".
inline bool IsLoopbackIp(const std::string& host) {
  in_addr ipv4;
  if (inet_pton(AF_INET, host.c_str(), &ipv4) == 1) return ntohl(ipv4.s_addr) >> 24 == 127;
  return host == "::1";
}

}  // namespace factord
