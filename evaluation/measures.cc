#include "evaluation/measures.h"

#include <algorithm>
#include <cmath>

namespace factord {
namespace {

double Ratio(double a, double b) { return b > 0 ? a / b : 0; }

}  // namespace

void RatingErrors::Add(double rating, double predicted) {
  const double error = std::abs(rating - predicted);
  ++size_;
  absolute_ += error;
  squared_ += error * error;
  ratings_ += std::abs(rating);
}

double RatingErrors::mae() const { return Ratio(absolute_, static_cast<double>(size_)); }
double RatingErrors::rmse() const { return std::sqrt(Ratio(squared_, static_cast<double>(size_))); }
double RatingErrors::error_percent() const { return 100 * Ratio(absolute_, ratings_); }

void RankingQuality::Add(absl::Span<const uint32_t> recommended, uint32_t target) {
  ++users_;
  for (const uint32_t item : recommended) {
    if (was_recommended_[item]) continue;
    was_recommended_[item] = true;
    ++coverage_;
  }
  const auto found = std::find(recommended.begin(), recommended.end(), target);
  if (found == recommended.end()) return;
  ++found_;
  gain_ += 1 / std::log2(2 + static_cast<double>(found - recommended.begin()));
}

double RankingQuality::recall() const {
  return Ratio(static_cast<double>(found_), static_cast<double>(users_));
}
double RankingQuality::ndcg() const { return Ratio(gain_, static_cast<double>(users_)); }

Spread SpreadOf(absl::Span<const double> values) {
  Spread spread;
  if (values.empty()) return spread;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) spread.mean += value / n;
  if (values.size() < 2) return spread;
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = std::sqrt(squares / (n - 1));
  return spread;
}

}  // namespace factord
