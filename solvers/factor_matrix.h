// P or Q of a batch solver: rows of non-negative factors, padded as the kernels want them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/row.h"

namespace factord {

// Thread-compatible.
class FactorMatrix {
 public:
  // Zeros.
  FactorMatrix(uint32_t rows, size_t rank)
      : rows_(rows), rank_(rank), stride_(RowStride(rank)), values_(rows * stride_) {}

  uint32_t rows() const { return rows_; }
  size_t rank() const { return rank_; }
  size_t stride() const { return stride_; }
  // stride() floats, those from rank on 0.
  float* row(uint32_t index) { return values_.data() + index * stride_; }
  const float* row(uint32_t index) const { return values_.data() + index * stride_; }

 private:
  uint32_t rows_;
  size_t rank_;
  size_t stride_;
  std::vector<float> values_;
};

}  // namespace factord
