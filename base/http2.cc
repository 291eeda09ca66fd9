#include "base/http2.h"

#include "absl/strings/str_cat.h"
#include "base/coding.h"

namespace factord::http2 {
namespace {

void PutText(std::string* out, absl::string_view text) {
  out->push_back(static_cast<char>(text.size()));
  absl::StrAppend(out, text);
}

}  // namespace

void PutFrame(std::string* out, const Frame& frame) {
  PutBigEndian32(out, static_cast<uint32_t>(frame.payload.size()) << 8 | frame.type);
  out->push_back(static_cast<char>(frame.flags));
  PutBigEndian32(out, frame.stream);
  absl::StrAppend(out, frame.payload);
}

void PutSetting(std::string* out, Setting setting, uint32_t value) {
  out->push_back(static_cast<char>(setting >> 8));
  out->push_back(static_cast<char>(setting));
  PutBigEndian32(out, value);
}

void PutMessageHead(std::string* out, uint32_t message_bytes) {
  out->push_back(0);
  PutBigEndian32(out, message_bytes);
}

void PutHeader(std::string* out, absl::string_view name, absl::string_view value) {
  out->push_back(0);
  PutText(out, name);
  PutText(out, value);
}

void PutHeader(std::string* out, uint8_t static_name, absl::string_view value) {
  constexpr uint8_t kPrefix = 15;  // what fits beside the kind of field
  if (static_name < kPrefix) {
    out->push_back(static_cast<char>(static_name));
  } else {
    out->push_back(kPrefix);
    out->push_back(static_cast<char>(static_name - kPrefix));
  }
  PutText(out, value);
}

std::string CallHeaders(absl::string_view path) {
  constexpr char kPost = '\x83', kHttp = '\x86';  // :method and :scheme, fields of the static table
  constexpr uint8_t kPath = 4, kAuthority = 1, kContentType = 31;
  std::string headers{kPost, kHttp};
  PutHeader(&headers, kPath, path);
  PutHeader(&headers, kAuthority, "127.0.0.1");
  PutHeader(&headers, kContentType, "application/grpc");
  PutHeader(&headers, "te", "trailers");
  return headers;
}

std::optional<Frame> FirstFrame(absl::string_view bytes) {
  Reader reader(bytes);
  const uint32_t size_and_type = reader.BigEndian32();
  const uint8_t flags = reader.Byte();
  const uint32_t stream = reader.BigEndian32() & 0x7fff'ffff;  // without the reserved bit
  const absl::string_view payload = reader.Bytes(size_and_type >> 8);
  if (!reader.ok()) return std::nullopt;
  return Frame{static_cast<FrameType>(size_and_type & 0xff), flags, stream, payload};
}

}  // namespace factord::http2
