#include "base/hash128.h"

#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(Hash128Test, SumIsIndependentOfOrderAndUndoneBySubtraction) {
  const Hash128 a = HashBytes128("a"), b = HashBytes128("b"), c = HashBytes128("c");
  EXPECT_EQ(a + b + c, c + a + b);
  EXPECT_EQ(a + b - a, b);
  EXPECT_NE(a + b, a + c);
  // Carry and borrow cross the halves.
  const Hash128 ones{0, ~uint64_t{0}}, one{0, 1};
  EXPECT_EQ(ones + one, (Hash128{1, 0}));
  EXPECT_EQ((Hash128{1, 0}) - one, ones);
}

TEST(Hash128Test, KnownValues) {
  // Values of the XXH3 specification for empty input: they pin the format.
  EXPECT_EQ(HashBytes64(""), 0x2d06800538d394c2u);
  EXPECT_EQ(HashBytes128("").ToHex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(HashBytes64("", 1), HashBytes64(""));
}

TEST(Hash128Test, HexRoundTrip) {
  const Hash128 h = HashBytes128("factord");
  Hash128 parsed;
  ASSERT_TRUE(Hash128::FromHex(h.ToHex(), &parsed));
  EXPECT_EQ(parsed, h);
  EXPECT_FALSE(Hash128::FromHex("12", &parsed));
  EXPECT_FALSE(Hash128::FromHex("zz" + h.ToHex().substr(2), &parsed));
  EXPECT_EQ(parsed, h);
}

}  // namespace
}  // namespace factord
