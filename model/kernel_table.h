// The table of kernels of one instruction set.
//
// Apart from kernels.h because the files compiled for one instruction set include this and nothing
// else: an inline function of a standard header, instantiated there, could be the copy the linker
// keeps for the whole program, which then stops with SIGILL on an older CPU.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace factord {

struct PairProducts {
  float pq;  // p . q
  float pp;  // |p|^2
  float qq;  // |q|^2
};

// Factors never exceed this, so that sums of kMaxRank products of two of them stay finite.
inline constexpr float kMaxFactor = 1e17f;

// How a pair of rows changes: p' = clamp(keep_p p + add_p q), q' = clamp(keep_q q + add_q p), each
// elementwise and from the old values; clamp(v) = min(max(v, floor), kMaxFactor), and floor for
// NaN.
struct PairStep {
  float add_p;
  float add_q;
  float floor = 0;  // at most 0, so that padding stays 0
  float keep_p = 1;
  float keep_q = 1;
};

// No step is longer than this: with kMaxFactor it keeps w + s x finite. Only a partner shorter than
// about 1e-10 asks for more.
inline constexpr float kMaxStep = 1e20f;

// How long a passive-aggressive step is where that has a closed form (model/step.h).
struct ClosedForm {
  float longest;  // > 0, at most kMaxStep
  float ridge;    // >= 0

  // min(longest, loss / (|x|^2 + ridge)); 0 where |x|^2 is 0. Always inline, so that there is no
  // copy for the linker to choose.
  __attribute__((always_inline)) float Length(float loss, float norm_squared) const {
    if (!(norm_squared > 0)) return 0;
    const float step = loss / (norm_squared + ridge);
    return step < longest ? step : longest;
  }
};
// Both rows towards a rating, as far as |rating - p . q| exceeds epsilon.
struct ClosedUpdate {
  float rating;
  float epsilon;  // >= 0
  ClosedForm form;
};
struct StepsMade {
  float prediction;  // p . q before
  float p;           // the steps that were made; 0: none
  float q;
};

// How a row is pushed away from another one that is kept (model/next_item.h).
struct Push {
  float pull;   // of the difference, collected for others
  float add;    // of a third row, for the one that is pushed away
  float floor;  // of it; at most 0
};

// Rows in a byte a factor and a query in code: what bounds their products (model/row_codes.h).
inline constexpr size_t kCodedRows = 16;
inline constexpr int kFewRows = 4;  // that are read one by one; if more are asked for, all are
inline constexpr float kMinCodeScale = 1e-30f;  // has a finite inverse
// Always inlined, since sets compile this with instructions of their own.
[[gnu::always_inline]] inline uint8_t* CodesOf(float* row, size_t stride) {
  return reinterpret_cast<uint8_t*>(row + stride);
}
[[gnu::always_inline]] inline const uint8_t* CodesOf(const float* row, size_t stride) {
  return reinterpret_cast<const uint8_t*>(row + stride);
}
struct CodedRows {
  const float* const* rows;  // each followed by its codes
  const float* scales;
  const float* norms;
  const float* biases;
};
struct CodedFactors {
  const int8_t* d;  // -63 to 63; zeros up to a multiple of 64 of them
  int32_t zero;     // 128 times their sum
  float scale;
  float row_error;
  float error;
};

// REQUIRES of all: stride is a multiple of kLanes. Rows of our own tables are 64-byte aligned, but
// any alignment works. Thread-safe: pure functions of what the pointers point to.
struct Kernels {
  const char* name;
  float (*dot)(const float* a, const float* b, size_t stride);
  PairProducts (*products)(const float* p, const float* q, size_t stride);
  // REQUIRES: p and q do not overlap.
  void (*step)(float* p, float* q, const PairStep& step, size_t stride);
  // p' = clamp(p + s_p q), q' = clamp(q + s_q p), floor 0: products and step with no call between
  // the two. REQUIRES: p and q do not overlap.
  StepsMade (*closed_update)(float* p, float* q, ClosedUpdate update, size_t stride);
  // w = clamp(w + a x), elementwise; floor <= 0 as in PairStep. REQUIRES: w and x do not overlap.
  void (*add)(float* w, const float* x, float a, float floor, size_t stride);
  // sum = weights[0] rows[0] + weights[1] rows[1] + ..., elementwise and in this order; zeros for
  // count == 0.
  void (*combine)(const float* const* rows, const float* weights, size_t count, size_t stride,
                  float* sum);
  // |a - b|^2, as dot(a - b, a - b).
  float (*squared_distance)(const float* a, const float* b, size_t stride);
  // pull = clamp(pull + push.pull (kept - other)) with no floor, and
  // other = clamp(other + push.add x, push.floor), elementwise and from the old values. REQUIRES:
  // no two of the four overlap.
  void (*push_away)(const float* kept, const float* x, const Push& push, float* pull, float* other,
                    size_t stride);
  // scores[r] = dot(rows[r], x, stride) for r < count.
  void (*score_rows)(const float* const* rows, size_t count, const float* x, size_t stride,
                     float* scores);
  // codes[k] = 128 + round(row[k] / scale), scale = max |row[k]| / 127 or kMinCodeScale, which is
  // returned. The codes are CodesOf(row, stride), `stride` bytes. REQUIRES: `row` is finite.
  float (*code_row)(float* row, size_t stride);
  // Of kCodedRows rows: bounds[r] = query_norm * norms[r] + biases[r]; bit r of the result:
  // bounds[r] >= threshold.
  uint32_t (*bound_by_norms)(const float* norms, const float* biases, float query_norm,
                             float threshold, float* bounds);
  // For each r whose bit is set in `which`, and perhaps for others of the kCodedRows rows:
  //   bounds[r] = rows.scales[r] * (query.scale * sum_k d[k] (code[k] - 128) + query.row_error) +
  //               query.error * rows.norms[r] + rows.biases[r]
  // Bit r of the result: it is set in `which`, and bounds[r] >= threshold.
  uint32_t (*bound_coded)(const CodedRows& rows, const CodedFactors& query, size_t stride,
                          uint32_t which, float threshold, float* bounds);
};

// Null where the build has no such set.
const Kernels* ScalarKernels();
const Kernels* Sse2Kernels();
const Kernels* Avx2Kernels();
const Kernels* Avx512Kernels();

}  // namespace factord
