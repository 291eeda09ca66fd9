#include "solvers/row_solver.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/kernels.h"
#include "model/mix.h"
#include "model/step.h"

namespace factord {
namespace {

// The order in which a method that goes entry by entry visits them: another one in each pass.
class EntryOrder {
 public:
  absl::Span<const uint32_t> Shuffle(const RowProblem& problem) {
    order_.resize(problem.partners.size());
    std::iota(order_.begin(), order_.end(), 0);
    factord::Shuffle(problem.seed, &order_);
    return order_;
  }

 private:
  std::vector<uint32_t> order_;
};

class PassiveAggressive final : public RowSolver {
 public:
  using RowSolver::RowSolver;

  void Improve(const RowProblem& problem, float* w) override {
    const Kernels& kernels = ActiveKernels();
    const size_t stride = problem.fixed.rows.stride();
    const StepRule rule = {options_.variant, options_.step_solver, options_.aggressiveness,
                           options_.epsilon, options_.tolerance};
    for (const uint32_t j : order_.Shuffle(problem)) {
      const float* const x = problem.fixed.rows.row(problem.partners[j]);
      const PairProducts products = kernels.products(w, x, stride);
      const StepSide side = {w, x, stride, products.pq, products.qq};
      if (options_.non_negative) {
        const float step = SignedStep(rule, side, problem.values[j], Mix64(problem.seed ^ j));
        for (size_t k = 0; k < stride; ++k) w[k] = std::max(w[k] + step * x[k], 0.0f);
      } else {
        const float loss = EpsilonLoss(products.pq, problem.values[j], options_.epsilon);
        const float size = ClosedFormStep(rule, loss, products.qq);
        const float step = products.pq < problem.values[j] ? size : -size;
        for (size_t k = 0; k < stride; ++k) w[k] += step * x[k];
      }
    }
  }

 private:
  EntryOrder order_;
};

class StochasticGradient final : public RowSolver {
 public:
  using RowSolver::RowSolver;

  void Improve(const RowProblem& problem, float* w) override {
    const Kernels& kernels = ActiveKernels();
    const size_t stride = problem.fixed.rows.stride();
    const bool absolute = options_.method == BatchMethod::kSgdAbsolute;
    // The squared loss of a long partner would overshoot without bound while t is small.
    const auto n = static_cast<float>(problem.partners.size());
    float t = static_cast<float>(problem.pass) * n;
    for (const uint32_t j : order_.Shuffle(problem)) {
      ++t;
      const float* const x = problem.fixed.rows.row(problem.partners[j]);
      const PairProducts products = kernels.products(w, x, stride);
      const float error = problem.values[j] - products.pq;
      float step = 1 / (options_.l2 * t);
      const float decay = 1 - step * options_.l2;
      if (absolute) {
        step *= error > 0 ? 1.0f : error < 0 ? -1.0f : 0.0f;
      } else {
        step = std::min(step, products.qq > 0 ? 1 / products.qq : 0.0f) * error;
      }
      for (size_t k = 0; k < stride; ++k) w[k] = std::max(decay * w[k] + step * x[k], 0.0f);
    }
  }

 private:
  EntryOrder order_;
};

// sum_j values_j x_j, into `sum`.
void AddWeighted(const RowProblem& problem, const float* weights, std::vector<float>* sum) {
  const size_t stride = problem.fixed.rows.stride();
  sum->assign(stride, 0);
  for (size_t j = 0; j < problem.partners.size(); ++j) {
    const float* const x = problem.fixed.rows.row(problem.partners[j]);
    for (size_t k = 0; k < stride; ++k) (*sum)[k] += weights[j] * x[k];
  }
}

// w . x_j for each entry.
void PredictRow(const RowProblem& problem, const float* w, std::vector<float>* predictions) {
  const Kernels& kernels = ActiveKernels();
  predictions->resize(problem.partners.size());
  for (size_t j = 0; j < problem.partners.size(); ++j) {
    (*predictions)[j] =
        kernels.dot(w, problem.fixed.rows.row(problem.partners[j]), problem.fixed.rows.stride());
  }
}

// G w, for the Gram matrix G.
void MultiplyGram(const FixedSide& fixed, const float* w, std::vector<float>* product) {
  const Kernels& kernels = ActiveKernels();
  const size_t stride = fixed.rows.stride();
  product->assign(stride, 0);
  for (size_t k = 0; k < fixed.rows.rank(); ++k) {
    (*product)[k] = kernels.dot(w, fixed.gram.data() + k * stride, stride);
  }
}

class ProjectedGradient final : public RowSolver {
 public:
  using RowSolver::RowSolver;

  void Improve(const RowProblem& problem, float* w) override {
    constexpr int kMaxTries = 30;
    constexpr double kSufficient = 0.01;  // of the decrease that the gradient promises
    const Kernels& kernels = ActiveKernels();
    const size_t stride = problem.fixed.rows.stride();
    // H w, with H the matrix of the quadratic form: the objective is w.Hw/2 - w.c + constant.
    AddWeighted(problem, problem.values.data(), &linear_);
    MultiplyHessian(problem, w, &product_);
    direction_.resize(stride);
    for (size_t k = 0; k < stride; ++k) {
      const float gradient = product_[k] - linear_[k];
      direction_[k] = w[k] > 0 || gradient < 0 ? -gradient : 0;
    }
    MultiplyHessian(problem, direction_.data(), &product_);
    const float slope = kernels.dot(direction_.data(), direction_.data(), stride);
    const float curvature = kernels.dot(direction_.data(), product_.data(), stride);
    if (!(slope > 0) || !(curvature > 0)) return;
    // The minimum along the ray; projection may ask for less.
    float step = slope / curvature;
    for (int i = 0; i < kMaxTries; ++i, step /= 2) {
      moved_.resize(stride);
      for (size_t k = 0; k < stride; ++k) {
        moved_[k] = std::max(w[k] + step * direction_[k], 0.0f) - w[k];
      }
      MultiplyHessian(problem, moved_.data(), &product_);
      const double promised = -kernels.dot(direction_.data(), moved_.data(), stride);
      const double change = promised + 0.5 * kernels.dot(moved_.data(), product_.data(), stride);
      if (change > kSufficient * promised) continue;
      for (size_t k = 0; k < stride; ++k) w[k] = std::max(w[k] + step * direction_[k], 0.0f);
      return;
    }
  }

 private:
  void MultiplyHessian(const RowProblem& problem, const float* w, std::vector<float>* product) {
    if (options_.zeros == Zeros::kObserved) {
      MultiplyGram(problem.fixed, w, product);
    } else {
      PredictRow(problem, w, &predictions_);
      AddWeighted(problem, predictions_.data(), product);
    }
    for (size_t k = 0; k < product->size(); ++k) (*product)[k] += options_.l2 * w[k];
  }

  std::vector<float> linear_, product_, direction_, moved_, predictions_;
};

class CoordinateDescent final : public RowSolver {
 public:
  using RowSolver::RowSolver;

  void Improve(const RowProblem& problem, float* w) override {
    options_.zeros == Zeros::kObserved ? ImproveWithZeros(problem, w) : ImproveEntries(problem, w);
  }

 private:
  // Keeps the residuals of the row's entries.
  void ImproveEntries(const RowProblem& problem, float* w) {
    const Kernels& kernels = ActiveKernels();
    const size_t n = problem.partners.size(), padded = RowStride(n);
    const size_t rank = problem.fixed.rows.rank();
    residuals_.assign(padded, 0);
    columns_.assign(padded * rank, 0);
    for (size_t j = 0; j < n; ++j) {
      const float* const x = problem.fixed.rows.row(problem.partners[j]);
      residuals_[j] = problem.values[j] - kernels.dot(w, x, problem.fixed.rows.stride());
      for (size_t k = 0; k < rank; ++k) columns_[k * padded + j] = x[k];
    }
    for (size_t k = 0; k < rank; ++k) {
      const float* const column = columns_.data() + k * padded;
      const float curvature = kernels.dot(column, column, padded) + options_.l2;
      if (!(curvature > 0)) continue;
      const float descent = kernels.dot(column, residuals_.data(), padded) - options_.l2 * w[k];
      const float next = std::max(w[k] + descent / curvature, 0.0f);
      const float change = next - w[k];
      if (change == 0) continue;
      for (size_t j = 0; j < padded; ++j) residuals_[j] -= change * column[j];
      w[k] = next;
    }
  }

  // Keeps the gradient, which is all that the zeros enter.
  void ImproveWithZeros(const RowProblem& problem, float* w) {
    const size_t stride = problem.fixed.rows.stride();
    MultiplyGram(problem.fixed, w, &gradient_);
    AddWeighted(problem, problem.values.data(), &linear_);
    for (size_t k = 0; k < problem.fixed.rows.rank(); ++k) {
      const float* const gram = problem.fixed.gram.data() + k * stride;
      const float curvature = gram[k] + options_.l2;
      if (!(curvature > 0)) continue;
      const float descent = linear_[k] - gradient_[k] - options_.l2 * w[k];
      const float next = std::max(w[k] + descent / curvature, 0.0f);
      const float change = next - w[k];
      for (size_t l = 0; l < stride; ++l) gradient_[l] += change * gram[l];
      w[k] = next;
    }
  }

  std::vector<float> residuals_, columns_, gradient_, linear_;
};

class MultiplicativeEuclidean final : public RowSolver {
 public:
  using RowSolver::RowSolver;

  void Improve(const RowProblem& problem, float* w) override {
    AddWeighted(problem, problem.values.data(), &wanted_);
    if (options_.zeros == Zeros::kObserved) {
      MultiplyGram(problem.fixed, w, &present_);
    } else {
      PredictRow(problem, w, &predictions_);
      AddWeighted(problem, predictions_.data(), &present_);
    }
    for (size_t k = 0; k < problem.fixed.rows.rank(); ++k) {
      const float present = present_[k] + options_.l2 * w[k];
      w[k] = present > 0 ? w[k] * (wanted_[k] / present) : 0;
    }
  }

 private:
  std::vector<float> wanted_, present_, predictions_;
};

class MultiplicativeKl final : public RowSolver {
 public:
  using RowSolver::RowSolver;

  void Improve(const RowProblem& problem, float* w) override {
    PredictRow(problem, w, &ratios_);
    for (size_t j = 0; j < ratios_.size(); ++j) {
      ratios_[j] = ratios_[j] > 0 ? problem.values[j] / ratios_[j] : 0;
    }
    AddWeighted(problem, ratios_.data(), &wanted_);
    const std::vector<float>* sums = &problem.fixed.sums;
    if (options_.zeros == Zeros::kMissing) {
      std::fill(ratios_.begin(), ratios_.end(), 1.0f);
      AddWeighted(problem, ratios_.data(), &sums_);
      sums = &sums_;
    }
    for (size_t k = 0; k < problem.fixed.rows.rank(); ++k) {
      const float a = w[k] * wanted_[k], b = (*sums)[k];
      // The majorising function's derivative is l2 w + b - a / w. Its root in a form that loses no
      // digits and is a / b where l2 is 0.
      const float denominator = b + std::sqrt(b * b + 4 * options_.l2 * a);
      w[k] = denominator > 0 ? 2 * a / denominator : 0;
    }
  }

 private:
  std::vector<float> ratios_, wanted_, sums_;
};

}  // namespace

FixedSide::FixedSide(const BatchOptions& options, const FactorMatrix& rows) : rows(rows) {
  if (options.zeros == Zeros::kMissing) return;
  const size_t rank = rows.rank(), stride = rows.stride();
  // In double: these are sums over all rows.
  std::vector<double> products(rank * rank), totals(rank);
  for (uint32_t i = 0; i < rows.rows(); ++i) {
    const float* const x = rows.row(i);
    for (size_t k = 0; k < rank; ++k) {
      totals[k] += static_cast<double>(x[k]);
      for (size_t l = 0; l <= k; ++l) {
        products[k * rank + l] += static_cast<double>(x[k]) * static_cast<double>(x[l]);
      }
    }
  }
  gram.resize(rank * stride);
  sums.assign(totals.begin(), totals.end());
  sums.resize(stride);
  for (size_t k = 0; k < rank; ++k) {
    for (size_t l = 0; l <= k; ++l) {
      gram[k * stride + l] = gram[l * stride + k] = static_cast<float>(products[k * rank + l]);
    }
  }
}

std::unique_ptr<RowSolver> MakeRowSolver(const BatchOptions& options) {
  switch (options.method) {
    case BatchMethod::kPassiveAggressive:
      return std::make_unique<PassiveAggressive>(options);
    case BatchMethod::kSgdAbsolute:
    case BatchMethod::kSgdSquared:
      return std::make_unique<StochasticGradient>(options);
    case BatchMethod::kProjectedGradient:
      return std::make_unique<ProjectedGradient>(options);
    case BatchMethod::kCoordinateDescent:
      return std::make_unique<CoordinateDescent>(options);
    case BatchMethod::kMultiplicativeEuclidean:
      return std::make_unique<MultiplicativeEuclidean>(options);
    case BatchMethod::kMultiplicativeKl:
      return std::make_unique<MultiplicativeKl>(options);
  }
  return nullptr;
}

}  // namespace factord
