// The inner loops over rows, by instruction set, all with the same bits as the scalar reference.
//
//   const Kernels& kernels = ActiveKernels();
//   float score = kernels.dot(p, q, stride);
//
// Every sum has kLanes partial sums and one fixed order of reducing them, every product is rounded
// before it is added (-ffp-contract=off), and nothing else than + - * / and comparisons is used: so
// SSE2, AVX2, AVX-512 and plain scalar code agree to the bit. docs/algorithm.md spells the order
// out; kernels_scalar.cc is the reference. Thread-safe.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "model/kernel_table.h"

namespace factord {

// The fastest set that this CPU has (avx512 needs VNNI, too); FACTORD_SCALAR_KERNELS builds and
// CPUs other than x86-64 have the scalar one only. The environment variable FACTORD_SIMD (scalar,
// sse2, avx2, avx512) forces one; a value that KernelsByName refuses is ignored. Decided at the
// first call.
const Kernels& ActiveKernels();

// A set by name: NOT_FOUND for an unknown one, FAILED_PRECONDITION where the CPU or the build
// lacks it.
absl::StatusOr<const Kernels*> KernelsByName(absl::string_view name);

// Hash of a fixed sequence of updates: equal on every machine. The server logs it at start.
uint64_t KernelSelfTest(const Kernels& kernels);

}  // namespace factord
