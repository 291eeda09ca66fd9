// How a row of P or Q lies in memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace factord {

// Kernels work on whole groups of this many floats, so rows are padded with zeros to a multiple of
// it. An update keeps the padding at zero. Part of the result of every sum: changing it changes all
// hashes.
inline constexpr size_t kLanes = 16;

// Floats from one row to the next for `rank` factors.
inline constexpr size_t RowStride(size_t rank) { return (rank + kLanes - 1) / kLanes * kLanes; }

// What a row holds beside its factors.
struct RowState {
  uint32_t count = 0;       // ratings learned from
  float bias = 0;           // rating units
  float bias_variance = 0;  // rating units squared
  float confidence = 0;     // the row's own step size, for methods that keep one
};

}  // namespace factord
