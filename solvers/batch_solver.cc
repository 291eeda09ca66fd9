#include "solvers/batch_solver.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/kernels.h"
#include "model/mix.h"
#include "solvers/row_solver.h"

namespace factord {
namespace {

constexpr std::pair<BatchMethod, absl::string_view> kMethods[] = {
    {BatchMethod::kPassiveAggressive, "pa"},
    {BatchMethod::kSgdAbsolute, "sgd-absolute"},
    {BatchMethod::kSgdSquared, "sgd-squared"},
    {BatchMethod::kProjectedGradient, "projected-gradient"},
    {BatchMethod::kCoordinateDescent, "coordinate-descent"},
    {BatchMethod::kMultiplicativeEuclidean, "multiplicative"},
    {BatchMethod::kMultiplicativeKl, "multiplicative-kl"},
};

bool IsSgd(BatchMethod method) {
  return method == BatchMethod::kSgdAbsolute || method == BatchMethod::kSgdSquared;
}

bool IsMultiplicative(BatchMethod method) {
  return method == BatchMethod::kMultiplicativeEuclidean ||
         method == BatchMethod::kMultiplicativeKl;
}

void StartUniform(uint64_t stream, FactorMatrix* matrix) {
  for (uint32_t i = 0; i < matrix->rows(); ++i) {
    for (size_t k = 0; k < matrix->rank(); ++k) {
      matrix->row(i)[k] = UnitFloat(Mix64(stream + i * matrix->rank() + k));
    }
  }
}

double SquaredNorm(const FactorMatrix& matrix) {
  double sum = 0;
  for (uint32_t i = 0; i < matrix.rows(); ++i) {
    for (size_t k = 0; k < matrix.rank(); ++k) {
      sum += static_cast<double>(matrix.row(i)[k]) * static_cast<double>(matrix.row(i)[k]);
    }
  }
  return sum;
}

double Divergence(double r, double predicted) {
  if (r == 0) return predicted;
  // Never quite 0, which no multiplicative step leaves.
  predicted = std::max(predicted, 1e-30);
  return r * std::log(r / predicted) - r + predicted;
}

// Of one entry.
double Loss(BatchMethod method, double r, double predicted) {
  switch (method) {
    case BatchMethod::kPassiveAggressive:
    case BatchMethod::kSgdAbsolute:
      return std::abs(r - predicted);
    case BatchMethod::kMultiplicativeKl:
      return Divergence(r, predicted);
    default:
      return (r - predicted) * (r - predicted) / 2;
  }
}

}  // namespace

absl::Status BatchOptions::Validate() const {
  std::vector<std::string> bad;
  const auto require = [&bad](bool holds, absl::string_view rule) {
    if (!holds) bad.emplace_back(rule);
  };
  require(rank >= 1 && rank <= kMaxRank, absl::StrCat("rank: must be 1 to ", kMaxRank));
  require(std::isfinite(l2) && l2 >= 0, "l2: must be at least 0");
  if (IsSgd(method)) require(l2 > 0, "l2: must be above 0 for SGD, whose step is 1 / (l2 t)");
  require(std::isfinite(aggressiveness) && aggressiveness > 0, "aggressiveness: must be above 0");
  require(std::isfinite(epsilon) && epsilon >= 0, "epsilon: must be at least 0");
  require(tolerance > 0 && tolerance < 1, "tolerance: must be between 0 and 1");
  if (zeros == Zeros::kObserved) {
    require(method != BatchMethod::kPassiveAggressive && !IsSgd(method),
            "zeros: cannot be observed by a method that goes entry by entry");
  }
  if (!non_negative) {
    require(method == BatchMethod::kPassiveAggressive,
            "non_negative: may be false for passive-aggressive updates only");
  }
  if (bad.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(bad, "; "));
}

absl::string_view BatchMethodName(BatchMethod method) {
  for (const auto& [value, name] : kMethods) {
    if (value == method) return name;
  }
  return "";
}

absl::StatusOr<BatchMethod> BatchMethodFromName(absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const auto& [value, known] : kMethods) {
    if (known == name) return value;
    names.push_back(known);
  }
  return absl::InvalidArgumentError(absl::StrCat("must be one of ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<std::unique_ptr<BatchSolver>> BatchSolver::Create(const BatchOptions& options,
                                                                 const SparseMatrix* matrix) {
  FACTORD_RETURN_IF_ERROR(options.Validate());
  for (uint32_t row = 0; row < matrix->rows(); ++row) {
    const SparseMatrix::Row entries = matrix->row(row);
    for (size_t j = 0; j < entries.values.size(); ++j) {
      if (std::isfinite(entries.values[j]) && entries.values[j] >= 0) continue;
      return absl::InvalidArgumentError(absl::StrCat("entry (", row, ", ", entries.columns[j],
                                                     ") is ", entries.values[j],
                                                     ": must be finite and not negative"));
    }
  }
  return std::unique_ptr<BatchSolver>(new BatchSolver(options, matrix));
}

BatchSolver::BatchSolver(const BatchOptions& options, const SparseMatrix* matrix)
    : options_(options),
      matrix_(matrix),
      transposed_(matrix->Transposed()),
      row_solver_(MakeRowSolver(options)),
      p_(matrix->rows(), static_cast<size_t>(options.rank)),
      q_(matrix->columns(), static_cast<size_t>(options.rank)) {
  StartUniform(Mix64(options.seed), &q_);
  if (IsMultiplicative(options.method)) StartUniform(Mix64(~options.seed), &p_);
}

BatchSolver::~BatchSolver() = default;

void BatchSolver::UpdateSide(const SparseMatrix& matrix, const FactorMatrix& fixed, uint64_t side,
                             FactorMatrix* changed) {
  const FixedSide fixed_side(options_, fixed);
  const uint64_t stream = Mix64(Mix64(options_.seed + 2 * static_cast<uint64_t>(passes_)) + side);
  for (uint32_t row = 0; row < matrix.rows(); ++row) {
    const SparseMatrix::Row entries = matrix.row(row);
    if (entries.columns.empty() && options_.zeros == Zeros::kMissing) continue;
    row_solver_->Improve(
        {fixed_side, entries.columns, entries.values, passes_, Mix64(stream + row)},
        changed->row(row));
  }
}

void BatchSolver::Pass() {
  UpdateSide(*matrix_, q_, 0, &p_);
  UpdateSide(transposed_, p_, 1, &q_);
  ++passes_;
}

float BatchSolver::Predict(uint32_t row, uint32_t column) const {
  return ActiveKernels().dot(p_.row(row), q_.row(column), p_.stride());
}

double BatchSolver::Objective() const {
  double loss = 0;
  const bool zeros_count = options_.zeros == Zeros::kObserved;
  for (uint32_t row = 0; row < matrix_->rows(); ++row) {
    const SparseMatrix::Row entries = matrix_->row(row);
    for (size_t j = 0; j < entries.values.size(); ++j) {
      const double predicted = static_cast<double>(Predict(row, entries.columns[j]));
      loss += Loss(options_.method, static_cast<double>(entries.values[j]), predicted);
      // What the sum over all cells, below, counts for this one.
      if (zeros_count) loss -= Loss(options_.method, 0, predicted);
    }
  }
  if (zeros_count) {
    const FixedSide columns(options_, q_);
    for (uint32_t row = 0; row < matrix_->rows(); ++row) {
      const float* const w = p_.row(row);
      for (size_t k = 0; k < p_.rank(); ++k) {
        const auto w_k = static_cast<double>(w[k]);
        if (options_.method == BatchMethod::kMultiplicativeKl) {
          loss += w_k * static_cast<double>(columns.sums[k]);
        } else {
          const float* const gram = columns.gram.data() + k * p_.stride();
          loss += w_k * static_cast<double>(ActiveKernels().dot(w, gram, p_.stride())) / 2;
        }
      }
    }
  }
  if (options_.method == BatchMethod::kPassiveAggressive) return loss;
  return loss + static_cast<double>(options_.l2) * (SquaredNorm(p_) + SquaredNorm(q_)) / 2;
}

}  // namespace factord
