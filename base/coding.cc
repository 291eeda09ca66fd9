#include "base/coding.h"

namespace factord {

void PutVarint(std::string* out, uint64_t v) {
  char buffer[10];
  size_t n = 0;
  while (v >= 0x80) {
    buffer[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  buffer[n++] = static_cast<char>(v);
  out->append(buffer, n);
}

void PutString(std::string* out, absl::string_view v) {
  PutVarint(out, v.size());
  out->append(v.data(), v.size());
}

void PutBigEndian64(std::string* out, uint64_t v) {
  const uint64_t swapped = __builtin_bswap64(v);
  out->append(reinterpret_cast<const char*>(&swapped), sizeof(swapped));
}

void PutBigEndian32(std::string* out, uint32_t v) {
  const uint32_t swapped = __builtin_bswap32(v);
  out->append(reinterpret_cast<const char*>(&swapped), sizeof(swapped));
}

absl::string_view Reader::Bytes(size_t n) {
  if (!ok_ || n > data_.size()) {
    ok_ = false;
    return {};
  }
  const absl::string_view bytes = data_.substr(0, n);
  data_.remove_prefix(n);
  return bytes;
}

uint8_t Reader::Byte() {
  const absl::string_view b = Bytes(1);
  return ok_ ? static_cast<uint8_t>(b[0]) : 0;
}

uint32_t Reader::Fixed32() {
  uint32_t v = 0;
  const absl::string_view b = Bytes(sizeof(v));
  if (ok_) std::memcpy(&v, b.data(), sizeof(v));
  return v;
}

uint64_t Reader::Fixed64() {
  uint64_t v = 0;
  const absl::string_view b = Bytes(sizeof(v));
  if (ok_) std::memcpy(&v, b.data(), sizeof(v));
  return v;
}

uint64_t Reader::BigEndian64() { return __builtin_bswap64(Fixed64()); }
uint32_t Reader::BigEndian32() { return __builtin_bswap32(Fixed32()); }

uint64_t Reader::Varint() {
  uint64_t v = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = Byte();
    if (!ok_) return 0;
    // The tenth byte holds one bit; anything more would not fit 64 bits.
    if (shift == 63 && byte > 1) break;
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return v;
  }
  ok_ = false;
  return 0;
}

absl::string_view Reader::String() {
  const uint64_t n = Varint();
  return Bytes(n);
}

}  // namespace factord
