#include "solvers/sparse_matrix.h"

namespace factord {

SparseMatrix::SparseMatrix(uint32_t rows, uint32_t columns, absl::Span<const MatrixEntry> entries)
    : columns_(columns),
      starts_(size_t{rows} + 1),
      column_of_(entries.size()),
      values_(entries.size()) {
  for (const MatrixEntry& entry : entries) ++starts_[entry.row + 1];
  for (size_t row = 0; row < rows; ++row) starts_[row + 1] += starts_[row];
  std::vector<size_t> next(starts_.begin(), starts_.end() - 1);
  for (const MatrixEntry& entry : entries) {
    const size_t at = next[entry.row]++;
    column_of_[at] = entry.column;
    values_[at] = entry.value;
  }
}

SparseMatrix SparseMatrix::Transposed() const {
  std::vector<MatrixEntry> entries;
  entries.reserve(values_.size());
  for (uint32_t r = 0; r < rows(); ++r) {
    const Row of_row = row(r);
    for (size_t j = 0; j < of_row.values.size(); ++j) {
      entries.push_back({of_row.columns[j], r, of_row.values[j]});
    }
  }
  return SparseMatrix(columns_, rows(), entries);
}

}  // namespace factord
