#define FACTORD_VECTOR_BYTES 32
#include "model/kernels_impl.inc"

namespace factord {

const Kernels* Avx2Kernels() {
  static constexpr Kernels kKernels = {
      "avx2",          Dot,      Products,  Step,    ClosedPairUpdate, Add,       Combine,
      SquaredDistance, PushAway, ScoreRows, CodeRow, BoundByNorms,     BoundCoded};
  return &kKernels;
}

}  // namespace factord
