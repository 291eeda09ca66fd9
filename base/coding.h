// Byte coding shared by the storage formats and the state hash: little-endian fixed-width integers,
// LEB128 varints, length-prefixed strings, and big-endian keys whose bytewise order is numeric
// order.
//
// Put* append to a string. Reader takes values off the front of a buffer and remembers the first
// failure, so a decoder reads all its fields and asks ok() once.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

namespace factord {

static_assert(std::endian::native == std::endian::little,
              "the storage format is little-endian and rows are copied as they lie in memory");

inline void PutFixed32(std::string* out, uint32_t v) {
  out->append(reinterpret_cast<const char*>(&v), sizeof(v));
}
inline void PutFixed64(std::string* out, uint64_t v) {
  out->append(reinterpret_cast<const char*>(&v), sizeof(v));
}
inline void PutFloat(std::string* out, float v) { PutFixed32(out, std::bit_cast<uint32_t>(v)); }
inline void PutDouble(std::string* out, double v) { PutFixed64(out, std::bit_cast<uint64_t>(v)); }
void PutVarint(std::string* out, uint64_t v);
// Varint length, then the bytes.
void PutString(std::string* out, absl::string_view v);
// Eight (four) bytes, most significant first.
void PutBigEndian64(std::string* out, uint64_t v);
void PutBigEndian32(std::string* out, uint32_t v);

// Thread-compatible. Views into the buffer live as long as the buffer.
class Reader {
 public:
  explicit Reader(absl::string_view data) : data_(data) {}

  uint8_t Byte();
  uint32_t Fixed32();
  uint64_t Fixed64();
  float Float() { return std::bit_cast<float>(Fixed32()); }
  double Double() { return std::bit_cast<double>(Fixed64()); }
  uint64_t Varint();
  absl::string_view String();
  absl::string_view Bytes(size_t n);
  uint64_t BigEndian64();
  uint32_t BigEndian32();

  // False once any read went past the end or met a malformed varint; later reads return zeros.
  bool ok() const { return ok_; }
  // True when every byte has been read without a failure.
  bool Done() const { return ok_ && data_.empty(); }
  size_t remaining() const { return data_.size(); }

 private:
  absl::string_view data_;
  bool ok_ = true;
};

}  // namespace factord
