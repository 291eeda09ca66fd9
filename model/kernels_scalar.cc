// The reference: what every other set of kernels must equal, bit for bit.
#include "model/kernel_table.h"
#include "model/row.h"

namespace factord {
namespace {

// Partial sum l takes the products at l, l + kLanes, l + 2 kLanes, ...
struct LaneSums {
  float lane[kLanes] = {};

  void Add(const float* a, const float* b) {
    for (size_t l = 0; l < kLanes; ++l) lane[l] += a[l] * b[l];
  }
  // Upper half onto lower half until one is left: 16, 8, 4, 2, 1.
  float Total() const {
    float sum[kLanes];
    for (size_t l = 0; l < kLanes; ++l) sum[l] = lane[l];
    for (size_t half = kLanes / 2; half > 0; half /= 2) {
      for (size_t l = 0; l < half; ++l) sum[l] += sum[l + half];
    }
    return sum[0];
  }
};

float Clamp(float v, float floor) {
  v = v > floor ? v : floor;  // also for NaN
  return v < kMaxFactor ? v : kMaxFactor;
}

float Dot(const float* a, const float* b, size_t stride) {
  LaneSums sums;
  for (size_t k = 0; k < stride; k += kLanes) sums.Add(a + k, b + k);
  return sums.Total();
}

PairProducts Products(const float* p, const float* q, size_t stride) {
  return {Dot(p, q, stride), Dot(p, p, stride), Dot(q, q, stride)};
}

void Step(float* p, float* q, const PairStep& pair_step, size_t stride) {
  const PairStep step = pair_step;  // in registers: p and q could lie in it, for all that C++ knows
  for (size_t k = 0; k < stride; ++k) {
    const float old_p = p[k], old_q = q[k];
    p[k] = Clamp(step.keep_p * old_p + step.add_p * old_q, step.floor);
    q[k] = Clamp(step.keep_q * old_q + step.add_q * old_p, step.floor);
  }
}

StepsMade ClosedPairUpdate(float* p, float* q, ClosedUpdate update, size_t stride) {
  const PairProducts dots = Products(p, q, stride);
  const float error = update.rating - dots.pq;
  const float loss = __builtin_fabsf(error) - update.epsilon;
  if (!(loss > 0)) return {dots.pq, 0, 0};
  const StepsMade steps = {dots.pq, __builtin_copysignf(update.form.Length(loss, dots.qq), error),
                           __builtin_copysignf(update.form.Length(loss, dots.pp), error)};
  Step(p, q, {.add_p = steps.p, .add_q = steps.q}, stride);
  return steps;
}

void Add(float* w, const float* x, float a, float floor, size_t stride) {
  for (size_t k = 0; k < stride; ++k) w[k] = Clamp(w[k] + a * x[k], floor);
}

void Combine(const float* const* rows, const float* weights, size_t count, size_t stride,
             float* sum) {
  for (size_t k = 0; k < stride; ++k) {
    float s = 0;
    for (size_t r = 0; r < count; ++r) s += weights[r] * rows[r][k];
    sum[k] = s;
  }
}

float SquaredDistance(const float* a, const float* b, size_t stride) {
  LaneSums sums;
  for (size_t k = 0; k < stride; k += kLanes) {
    float difference[kLanes];
    for (size_t l = 0; l < kLanes; ++l) difference[l] = a[k + l] - b[k + l];
    sums.Add(difference, difference);
  }
  return sums.Total();
}

void PushAway(const float* kept, const float* x, const Push& push, float* pull, float* other,
              size_t stride) {
  for (size_t k = 0; k < stride; ++k) {
    pull[k] = Clamp(pull[k] + push.pull * (kept[k] - other[k]), -kMaxFactor);
    other[k] = Clamp(other[k] + push.add * x[k], push.floor);
  }
}

void ScoreRows(const float* const* rows, size_t count, const float* x, size_t stride,
               float* scores) {
  for (size_t r = 0; r < count; ++r) scores[r] = Dot(rows[r], x, stride);
}

float CodeRow(float* row, size_t stride) {
  uint8_t* const codes = CodesOf(row, stride);
  float max = 0;
  for (size_t k = 0; k < stride; ++k) {
    max = row[k] > max ? row[k] : max;
    max = -row[k] > max ? -row[k] : max;
  }
  const float scale = max / 127 > kMinCodeScale ? max / 127 : kMinCodeScale, inverse = 1 / scale;
  for (size_t k = 0; k < stride; ++k) {
    codes[k] = static_cast<uint8_t>(row[k] * inverse + 128.5f);
  }
  return scale;
}

uint32_t BoundByNorms(const float* norms, const float* biases, float query_norm, float threshold,
                      float* bounds) {
  uint32_t bits = 0;
  for (size_t r = 0; r < kCodedRows; ++r) {
    bounds[r] = query_norm * norms[r] + biases[r];
    bits |= (bounds[r] >= threshold ? 1u : 0u) << r;
  }
  return bits;
}

uint32_t BoundCoded(const CodedRows& rows, const CodedFactors& query, size_t stride, uint32_t which,
                    float threshold, float* bounds) {
  uint32_t bits = 0;
  for (size_t r = 0; r < kCodedRows; ++r) {
    if ((which >> r & 1) == 0) continue;
    const uint8_t* const codes = CodesOf(rows.rows[r], stride);
    int32_t product = -query.zero;
    for (size_t k = 0; k < stride; ++k) product += codes[k] * query.d[k];
    bounds[r] = rows.scales[r] * (query.scale * static_cast<float>(product) + query.row_error) +
                query.error * rows.norms[r] + rows.biases[r];
    bits |= (bounds[r] >= threshold ? 1u : 0u) << r;
  }
  return bits;
}

constexpr Kernels kScalar = {"scalar", Dot,          Products,        Step,     ClosedPairUpdate,
                             Add,      Combine,      SquaredDistance, PushAway, ScoreRows,
                             CodeRow,  BoundByNorms, BoundCoded};

}  // namespace

const Kernels* ScalarKernels() { return &kScalar; }

}  // namespace factord
