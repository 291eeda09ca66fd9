#include "base/hash128.h"

#define XXH_INLINE_ALL  // short texts, so calls would take half of the time
#include <xxhash.h>

#include "absl/strings/str_format.h"

namespace factord {

std::string Hash128::ToHex() const { return absl::StrFormat("%016x%016x", high, low); }

bool Hash128::FromHex(absl::string_view hex, Hash128* hash) {
  if (hex.size() != 32) return false;
  Hash128 value;
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    uint64_t digit;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<uint64_t>(c - 'a' + 10);
    } else {
      return false;
    }
    uint64_t& half = i < 16 ? value.high : value.low;
    half = half << 4 | digit;
  }
  *hash = value;
  return true;
}

Hash128 HashBytes128(absl::string_view data, uint64_t seed) {
  const XXH128_hash_t h = XXH3_128bits_withSeed(data.data(), data.size(), seed);
  return Hash128{h.high64, h.low64};
}

uint64_t HashBytes64(absl::string_view data, uint64_t seed) {
  return XXH3_64bits_withSeed(data.data(), data.size(), seed);
}

}  // namespace factord
