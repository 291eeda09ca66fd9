// A client for tests that speaks HTTP/2, and makes gRPC's calls, for itself.
#pragma once

#include <cstdint>
#include <string>

#include "base/http2.h"
#include "base/test_socket.h"

namespace factord {

// `Connection`: TestSocket, or what has its Send.
template <typename Connection>
class TestHttp2ClientOver : public Connection {
 public:
  using Connection::Connection;

  // The client's greeting. `window`: how many bytes of an answer it takes.
  void Greet(uint32_t window = http2::kInitialWindow) {
    std::string settings, greeting(http2::kPreface);
    http2::PutSetting(&settings, http2::kInitialWindowSize, window);
    http2::PutFrame(&greeting, {http2::kSettings, 0, 0, settings});
    this->Send(greeting);
  }
  // A call with one message, of a frame's size at most.
  void Call(uint32_t stream, const std::string& path, const std::string& message = "") {
    Begin(stream, path);
    std::string data, frame;
    http2::PutMessageHead(&data, static_cast<uint32_t>(message.size()));
    data += message;
    http2::PutFrame(&frame, {http2::kData, http2::kEndStream, stream, data});
    this->Send(frame);
  }
  // A call, up to its message. `more_headers`: of 100 bytes; gRPC takes 8 kB in all.
  void Begin(uint32_t stream, const std::string& path, int more_headers = 0) {
    std::string headers = http2::CallHeaders(path), frame;
    for (int i = 0; i < more_headers; ++i) {
      http2::PutHeader(&headers, "k" + std::to_string(i), std::string(100, 'v'));
    }
    http2::PutFrame(&frame, {http2::kHeaders, http2::kEndHeaders, stream, headers});
    this->Send(frame);
  }
};

using TestHttp2Client = TestHttp2ClientOver<TestSocket>;

}  // namespace factord
