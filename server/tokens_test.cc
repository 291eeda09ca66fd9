#include "server/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/temp_folder.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TokensTest : public ::testing::Test {
 protected:
  std::string WriteFile(const std::string& content) const {
    return folder_.Write("tokens", content);
  }

 private:
  const TempFolder folder_;
};

TEST_F(TokensTest, KnowsWhoHasWhichToken) {
  // The SHA-256 of "hashed-token-0123".
  const auto tokens = ReadTokens(WriteFile(
      "# tokens\n\nshop  read,write  plain-token-01234\r\n"
      "shop\tread\tplain-token-56789\n"
      "ops admin sha256:B7F6AFD6B8F96C7B6D9C1E2C2A0A5A1C3D8F7C2E5B6A4D3C2B1A0F9E8D7C6B5A\n"));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_EQ(tokens->size(), 3);
  const Token* const first = tokens->Find("plain-token-01234");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->name, "shop");
  EXPECT_EQ(first->scopes, kScopeRead | kScopeWrite);
  const Token* const second = tokens->Find("plain-token-56789");
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->scopes, kScopeRead);
  for (const char* stranger : {"", "plain-token-0123", "plain-token-012345", "plain-token-01235"}) {
    EXPECT_EQ(tokens->Find(stranger), nullptr) << stranger;
  }
}

TEST_F(TokensTest, TakesTheHashInPlaceOfTheToken) {
  // printf %s 0123456789abcdef | sha256sum
  const auto tokens = ReadTokens(WriteFile(
      "ops admin sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f\n"));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_NE(tokens->Find("0123456789abcdef"), nullptr);
  EXPECT_EQ(tokens->Find("0123456789abcdef")->scopes, kScopeAdmin);
  // The hash itself opens nothing.
  EXPECT_EQ(tokens->Find("9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"),
            nullptr);
}

TEST_F(TokensTest, NamesEveryBadLineAndNoToken) {
  const std::string path = WriteFile(
      "too read short-secret\n"
      "only read\n"
      "shop read,fly secret-secret-secret\n"
      "sh/op read secret-secret-secret\n"
      "hash read sha256:secret\n"
      "one read secret-secret-secret\n"
      "two read secret-secret-secret\n");
  const absl::Status status = ReadTokens(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  for (const char* expected :
       {":1: the token must have 16 to 256", ":2: must be NAME SCOPES TOKEN",
        ":3: the scopes must be", ":4: the name must be", ":5: sha256: must be followed by",
        ":7: the token is there already"}) {
    EXPECT_THAT(message, HasSubstr(path + expected));
  }
  EXPECT_THAT(message, Not(HasSubstr("secret")));
}

TEST_F(TokensTest, AnEmptyFileIsAMistake) {
  // It would lock everybody out.
  EXPECT_THAT(std::string(ReadTokens(WriteFile("# nobody\n")).status().message()),
              HasSubstr("has no token"));
  EXPECT_THAT(std::string(ReadTokens("/no/such/file").status().message()),
              HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace factord
