#include "model/kernels.h"

#include <cstdlib>
#include <vector>

#include "base/hash128.h"
#include "model/row.h"

namespace factord {
namespace {

#if defined(__x86_64__) && !defined(FACTORD_SCALAR_KERNELS)
#define FACTORD_VECTOR_KERNELS 1
#endif

struct Set {
  absl::string_view name;
  const Kernels* kernels;  // null: not in this build
  bool supported;          // by this CPU and its operating system
};

// Fastest first.
std::vector<Set> Sets() {
#ifdef FACTORD_VECTOR_KERNELS
  return {{"avx512", Avx512Kernels(),
           __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vnni") != 0},
          {"avx2", Avx2Kernels(), __builtin_cpu_supports("avx2") != 0},
          {"sse2", Sse2Kernels(), true},
          {"scalar", ScalarKernels(), true}};
#else
  return {{"avx512", nullptr, false},
          {"avx2", nullptr, false},
          {"sse2", nullptr, false},
          {"scalar", ScalarKernels(), true}};
#endif
}

const Kernels* Choose() {
  if (const char* forced = std::getenv("FACTORD_SIMD"); forced != nullptr) {
    const absl::StatusOr<const Kernels*> kernels = KernelsByName(forced);
    if (kernels.ok()) return *kernels;
  }
  for (const Set& set : Sets()) {
    if (set.kernels != nullptr && set.supported) return set.kernels;
  }
  return ScalarKernels();
}

// A small generator of its own: the self-test must not depend on a library's.
class SelfTestFloats {
 public:
  // A multiple of 2^-12 in [0, 2), exact in a float.
  float Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(state_ >> 51) * 0x1p-12f;
  }
  void Fill(std::vector<float>* row) {
    for (float& v : *row) v = Next();
  }

 private:
  uint64_t state_ = 20140422;
};

uint64_t HashFloats(const float* values, size_t n, uint64_t seed) {
  return HashBytes64(absl::string_view(reinterpret_cast<const char*>(values), n * sizeof(float)),
                     seed);
}

// Updates of two rows by ratings around their product, every result folded into `hash`.
uint64_t SelfTestRows(const Kernels& kernels, size_t stride, SelfTestFloats* floats,
                      uint64_t hash) {
  constexpr int kUpdates = 64;
  constexpr size_t kRows = 7;  // one group of four, and three left over
  std::vector<float> p(stride), q(stride), rows(kRows * stride), scores(kRows);
  const float* places[kRows];
  for (size_t r = 0; r < kRows; ++r) places[r] = &rows[r * stride];
  floats->Fill(&p);
  floats->Fill(&q);
  floats->Fill(&rows);
  for (int i = 0; i < kUpdates; ++i) {
    const PairProducts dots = kernels.products(p.data(), q.data(), stride);
    const float error = floats->Next() * 2.5f - dots.pq;
    // Every other one of rows that may fall below 0.
    const float floor = i % 2 == 0 ? 0.0f : -0.5f, keep = i % 2 == 0 ? 1.0f : 0.875f;
    kernels.step(p.data(), q.data(),
                 {.add_p = error / (dots.qq + 0.25f),
                  .add_q = error / (dots.pp + 0.25f),
                  .floor = floor,
                  .keep_p = keep,
                  .keep_q = 2 - keep},
                 stride);
    // Every other one with a loss within epsilon, mostly.
    const StepsMade made = kernels.closed_update(rows.data(), &rows[stride],
                                                 {dots.pq, keep - 0.875f, {0.25f, 0.125f}}, stride);
    kernels.add(rows.data(), q.data(), keep - 1, floor, stride);
    kernels.score_rows(places, kRows, p.data(), stride, scores.data());
    const float results[] = {
        dots.pq, dots.pp,         dots.qq, kernels.dot(q.data(), p.data(), stride),
        made.p,  made.prediction, made.q};
    hash = HashFloats(results, 7, hash);
    hash = HashFloats(scores.data(), kRows, hash);
    hash = HashFloats(p.data(), stride, HashFloats(q.data(), stride, hash));
  }
  return hash;
}

}  // namespace

const Kernels& ActiveKernels() {
  static const Kernels* const active = Choose();
  return *active;
}

absl::StatusOr<const Kernels*> KernelsByName(absl::string_view name) {
  for (const Set& set : Sets()) {
    if (set.name != name) continue;
    if (set.kernels == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat("this build has no ", name, " kernels"));
    }
    if (!set.supported) {
      return absl::FailedPreconditionError(absl::StrCat("this CPU has no ", name));
    }
    return set.kernels;
  }
  return absl::NotFoundError(
      absl::StrCat("unknown kernels '", name, "': one of scalar, sse2, avx2, avx512"));
}

uint64_t KernelSelfTest(const Kernels& kernels) {
  SelfTestFloats floats;
  uint64_t hash = 0;
  for (const size_t groups : {1, 2, 3, 4, 64}) {
    hash = SelfTestRows(kernels, groups * kLanes, &floats, hash);
  }
  return hash;
}

}  // namespace factord
