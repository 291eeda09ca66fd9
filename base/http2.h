// HTTP/2 by the byte (RFC 9113, RFC 7541), for tests and loads that do what no library would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace factord::http2 {

// How a client begins; SETTINGS follow.
inline constexpr absl::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
// Flags: of kData and kHeaders; of kSettings and kPing; of kHeaders.
inline constexpr uint8_t kEndStream = 1;
inline constexpr uint8_t kAck = 1;
inline constexpr uint8_t kEndHeaders = 4;
// Bytes of payload in a frame, at most; bytes that may be sent before a kWindowUpdate. Until
// SETTINGS say otherwise.
inline constexpr size_t kMaxFrame = 16'384;
inline constexpr int64_t kInitialWindow = 65'535;
inline constexpr uint32_t kMaxWindow = 0x7fff'ffff;

enum Setting : uint16_t { kHeaderTableSize = 1, kInitialWindowSize = 4 };

// `payload` borrows from what the frame was read from.
struct Frame {
  FrameType type;
  uint8_t flags;
  uint32_t stream;
  absl::string_view payload;

  // With its head.
  size_t bytes() const { return 9 + payload.size(); }
  friend bool operator==(const Frame& a, const Frame& b) = default;
};

void PutFrame(std::string* out, const Frame& frame);
void PutSetting(std::string* out, Setting setting, uint32_t value);
// What comes before a message of gRPC's, which is not compressed.
void PutMessageHead(std::string* out, uint32_t message_bytes);
// A header that is not to be indexed, by its name, or by its name's place in HPACK's static table.
// REQUIRES: fewer than 127 characters each.
void PutHeader(std::string* out, absl::string_view name, absl::string_view value);
void PutHeader(std::string* out, uint8_t static_name, absl::string_view value);

// What a call of gRPC's begins with: `path` is "/SERVICE/METHOD". Others may follow.
std::string CallHeaders(absl::string_view path);

// The frame that `bytes` begin with; none: it is not complete.
std::optional<Frame> FirstFrame(absl::string_view bytes);

}  // namespace factord::http2
