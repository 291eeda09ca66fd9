#include "model/row_codes.h"

#include <algorithm>
#include <cmath>

#include "model/kernels.h"

namespace factord {
namespace {

constexpr float kMaxCode = 63;  // of CodedFactors

// More than sums of kMaxRank rounded products can be off by, as a share of the lengths' product.
constexpr float kSlack = 1e-4f;

}  // namespace

float UpperNorm(float square) {
  // The last term is for squares that underflow.
  return std::sqrt(square) * (1 + kSlack) + 1e-20f;
}

CodedQuery::CodedQuery(const float* query, size_t stride) : d_((stride + 63) / 64 * 64) {
  const Kernels& kernels = ActiveKernels();
  norm_ = UpperNorm(kernels.dot(query, query, stride));
  float max = 0;
  for (size_t k = 0; k < stride; ++k) max = std::max(max, std::abs(query[k]));
  scale_ = std::max(max / kMaxCode, kMinCodeScale);
  const float inverse = 1 / scale_;
  int32_t sum = 0;
  float square = 0;
  for (size_t k = 0; k < stride; ++k) {
    d_[k] = static_cast<int8_t>(std::nearbyint(query[k] * inverse));
    sum += d_[k];
    const float error = query[k] - scale_ * static_cast<float>(d_[k]);
    square += error * error;
  }
  zero_ = 128 * sum;
  error_ = UpperNorm(square) + kSlack * norm_;
  row_error_ = (norm_ + error_) * (std::sqrt(static_cast<float>(stride)) / 2) * (1 + kSlack);
}

}  // namespace factord
