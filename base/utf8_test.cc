#include "base/utf8.h"

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

TEST(Utf8Test, AcceptsWhatIsWellFormed) {
  for (const absl::string_view text :
       {"", "plain", "caf\xC3\xA9", "\xE2\x82\xAC", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80",
        "\xF0\x90\x80\x80"}) {
    EXPECT_TRUE(IsValidUtf8(text)) << absl::CHexEscape(text);
  }
  EXPECT_TRUE(IsValidUtf8(absl::string_view("\0", 1)));
}

TEST(Utf8Test, RefusesWhatIsNot) {
  for (const absl::string_view text : {
           "\x80",
           "\xBF",  // a continuation alone
           "\xC3",
           "\xE2\x82",
           "\xF0\x9F\x98",
           "a\xC3",  // cut off
           "\xC3(",
           "\xE2(\xA1",
           "\xE2\x82(",  // no continuation
           "\xC0\x80",
           "\xC1\xBF",
           "\xE0\x9F\xBF",
           "\xF0\x8F\xBF\xBF",  // overlong
           "\xED\xA0\x80",
           "\xED\xBF\xBF",  // surrogates
           "\xF4\x90\x80\x80",
           "\xF5\x80\x80\x80",
           "\xFF",     // beyond U+10FFFF
           "caf\xE9",  // latin-1
       }) {
    EXPECT_FALSE(IsValidUtf8(text)) << absl::CHexEscape(text);
  }
}

TEST(Utf8Test, ReadsNothingBehindTheEnd) {
  EXPECT_FALSE(IsValidUtf8(absl::string_view("\xC3\xA9", 1)));
  EXPECT_FALSE(IsValidUtf8(absl::string_view("\xF0\x9F\x98\x80", 3)));
}

}  // namespace
}  // namespace factord
