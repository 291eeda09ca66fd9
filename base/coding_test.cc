#include "base/coding.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(CodingTest, ValuesComeBackInOrder) {
  std::string bytes;
  PutFixed32(&bytes, 0xdeadbeef);
  PutFixed64(&bytes, 0x0123456789abcdef);
  PutFloat(&bytes, 3.5f);
  PutDouble(&bytes, -0.25);
  PutString(&bytes, "id");
  PutBigEndian64(&bytes, 7);
  PutBigEndian32(&bytes, 9);
  Reader reader(bytes);
  EXPECT_EQ(reader.Fixed32(), 0xdeadbeef);
  EXPECT_EQ(reader.Fixed64(), 0x0123456789abcdefu);
  EXPECT_EQ(reader.Float(), 3.5f);
  EXPECT_EQ(reader.Double(), -0.25);
  EXPECT_EQ(reader.String(), "id");
  EXPECT_EQ(reader.BigEndian64(), 7u);
  EXPECT_EQ(reader.BigEndian32(), 9u);
  EXPECT_TRUE(reader.Done());
}

TEST(CodingTest, VarintsOfEveryLength) {
  for (int shift = 0; shift < 64; ++shift) {
    const uint64_t power = uint64_t{1} << shift;
    for (const uint64_t v : {power, power - 1, ~power, ~(power - 1)}) {
      std::string bytes;
      PutVarint(&bytes, v);
      Reader reader(bytes);
      EXPECT_EQ(reader.Varint(), v);
      EXPECT_TRUE(reader.Done());
    }
  }
}

TEST(CodingTest, MalformedInputFailsAndStaysFailed) {
  const std::string ones(11, '\xff');
  Reader overlong(ones);
  EXPECT_EQ(overlong.Varint(), 0u);
  EXPECT_FALSE(overlong.ok());

  std::string bytes;
  PutString(&bytes, "abc");
  for (size_t length = 0; length < bytes.size(); ++length) {
    Reader reader(absl::string_view(bytes).substr(0, length));
    reader.String();
    EXPECT_FALSE(reader.ok()) << length;
    EXPECT_EQ(reader.Byte(), 0);
    EXPECT_FALSE(reader.Done());
  }
}

TEST(CodingTest, BigEndianKeysSortAsNumbers) {
  std::string small, large;
  PutBigEndian64(&small, 255);
  PutBigEndian64(&large, 256);
  EXPECT_LT(small, large);
}

}  // namespace
}  // namespace factord
