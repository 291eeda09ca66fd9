// A 128-bit hash value that can be summed, so that a set of records has one hash whatever the order
// in which its members are visited, added or removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace factord {

// Addition and subtraction are modulo 2^128 (a commutative group), so a running sum over records
// can be kept up to date: subtract the old record's hash, add the new one's. Thread-compatible.
struct Hash128 {
  uint64_t high = 0;
  uint64_t low = 0;

  Hash128& operator+=(const Hash128& other) {
    low += other.low;
    high += other.high + (low < other.low ? 1 : 0);
    return *this;
  }
  Hash128& operator-=(const Hash128& other) {
    const uint64_t borrow = low < other.low ? 1 : 0;
    low -= other.low;
    high -= other.high + borrow;
    return *this;
  }
  friend Hash128 operator+(Hash128 a, const Hash128& b) { return a += b; }
  friend Hash128 operator-(Hash128 a, const Hash128& b) { return a -= b; }
  friend bool operator==(const Hash128& a, const Hash128& b) = default;

  // 32 lower-case hexadecimal digits, high part first.
  std::string ToHex() const;
  // The value of 32 hexadecimal digits; false, and *hash untouched, on anything else.
  static bool FromHex(absl::string_view hex, Hash128* hash);
};

// XXH3 of `data`, 128 and 64 bits wide. Stable: part of the storage format. `seed` separates kinds
// of record, so that equal bytes of two kinds do not cancel out in a sum.
Hash128 HashBytes128(absl::string_view data, uint64_t seed = 0);
uint64_t HashBytes64(absl::string_view data, uint64_t seed = 0);

}  // namespace factord
