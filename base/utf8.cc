#include "base/utf8.h"

namespace factord {

bool IsValidUtf8(absl::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    // The lead byte tells the length and, with the second byte, rules out what is overlong, a
    // surrogate or too large (Unicode, table 3-7).
    int following;
    unsigned char low = 0x80, high = 0xBF;
    if (*p >= 0xC2 && *p <= 0xDF) {
      following = 1;
    } else if (*p >= 0xE0 && *p <= 0xEF) {
      following = 2;
      if (*p == 0xE0) low = 0xA0;
      if (*p == 0xED) high = 0x9F;
    } else if (*p >= 0xF0 && *p <= 0xF4) {
      following = 3;
      if (*p == 0xF0) low = 0x90;
      if (*p == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    ++p;
    for (int i = 0; i < following; ++i, ++p) {
      if (p == end || *p < low || *p > high) return false;
      low = 0x80;
      high = 0xBF;
    }
  }
  return true;
}

}  // namespace factord
