#define FACTORD_VECTOR_BYTES 64
#include "model/kernels_impl.inc"

namespace factord {

const Kernels* Avx512Kernels() {
  static constexpr Kernels kKernels = {
      "avx512",        Dot,      Products,  Step,    ClosedPairUpdate, Add,       Combine,
      SquaredDistance, PushAway, ScoreRows, CodeRow, BoundByNorms,     BoundCoded};
  return &kKernels;
}

}  // namespace factord
