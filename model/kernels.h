// The inner loops over rows, by instruction set, all with the same bits as the scalar reference.
//
// Every sum has kLanes partial sums and one fixed order of reducing them, every product is rounded before it is
// added (-ffp-contract=off), and nothing else than + - * / and comparisons is used: so SSE2, AVX2, AVX-512 and
// plain scalar code agree to the bit.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace factord {

struct PairProducts {
  float pq;  // p . q
  float pp;  // |p|^2
  float qq;  // |q|^2
};

// REQUIRES of all: stride is a multiple of kLanes; rows are 64-byte aligned where they come from our tables, but any
// alignment works.
struct Kernels {
  const char* name;
  float (*dot)(const float* a, const float* b, size_t stride);
  PairProducts (*products)(const float* p, const float* q, size_t stride);
  // p = max(p + a q, 0) and q = max(q + b p, 0), elementwise, both from the old values.
  void (*step)(float* p, float* q, float a, float b, size_t stride);
  // scores[r] = dot(rows + r * stride, x) for r < count.
  void (*score_rows)(const float* rows, size_t count, const float* x, size_t stride, float* scores);
};

// The fastest set that this CPU has; FACTORD_SCALAR_KERNELS builds have the scalar one only. The environment variable FACTORD_SIMD (scalar, sse2,
// avx2, avx512) forces one.
const Kernels& ActiveKernels();
// A set by name: NOT_FOUND for an unknown one, FAILED_PRECONDITION where the CPU lacks it.
absl::StatusOr<const Kernels*> KernelsByName(absl::string_view name);

// Hash of a fixed sequence of updates: equal on every machine. The server logs it at start.
uint64_t KernelSelfTest(const Kernels& kernels);

}  // namespace factord
