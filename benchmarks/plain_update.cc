#include "benchmarks/plain_update.h"

#include <algorithm>
#include <cmath>

namespace factord {

float PlainUpdate(float rating, float c, size_t stride, float* __restrict p, float* __restrict q) {
  float dot = 0, pp = 0, qq = 0;
  for (size_t k = 0; k < stride; ++k) {
    dot += p[k] * q[k];
    pp += p[k] * p[k];
    qq += q[k] * q[k];
  }
  const float error = rating - dot;
  const float loss = std::fabs(error);
  const float step_p = std::copysign(std::min(c, loss / qq), error);
  const float step_q = std::copysign(std::min(c, loss / pp), error);
  for (size_t k = 0; k < stride; ++k) {
    const float old = p[k];
    p[k] = std::max(0.0f, old + step_p * q[k]);
    q[k] = std::max(0.0f, q[k] + step_q * old);
  }
  return dot;
}

}  // namespace factord
