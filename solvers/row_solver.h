// One row's problem, and the methods to improve it: w >= 0 shall make w . x_j close to r_j for the
// row's entries j, with the partners' rows x_j fixed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "solvers/batch_solver.h"

namespace factord {

// What a method needs to know of all rows of the fixed side, once for all problems.
struct FixedSide {
  // Computes what `options` make use of.
  FixedSide(const BatchOptions& options, const FactorMatrix& rows);

  const FactorMatrix& rows;
  // With Zeros::kObserved. `gram`: for each factor k a row of stride floats, sum_i x_ik x_il;
  // `sums`: sum_i x_ik.
  std::vector<float> gram;
  std::vector<float> sums;
};

struct RowProblem {
  const FixedSide& fixed;
  absl::Span<const uint32_t> partners;  // rows of fixed.rows
  absl::Span<const float> values;       // one for each partner
  int32_t pass;                         // from 0
  uint64_t seed;                        // for the order of entries
};

// Thread-compatible: methods keep scratch space.
class RowSolver {
 public:
  explicit RowSolver(const BatchOptions& options) : options_(options) {}
  virtual ~RowSolver() = default;
  RowSolver(const RowSolver&) = delete;
  RowSolver& operator=(const RowSolver&) = delete;

  // Changes w: stride floats, those from rank on stay 0.
  virtual void Improve(const RowProblem& problem, float* w) = 0;

 protected:
  const BatchOptions options_;
};

std::unique_ptr<RowSolver> MakeRowSolver(const BatchOptions& options);

}  // namespace factord
