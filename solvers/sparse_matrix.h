// A non-negative sparse matrix, row by row.
//
//   SparseMatrix ratings(users, items, entries);
//   SparseMatrix by_item = ratings.Transposed();
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace factord {

struct MatrixEntry {
  uint32_t row = 0;
  uint32_t column = 0;
  float value = 0;
};

// Thread-safe: does not change.
class SparseMatrix {
 public:
  struct Row {
    absl::Span<const uint32_t> columns;
    absl::Span<const float> values;
  };

  // The entries of a row keep their order. REQUIRES: rows and columns within their sizes.
  SparseMatrix(uint32_t rows, uint32_t columns, absl::Span<const MatrixEntry> entries);

  uint32_t rows() const { return static_cast<uint32_t>(starts_.size() - 1); }
  uint32_t columns() const { return columns_; }
  size_t entries() const { return values_.size(); }
  Row row(uint32_t index) const {
    const size_t start = starts_[index], size = starts_[index + 1] - start;
    return {{column_of_.data() + start, size}, {values_.data() + start, size}};
  }
  SparseMatrix Transposed() const;

 private:
  const uint32_t columns_;
  std::vector<size_t> starts_;  // of each row, and the end
  std::vector<uint32_t> column_of_;
  std::vector<float> values_;
};

}  // namespace factord
