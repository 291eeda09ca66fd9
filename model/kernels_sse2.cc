#define FACTORD_VECTOR_BYTES 16
#include "model/kernels_impl.inc"

namespace factord {

const Kernels* Sse2Kernels() {
  static constexpr Kernels kKernels = {
      "sse2",          Dot,      Products,  Step,    ClosedPairUpdate, Add,       Combine,
      SquaredDistance, PushAway, ScoreRows, CodeRow, BoundByNorms,     BoundCoded};
  return &kKernels;
}

}  // namespace factord
