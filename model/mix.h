// A counter-based generator: number i of stream s is Mix64(s + i), whoever asks, in any order.
#pragma once

#include <cstdint>

namespace factord {

// The output function of SplitMix64 (Steele, Lea, Flood 2014). Part of the rows' start values:
// changing it changes all hashes.
inline constexpr uint64_t Mix64(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace factord
