// Upper bounds of inner products from rows in a byte a factor, for searches that then look at few
// rows in full.
//
// With x = s c + f (c: the codes less 128) and q = t d + e (d: codes of 6 bits and a sign)
//
//   q . x = t s (d . c) + e . (x - f) + q . f <= s (t (d . c) + (|q| + |e|) sqrt(m) / 2) + |e| |x|
//
// since no entry of f is larger than s / 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/kernel_table.h"

namespace factord {

// At least the length of a vector whose product with itself, by the kernels, is `square`; by so
// much that the product of two of these is at least any inner product as the kernels round it.
float UpperNorm(float square);

// A query in code. Thread-compatible.
class CodedQuery {
 public:
  // `query` has `stride` floats.
  CodedQuery(const float* query, size_t stride);

  // UpperNorm of the query.
  float norm() const { return norm_; }
  // For Kernels::bound_coded: with norms that are UpperNorms of the rows, and scales and codes by
  // Kernels::code_row, each bound is at least the row's product with the query plus its bias.
  CodedFactors code() const { return {d_.data(), zero_, scale_, row_error_, error_}; }

 private:
  std::vector<int8_t> d_;
  float norm_;
  int32_t zero_;
  float scale_;      // t
  float error_;      // |e|
  float row_error_;  // (|q| + |e|) sqrt(m) / 2
};

}  // namespace factord
