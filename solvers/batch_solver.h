// Batch solvers for non-negative matrix factorization, the baselines beside the online update: they
// read the whole matrix in every pass.
//
//   BatchOptions options{.method = BatchMethod::kCoordinateDescent, .l2 = 1};
//   FACTORD_ASSIGN_OR_RETURN(auto solver, BatchSolver::Create(options, &ratings));
//   for (int pass = 0; pass < 5; ++pass) solver->Pass();
//   ... solver->Predict(user, item) ...
//
// All of them alternate: a pass changes P with Q fixed, then Q with P fixed. With one side fixed
// the rows of the other are independent problems, so a method is a way to improve one row
// (row_solver.h) and everything else is here.
//
// What is not in the matrix is either unknown (Zeros::kMissing: ratings) or 0 (Zeros::kObserved:
// counts, pixels). In the second case P Q is never formed: what the zeros add is a function of the
// m x m matrix of all inner products of the fixed side's factors (its Gram matrix), or of their
// sums.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "model/config.h"
#include "solvers/factor_matrix.h"
#include "solvers/sparse_matrix.h"

namespace factord {

class RowSolver;

enum class BatchMethod {
  // The passive-aggressive update of docs/algorithm.md, alternating: Blondel, Kubo, Ueda, AISTATS
  // 2014, as in their experiments. An entry at a time, in random order within a row.
  kPassiveAggressive,
  // Projected stochastic gradient, step 1 / (l2 t) for the t-th entry of a row (S. Shalev-Shwartz,
  // Y. Singer, N. Srebro, Pegasos, ICML 2007), on |r - rhat| or on (r - rhat)^2 / 2.
  kSgdAbsolute,
  kSgdSquared,
  // Projected gradient on the squared error, the step found by a line search with the sufficient
  // decrease condition (C.-J. Lin, Neural Computation 19, 2007).
  kProjectedGradient,
  // Each coordinate to its minimum of the squared error, residuals kept (C.-J. Hsieh, I. Dhillon,
  // KDD 2011; H.-F. Yu, C.-J. Hsieh, S. Si, I. Dhillon, ICDM 2012).
  kCoordinateDescent,
  // Multiplicative updates for the squared error and for the generalised Kullback-Leibler
  // divergence sum r log(r / rhat) - r + rhat (D. Lee, H. S. Seung, NIPS 2000). With l2 > 0 the
  // minimum of the same majorising function with the penalty added.
  kMultiplicativeEuclidean,
  kMultiplicativeKl,
};

enum class Zeros { kMissing, kObserved };

struct BatchOptions {
  BatchMethod method = BatchMethod::kPassiveAggressive;
  int32_t rank = 30;  // 1 to kMaxRank
  uint64_t seed = 1;  // of the start and of the order of entries
  Zeros zeros = Zeros::kMissing;
  // Weight of (|P|^2 + |Q|^2) / 2 beside the loss; at least 0, above it for SGD. For SGD the loss
  // is the mean over a row's entries, for the others it is the sum. Not for kPassiveAggressive.
  float l2 = 1;
  // kPassiveAggressive: see model/step.h.
  Variant variant = Variant::kPaI;
  Solver step_solver = Solver::kApproximate;
  float aggressiveness = 0.1f;  // C > 0
  float epsilon = 0;            // >= 0
  float tolerance = 1e-3f;      // of bisection, in (0, 1)
  // kPassiveAggressive: false lets factors become negative (plain PA).
  bool non_negative = true;

  // INVALID_ARGUMENT naming every bad field.
  absl::Status Validate() const;
};

// The names that programs use: "pa", "sgd-absolute", "sgd-squared", "projected-gradient",
// "coordinate-descent", "multiplicative", "multiplicative-kl".
absl::string_view BatchMethodName(BatchMethod method);
absl::StatusOr<BatchMethod> BatchMethodFromName(absl::string_view name);

// Thread-compatible.
class BatchSolver {
 public:
  // Starts at P = 0 and Q uniform in [0, 1), as the paper does, but for multiplicative updates,
  // which never leave 0: theirs are uniform in both. Rows of `matrix` belong to P. `matrix` must
  // outlive the solver. INVALID_ARGUMENT: bad options; negative entries; Zeros::kObserved with a
  // method that goes entry by entry.
  static absl::StatusOr<std::unique_ptr<BatchSolver>> Create(const BatchOptions& options,
                                                             const SparseMatrix* matrix);
  ~BatchSolver();

  // P once, then Q once.
  void Pass();
  int32_t passes() const { return passes_; }

  // p . q, not clipped.
  float Predict(uint32_t row, uint32_t column) const;
  const FactorMatrix& p() const { return p_; }
  const FactorMatrix& q() const { return q_; }
  // What the method makes small: the loss over all entries (all cells, with Zeros::kObserved) and
  // l2 (|P|^2 + |Q|^2) / 2. The loss of kPassiveAggressive is |r - rhat|, without the penalty.
  double Objective() const;

 private:
  BatchSolver(const BatchOptions& options, const SparseMatrix* matrix);
  void UpdateSide(const SparseMatrix& matrix, const FactorMatrix& fixed, uint64_t side,
                  FactorMatrix* changed);

  const BatchOptions options_;
  const SparseMatrix* const matrix_;
  const SparseMatrix transposed_;
  const std::unique_ptr<RowSolver> row_solver_;
  FactorMatrix p_;
  FactorMatrix q_;
  int32_t passes_ = 0;
};

}  // namespace factord
