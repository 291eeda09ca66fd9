#include "storage/identity.h"

#include <string>

#include "storage/store_test_util.h"

namespace factord {
namespace {

Identity TestIdentity() {
  return {"00112233445566778899aabbccddeeff",
          {{"rank", "32"}, {"a b=%", "x=\n\xff"}, {"empty", ""}}};
}

TEST(IdentityTest, RoundTripsAnyConfiguration) {
  const auto decoded = DecodeIdentity(EncodeIdentity(TestIdentity()));
  ASSERT_OK(decoded.status());
  EXPECT_EQ(decoded->uuid, TestIdentity().uuid);
  EXPECT_EQ(decoded->config, TestIdentity().config);
  EXPECT_TRUE(DecodeIdentity(EncodeIdentity({"0", {}})).ok());
}

// Folders in the field hold these bytes.
TEST(IdentityTest, TheTextOfVersionOneNeverChanges) {
  EXPECT_EQ(EncodeIdentity(TestIdentity()),
            "factord data folder\n"
            "format 1\n"
            "uuid 00112233445566778899aabbccddeeff\n"
            "config a%20b%3D%25=x%3D%0A%FF\n"
            "config empty=\n"
            "config rank=32\n"
            "checksum f15a6bee942dabc9\n");
  EXPECT_EQ(EncodeEvidence(TestIdentity().uuid, {12, Hash128{1, 2}}),
            "factord evidence\n"
            "format 1\n"
            "uuid 00112233445566778899aabbccddeeff\n"
            "sequence 12\n"
            "hash 00000000000000010000000000000002\n"
            "checksum bf23abd9199f7600\n");
}

TEST(IdentityTest, EverySingleFlippedBitAndEveryTruncationIsDataLoss) {
  const std::string identity = EncodeIdentity(TestIdentity());
  const std::string evidence = EncodeEvidence(TestIdentity().uuid, {12, Hash128{1, 2}});
  const auto code = [&](const std::string& original, const std::string& text) {
    return &original == &identity ? DecodeIdentity(text).status().code()
                                  : DecodeEvidence(text, TestIdentity().uuid).status().code();
  };
  for (const std::string* text : {&identity, &evidence}) {
    EXPECT_EQ(code(*text, *text), absl::StatusCode::kOk);
    for (size_t bit = 0; bit < text->size() * 8; ++bit) {
      std::string flipped = *text;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_EQ(code(*text, flipped), absl::StatusCode::kDataLoss) << flipped;
    }
    for (size_t length = 0; length < text->size(); ++length) {
      EXPECT_EQ(code(*text, text->substr(0, length)), absl::StatusCode::kDataLoss) << length;
    }
    EXPECT_EQ(code(*text, *text + "\n"), absl::StatusCode::kDataLoss);
  }
}

// Well-formed lines in another order or form, under a right checksum.
TEST(IdentityTest, OnlyTheCanonicalTextIsAccepted) {
  for (const char* lines : {"uuid 00\nconfig b=1\nconfig a=1\n", "config a=1\nuuid 00\n",
                            "uuid 00\nconfig a=%41\n", "uuid 00\nhello\n", "uuid 00\nuuid 00\n"}) {
    std::string text = absl::StrCat("factord data folder\nformat 1\n", lines);
    char checksum[32];
    snprintf(checksum, sizeof(checksum), "checksum %016llx\n",
             static_cast<unsigned long long>(HashBytes64(text)));
    text += checksum;
    EXPECT_ERROR(DecodeIdentity(text).status(), kDataLoss, "malformed");
  }
}

TEST(IdentityTest, EvidenceIsOfItsFolder) {
  const std::string text = EncodeEvidence("aa", {12, Hash128{1, 2}});
  const auto evidence = DecodeEvidence(text, "aa");
  ASSERT_OK(evidence.status());
  EXPECT_EQ(evidence->sequence, 12);
  EXPECT_EQ(evidence->hash, (Hash128{1, 2}));
  EXPECT_ERROR(DecodeEvidence(text, "bb").status(), kDataLoss, "another data folder");
  EXPECT_CODE(DecodeEvidence(EncodeIdentity(TestIdentity()), "aa").status(), kDataLoss);
}

TEST(IdentityTest, UuidsDiffer) {
  const auto a = NewUuid();
  const auto b = NewUuid();
  ASSERT_OK(a.status());
  ASSERT_OK(b.status());
  EXPECT_EQ(a->size(), 32u);
  EXPECT_NE(*a, *b);
}

}  // namespace
}  // namespace factord
