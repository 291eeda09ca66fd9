#include "model/row_codes.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "model/kernels.h"

namespace factord {
namespace {

TEST(RowCodesTest, BoundsAreAboveAndNear) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const Kernels& kernels = ActiveKernels();
  double slack = 0, product_size = 0;
  for (int n = 0; n < 300; ++n) {
    const size_t stride = 16 * (1 + random() % 20);
    std::vector<float> query(stride);
    for (float& v : query) v = normal(random);
    std::vector<std::vector<float>> rows(kCodedRows,
                                         std::vector<float>(stride + stride / sizeof(float)));
    const float* places[kCodedRows];
    float scales[kCodedRows], norms[kCodedRows], biases[kCodedRows], bounds[kCodedRows];
    for (size_t r = 0; r < kCodedRows; ++r) {
      const float size = std::exp(3 * normal(random));
      for (size_t k = 0; k < stride; ++k) rows[r][k] = size * normal(random);
      places[r] = rows[r].data();
      scales[r] = kernels.code_row(rows[r].data(), stride);
      norms[r] = UpperNorm(kernels.dot(rows[r].data(), rows[r].data(), stride));
      biases[r] = normal(random);
    }
    const CodedQuery coded(query.data(), stride);
    kernels.bound_coded({places, scales, norms, biases}, coded.code(), stride, 0xffff, 0, bounds);
    for (size_t r = 0; r < kCodedRows; ++r) {
      const float product = kernels.dot(rows[r].data(), query.data(), stride);
      ASSERT_GE(bounds[r], product + biases[r]) << "round " << n << " row " << r;
      ASSERT_GE(coded.norm() * norms[r], product);
      slack += static_cast<double>((bounds[r] - product - biases[r]) / (coded.norm() * norms[r]));
      product_size += static_cast<double>(std::abs(product) / (coded.norm() * norms[r]));
    }
  }
  EXPECT_LT(slack, product_size / 2);
}

TEST(RowCodesTest, TheNormIsAboveTheLength) {
  EXPECT_GT(UpperNorm(0), 0);
  for (const float square : {1e-38f, 1e-10f, 1.0f, 3.0f, 1e37f}) {
    EXPECT_GT(UpperNorm(square), std::sqrt(square));
    EXPECT_LT(UpperNorm(square), std::sqrt(square) * 1.001f + 1e-19f);
  }
}

}  // namespace
}  // namespace factord
