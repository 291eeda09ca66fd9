#include "model/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/config.h"
#include "model/row.h"

namespace factord {
namespace {

// The sets that this machine can run, the reference left out.
std::vector<const Kernels*> VectorKernels() {
  std::vector<const Kernels*> sets;
  for (const char* name : {"sse2", "avx2", "avx512"}) {
    const absl::StatusOr<const Kernels*> kernels = KernelsByName(name);
    if (kernels.ok()) sets.push_back(*kernels);
  }
  return sets;
}

const Kernels& Scalar() { return **KernelsByName("scalar"); }

// Bits rather than values: NaN equals itself, and 0 differs from -0.
std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float v : values) bits.push_back(std::bit_cast<uint32_t>(v));
  return bits;
}

// Which values a random row holds.
enum class Kind { kRatings, kDenormals, kAnyExponent, kSpecial };

float RandomFloat(Kind kind, std::mt19937_64* random) {
  const uint64_t r = (*random)();
  switch (kind) {
    case Kind::kRatings:
      return static_cast<float>(r >> 40) * 0x1p-24f;
    case Kind::kDenormals:  // 2^-149 to 2^-125 beside ordinary values: products and sums underflow
      return r % 4 == 0 ? static_cast<float>(r >> 40) * 0x1p-24f
                        : static_cast<float>(r >> 40) * 0x1p-149f;
    case Kind::kAnyExponent:  // denormals to infinity, both signs, some NaN
      return std::bit_cast<float>(static_cast<uint32_t>(r));
    case Kind::kSpecial: {
      constexpr float kValues[] = {0.0f,
                                   -0.0f,
                                   1e-45f,
                                   1.17549435e-38f,
                                   1e17f,
                                   3.4e38f,
                                   1.0f,
                                   -1e20f,
                                   std::numeric_limits<float>::infinity()};
      return kValues[r % std::size(kValues)];
    }
  }
  return 0;
}

// `n` floats at `offset` floats from a 64-byte boundary, with room behind them.
class Row {
 public:
  Row(size_t n, size_t offset, Kind kind, std::mt19937_64* random)
      : n_(n), buffer_(n + 32 + offset) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(buffer_.data());
    start_ = (64 - address % 64) % 64 / sizeof(float) + offset;
    for (float& v : buffer_) v = RandomFloat(kind, random);
  }
  Row(const Row& other) = delete;
  float* data() { return buffer_.data() + start_; }
  std::vector<float> Values() { return std::vector<float>(data(), data() + n_); }
  // Everything, so that a write beyond the row shows.
  const std::vector<float>& buffer() const { return buffer_; }
  void Restore(const std::vector<float>& buffer) {
    std::copy(buffer.begin(), buffer.end(), buffer_.begin());
  }

 private:
  size_t n_;
  size_t start_;
  std::vector<float> buffer_;
};

// NaN payloads depend on the operands' order, which a compiler may swap; that it is NaN does not.
std::vector<uint32_t> Canonical(std::vector<float> values) {
  for (float& v : values) {
    if (std::isnan(v)) v = std::numeric_limits<float>::quiet_NaN();
  }
  return Bits(values);
}

class KernelsEqualScalar : public testing::TestWithParam<Kind> {
 protected:
  std::mt19937_64 random_{20140422};
};

TEST_P(KernelsEqualScalar, DotAndProducts) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes) {
      Row p(stride, random_() % 16, GetParam(), &random_),
          q(stride, random_() % 16, GetParam(), &random_);
      const PairProducts expected = Scalar().products(p.data(), q.data(), stride);
      const PairProducts got = kernels->products(p.data(), q.data(), stride);
      ASSERT_EQ(Canonical({got.pq, got.pp, got.qq}),
                Canonical({expected.pq, expected.pp, expected.qq}))
          << kernels->name << " stride " << stride;
      ASSERT_EQ(Canonical({kernels->dot(p.data(), q.data(), stride)}), Canonical({expected.pq}))
          << kernels->name << " stride " << stride;
    }
  }
}

TEST_P(KernelsEqualScalar, Step) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes) {
      Row p(stride, random_() % 16, GetParam(), &random_),
          q(stride, random_() % 16, GetParam(), &random_);
      const auto shifted = [&](float by) { return RandomFloat(GetParam(), &random_) - by; };
      const PairStep step = {.add_p = shifted(0.5f),
                             .add_q = shifted(0.5f),
                             .floor = random_() % 2 == 0 ? 0.0f : -0.4f,
                             .keep_p = random_() % 2 == 0 ? 1.0f : shifted(0),
                             .keep_q = random_() % 2 == 0 ? 1.0f : shifted(0)};
      const std::vector<float> old_p = p.buffer(), old_q = q.buffer();
      Scalar().step(p.data(), q.data(), step, stride);
      const std::vector<float> expected_p = p.buffer(), expected_q = q.buffer();
      p.Restore(old_p);
      q.Restore(old_q);
      kernels->step(p.data(), q.data(), step, stride);
      ASSERT_EQ(Bits(p.buffer()), Bits(expected_p)) << kernels->name << " stride " << stride;
      ASSERT_EQ(Bits(q.buffer()), Bits(expected_q)) << kernels->name << " stride " << stride;
    }
  }
}

TEST_P(KernelsEqualScalar, ClosedUpdate) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes) {
      Row p(stride, random_() % 16, GetParam(), &random_),
          q(stride, random_() % 16, GetParam(), &random_);
      const auto random = [&] { return RandomFloat(GetParam(), &random_); };
      const ClosedUpdate update = {random(),
                                   random_() % 2 == 0 ? 0 : random() / 8,
                                   {random(), random_() % 2 == 0 ? 0 : random()}};
      const std::vector<float> old_p = p.buffer(), old_q = q.buffer();
      const StepsMade expected = Scalar().closed_update(p.data(), q.data(), update, stride);
      const std::vector<float> expected_p = p.buffer(), expected_q = q.buffer();
      p.Restore(old_p);
      q.Restore(old_q);
      const StepsMade got = kernels->closed_update(p.data(), q.data(), update, stride);
      ASSERT_EQ(Canonical({got.prediction, got.p, got.q}),
                Canonical({expected.prediction, expected.p, expected.q}))
          << kernels->name << " stride " << stride;
      ASSERT_EQ(Bits(p.buffer()), Bits(expected_p)) << kernels->name << " stride " << stride;
      ASSERT_EQ(Bits(q.buffer()), Bits(expected_q)) << kernels->name << " stride " << stride;
    }
  }
}

TEST_P(KernelsEqualScalar, Add) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes) {
      Row w(stride, random_() % 16, GetParam(), &random_),
          x(stride, random_() % 16, GetParam(), &random_);
      const float a = RandomFloat(GetParam(), &random_) - 0.5f;
      const float floor = random_() % 2 == 0 ? 0.0f : -0.4f;
      const std::vector<float> old = w.buffer();
      Scalar().add(w.data(), x.data(), a, floor, stride);
      const std::vector<float> expected = w.buffer();
      w.Restore(old);
      kernels->add(w.data(), x.data(), a, floor, stride);
      ASSERT_EQ(Bits(w.buffer()), Bits(expected)) << kernels->name << " stride " << stride;
    }
  }
}

TEST_P(KernelsEqualScalar, CombineAndSquaredDistance) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes * 3) {
      Row a(stride, random_() % 16, GetParam(), &random_),
          b(stride, random_() % 16, GetParam(), &random_),
          c(stride, random_() % 16, GetParam(), &random_);
      const float* const rows[] = {a.data(), b.data(), c.data()};
      const float weights[] = {0.35f, RandomFloat(GetParam(), &random_), -0.5f};
      for (size_t count = 0; count <= std::size(rows); ++count) {
        std::vector<float> expected(stride + 1, -7), got(stride + 1, -7);
        Scalar().combine(rows, weights, count, stride, expected.data());
        kernels->combine(rows, weights, count, stride, got.data());
        ASSERT_EQ(Canonical(got), Canonical(expected)) << kernels->name << " stride " << stride;
      }
      ASSERT_EQ(Canonical({kernels->squared_distance(a.data(), b.data(), stride)}),
                Canonical({Scalar().squared_distance(a.data(), b.data(), stride)}))
          << kernels->name << " stride " << stride;
    }
  }
}

TEST_P(KernelsEqualScalar, PushAway) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes) {
      Row kept(stride, random_() % 16, GetParam(), &random_),
          x(stride, random_() % 16, GetParam(), &random_),
          pull(stride, random_() % 16, GetParam(), &random_),
          other(stride, random_() % 16, GetParam(), &random_);
      const Push push = {.pull = RandomFloat(GetParam(), &random_),
                         .add = RandomFloat(GetParam(), &random_) - 0.5f,
                         .floor = random_() % 2 == 0 ? 0.0f : -0.4f};
      const std::vector<float> old_pull = pull.buffer(), old_other = other.buffer();
      Scalar().push_away(kept.data(), x.data(), push, pull.data(), other.data(), stride);
      const std::vector<float> expected_pull = pull.buffer(), expected_other = other.buffer();
      pull.Restore(old_pull);
      other.Restore(old_other);
      kernels->push_away(kept.data(), x.data(), push, pull.data(), other.data(), stride);
      ASSERT_EQ(Bits(pull.buffer()), Bits(expected_pull)) << kernels->name << " stride " << stride;
      ASSERT_EQ(Bits(other.buffer()), Bits(expected_other))
          << kernels->name << " stride " << stride;
    }
  }
}

// Sixteen coded rows, a coded query, and bounds.
TEST_P(KernelsEqualScalar, Codes) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes * 5) {
      const size_t coded = stride + stride / sizeof(float);  // a row and its codes, in floats
      std::vector<float> expected_rows(coded * kCodedRows), rows(coded * kCodedRows);
      const float* places[kCodedRows];
      std::vector<float> expected_scales, scales, norms, biases;
      for (size_t r = 0; r < kCodedRows; ++r) {
        float* const row = &rows[coded * r];
        for (size_t k = 0; k < stride; ++k) {
          row[k] = r == 3 ? 0 : static_cast<float>(random_() % 2001) / 1000 - 1;
        }
        places[r] = row;
        float* const expected_row = &expected_rows[coded * r];
        std::copy_n(row, stride, expected_row);
        expected_scales.push_back(Scalar().code_row(expected_row, stride));
        scales.push_back(kernels->code_row(row, stride));
        norms.push_back(static_cast<float>(random_() % 100));
        biases.push_back(static_cast<float>(random_() % 100) / 7);
      }
      ASSERT_EQ(std::memcmp(rows.data(), expected_rows.data(), rows.size() * sizeof(float)), 0)
          << kernels->name << " stride " << stride;
      ASSERT_EQ(scales, expected_scales);
      std::vector<int8_t> d((stride + 63) / 64 * 64);
      for (int8_t& v : d) v = static_cast<int8_t>(static_cast<int>(random_() % 127) - 63);
      if (stride == kLanes) std::fill(d.begin(), d.end(), int8_t{63});
      std::fill(d.begin() + static_cast<ptrdiff_t>(stride), d.end(), int8_t{0});
      const CodedRows all = {places, scales.data(), norms.data(), biases.data()};
      const CodedFactors query = {d.data(), 4711, 0.37f, 0.5f, 0.25f};
      float expected[kCodedRows], bounds[kCodedRows];
      Scalar().bound_coded(all, query, stride, 0xffff, 0, expected);
      for (const float threshold : {expected[5], 0.0f, -std::numeric_limits<float>::infinity()}) {
        for (const uint32_t which : {0x8421u, 0xffffu}) {
          const uint32_t good =
              Scalar().bound_coded(all, query, stride, which, threshold, expected);
          ASSERT_EQ(kernels->bound_coded(all, query, stride, which, threshold, bounds), good)
              << kernels->name;
          for (size_t r = 0; r < kCodedRows; ++r) {
            if ((which >> r & 1) == 0) continue;
            ASSERT_EQ(bounds[r], expected[r]) << kernels->name;
            ASSERT_EQ(good >> r & 1, bounds[r] >= threshold ? 1u : 0u);
          }
          ASSERT_EQ(good & ~which, 0u);
        }
      }
      Scalar().bound_by_norms(norms.data(), biases.data(), 0.7f, 0, expected);
      for (const float threshold : {expected[5], 1e9f, -std::numeric_limits<float>::infinity()}) {
        const uint32_t good =
            Scalar().bound_by_norms(norms.data(), biases.data(), 0.7f, threshold, expected);
        ASSERT_EQ(kernels->bound_by_norms(norms.data(), biases.data(), 0.7f, threshold, bounds),
                  good)
            << kernels->name;
        for (size_t r = 0; r < kCodedRows; ++r) {
          ASSERT_EQ(bounds[r], expected[r]) << kernels->name;
          ASSERT_EQ(good >> r & 1, bounds[r] >= threshold ? 1u : 0u);
        }
      }
    }
  }
}

TEST_P(KernelsEqualScalar, ScoreRows) {
  for (const Kernels* kernels : VectorKernels()) {
    for (size_t stride = kLanes; stride <= kMaxRank; stride += kLanes * 3) {
      for (size_t count = 0; count <= 9; ++count) {
        Row rows(stride * count, random_() % 16, GetParam(), &random_);
        Row x(stride, random_() % 16, GetParam(), &random_);
        std::vector<float> expected(count + 1, -7), got(count + 1, -7);
        std::vector<const float*> places;
        for (size_t r = 0; r < count; ++r) places.push_back(rows.data() + r * stride);
        Scalar().score_rows(places.data(), count, x.data(), stride, expected.data());
        kernels->score_rows(places.data(), count, x.data(), stride, got.data());
        ASSERT_EQ(Canonical(got), Canonical(expected)) << kernels->name << " stride " << stride;
        for (size_t r = 0; r < count; ++r) {
          const float dot = kernels->dot(rows.data() + r * stride, x.data(), stride);
          ASSERT_EQ(Canonical({got[r]}), Canonical({dot})) << kernels->name << " row " << r;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, KernelsEqualScalar,
                         testing::Values(Kind::kRatings, Kind::kDenormals, Kind::kAnyExponent,
                                         Kind::kSpecial));

TEST(KernelsTest, ScalarDotAddsInTheDocumentedOrder) {
  // Lane l holds a[l] b[l] + a[l + 16] b[l + 16] + ...; then 16 sums fold to 8, 4, 2, 1. The values
  // round differently in any other order.
  std::mt19937_64 random(3);
  std::vector<float> a(48), b(48);
  for (float& v : a) v = RandomFloat(Kind::kRatings, &random);
  for (float& v : b) v = RandomFloat(Kind::kRatings, &random);
  float lane[16];
  for (int l = 0; l < 16; ++l)
    lane[l] = (a[l] * b[l] + a[l + 16] * b[l + 16]) + a[l + 32] * b[l + 32];
  float four[4];
  for (int l = 0; l < 4; ++l) four[l] = (lane[l] + lane[l + 8]) + (lane[l + 4] + lane[l + 12]);
  EXPECT_EQ(Scalar().dot(a.data(), b.data(), 48), (four[0] + four[2]) + (four[1] + four[3]));
}

TEST(KernelsTest, StepTruncatesCapsAndReadsOldValues) {
  std::vector<float> p(16), q(16);
  p[0] = 1, q[0] = 2;           // both change from the old values
  p[1] = 1, q[1] = 10;          // p ends at 0
  p[2] = 1, q[2] = kMaxFactor;  // q stays at the cap
  Scalar().step(p.data(), q.data(), {.add_p = -0.25f, .add_q = 3.0f}, 16);
  EXPECT_EQ(p[0], 0.5f);
  EXPECT_EQ(q[0], 5.0f);
  EXPECT_EQ(p[1], 0.0f);
  EXPECT_EQ(q[2], kMaxFactor);
  EXPECT_EQ(p[3], 0.0f);  // padding
  EXPECT_EQ(q[3], 0.0f);
  EXPECT_FALSE(std::signbit(p[1]));
  Scalar().step(p.data(), q.data(),
                {.add_p = -1, .add_q = 0, .floor = -0.5f, .keep_p = 0.5f, .keep_q = 2}, 16);
  EXPECT_EQ(p[0], -0.5f);  // .25 - 5, cut
  EXPECT_EQ(q[0], 10.0f);
  EXPECT_EQ(p[3], 0.0f);
}

TEST(KernelsTest, PushAwayReadsOldValuesAndCuts) {
  const std::vector<float> kept(16, 2), x(16, 3);
  std::vector<float> pull(16, 0.5f), other(16, 1);
  Scalar().push_away(kept.data(), x.data(), {.pull = 0.25f, .add = -0.125f, .floor = 0},
                     pull.data(), other.data(), 16);
  EXPECT_EQ(pull[0], 0.75f);    // .5 + .25 (2 - 1)
  EXPECT_EQ(other[0], 0.625f);  // 1 - .125 * 3
  Scalar().push_away(kept.data(), x.data(), {.pull = 0, .add = -1, .floor = -0.5f}, pull.data(),
                     other.data(), 16);
  EXPECT_EQ(other[15], -0.5f);
  EXPECT_EQ(pull[15], 0.75f);
}

TEST(KernelsTest, CombineAndSquaredDistance) {
  const std::vector<float> a(16, 1), b(16, 3);
  const float* const rows[] = {a.data(), b.data()};
  const float weights[] = {0.5f, 2};
  std::vector<float> sum(16, 7);
  Scalar().combine(rows, weights, 2, 16, sum.data());
  EXPECT_EQ(sum[15], 6.5f);
  Scalar().combine(rows, weights, 0, 16, sum.data());
  EXPECT_EQ(sum[15], 0);
  EXPECT_EQ(Scalar().squared_distance(a.data(), b.data(), 16), 64);
}

// The number is the same for g++ and clang, at every optimization level and on every CPU. It
// changes only with the order of the arithmetic, and then every stored hash changes too.
TEST(KernelsTest, SelfTestHashIsPinned) {
  constexpr uint64_t kPinned = 0x77e3310e4f947b22;
  EXPECT_EQ(KernelSelfTest(Scalar()), kPinned);
  EXPECT_EQ(KernelSelfTest(ActiveKernels()), kPinned);
  for (const Kernels* kernels : VectorKernels()) {
    EXPECT_EQ(KernelSelfTest(*kernels), kPinned) << kernels->name;
  }
}

TEST(KernelsTest, NamesAreChecked) {
  EXPECT_EQ(KernelsByName("mmx").status().code(), absl::StatusCode::kNotFound);
  EXPECT_STREQ(Scalar().name, "scalar");
  for (const char* name : {"sse2", "avx2", "avx512"}) {
    const absl::StatusOr<const Kernels*> kernels = KernelsByName(name);
    if (kernels.ok()) {
      EXPECT_STREQ((*kernels)->name, name);
    } else {
      EXPECT_EQ(kernels.status().code(), absl::StatusCode::kFailedPrecondition);
    }
  }
#if defined(__x86_64__) && !defined(FACTORD_SCALAR_KERNELS)
  EXPECT_TRUE(KernelsByName("sse2").ok());
#endif
}

}  // namespace
}  // namespace factord
