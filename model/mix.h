// A counter-based generator: number i of stream s is Mix64(s + i), whoever asks, in any order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace factord {

// The output function of SplitMix64 (Steele, Lea, Flood 2014). Part of the rows' start values:
// changing it changes all hashes.
inline constexpr uint64_t Mix64(uint64_t counter) {
  uint64_t z = counter * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// What 64 random bits say of a range: in [0, 1) by 24 of them, which a float holds exactly; and in
// [0, n), n < 2^32, by the high half, without a division and as evenly as anybody here needs.
inline constexpr float UnitFloat(uint64_t random) {
  return static_cast<float>(random >> 40) * 0x1p-24f;
}
inline constexpr uint64_t Below(uint64_t n, uint64_t random) { return ((random >> 32) * n) >> 32; }

// Brings `values` into an order that the stream says.
template <typename T>
void Shuffle(uint64_t stream, std::vector<T>* values) {
  for (size_t n = values->size(); n > 1; --n) {
    std::swap((*values)[n - 1], (*values)[Below(n, Mix64(stream + n))]);
  }
}

}  // namespace factord
