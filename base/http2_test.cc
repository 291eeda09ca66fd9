#include "base/http2.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"

namespace factord::http2 {
namespace {

TEST(Http2Test, FramesAreThoseOfTheRfc) {
  std::string settings, bytes;
  PutSetting(&settings, kInitialWindowSize, 0x01020304);
  PutFrame(&bytes, {kSettings, 0, 0, settings});
  PutFrame(&bytes, {kPing, kAck, 0x01020304, "abc"});
  EXPECT_EQ(bytes, std::string("\0\0\6\4\0\0\0\0\0"
                               "\0\4\1\2\3\4"
                               "\0\0\3\6\1\1\2\3\4abc",
                               27));
}

TEST(Http2Test, FramesAreReadAsTheyWereWritten) {
  const std::string large(70'000, 'x');
  std::string bytes;
  PutFrame(&bytes, {kData, kEndStream, kMaxWindow, large});
  const size_t first = bytes.size();
  PutFrame(&bytes, {kGoAway, 0, 0, ""});
  for (const size_t cut : {size_t{0}, size_t{8}, size_t{9}, first - 1}) {
    EXPECT_EQ(FirstFrame(absl::string_view(bytes).substr(0, cut)), std::nullopt) << cut;
  }
  const std::optional<Frame> data = FirstFrame(bytes);
  ASSERT_TRUE(data.has_value());
  EXPECT_EQ(data->type, kData);
  EXPECT_EQ(data->flags, kEndStream);
  EXPECT_EQ(data->stream, kMaxWindow);
  EXPECT_EQ(data->payload, large);
  EXPECT_EQ(data->bytes(), first);
  const std::optional<Frame> last = FirstFrame(absl::string_view(bytes).substr(first));
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->type, kGoAway);
  EXPECT_EQ(last->bytes(), 9u);
}

// RFC 7541, 6.2.2: by name, by a place in the table that fits beside the kind, and by another.
TEST(Http2Test, HeadersAreThoseOfTheRfc) {
  std::string bytes;
  PutHeader(&bytes, "te", "trailers");
  PutHeader(&bytes, 4, "/x");
  PutHeader(&bytes, 31, "y");
  PutMessageHead(&bytes, 258);
  EXPECT_EQ(bytes, std::string("\0\2te\10trailers"
                               "\4\2/x"
                               "\17\20\1y"
                               "\0\0\0\1\2",
                               26));
}

}  // namespace
}  // namespace factord::http2
