#include "factorctl/flag_set.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FlagSetTest : public testing::Test {
 protected:
  FlagSetTest() {
    flags_.Add("sort_by_time", &sort_, "oldest first");
    flags_.Add("format", &format_, "NAME", "how it is written");
    flags_.Add("max_items", &max_items_, "N", "how many");
    flags_.Alias("k", "max_items");
    flags_.Add("pace", &pace_, "SECONDS", "how slow");
    flags_.Add("limit", &limit_, "N", "at most");
  }

  // The message of a usage error, or "" for success.
  std::string Parse(const std::vector<std::string>& arguments) {
    positional_.clear();
    const absl::Status status = flags_.Parse(arguments, &positional_);
    EXPECT_EQ(IsUsageError(status), !status.ok());
    return std::string(status.message());
  }

  FlagSet flags_;
  bool sort_ = false;
  std::string format_ = "auto";
  int64_t max_items_ = 10;
  double pace_ = 0;
  std::optional<int64_t> limit_;
  std::vector<std::string> positional_;
};

TEST_F(FlagSetTest, ValuesMayStandBehindAnEqualsSignOrABlank) {
  EXPECT_EQ(Parse({"--format=csv", "--max_items", "7", "--pace=1.5", "--limit", "-3"}), "");
  EXPECT_EQ(format_, "csv");
  EXPECT_EQ(max_items_, 7);
  EXPECT_EQ(pace_, 1.5);
  EXPECT_EQ(limit_, -3);
  EXPECT_THAT(positional_, IsEmpty());
  EXPECT_EQ(Parse({"--format="}), "");
  EXPECT_EQ(format_, "");
}

TEST_F(FlagSetTest, WhatIsNotGivenKeepsItsValue) {
  EXPECT_EQ(Parse({}), "");
  EXPECT_FALSE(sort_);
  EXPECT_EQ(format_, "auto");
  EXPECT_EQ(max_items_, 10);
  EXPECT_FALSE(limit_.has_value());
}

TEST_F(FlagSetTest, Switches) {
  EXPECT_EQ(Parse({"--sort_by_time", "file"}), "");
  EXPECT_TRUE(sort_);
  EXPECT_THAT(positional_, ElementsAre("file"));
  EXPECT_EQ(Parse({"--sort_by_time=false"}), "");
  EXPECT_FALSE(sort_);
  EXPECT_THAT(Parse({"--sort_by_time=maybe"}), HasSubstr("neither true nor false"));
}

TEST_F(FlagSetTest, DashesAndUnderscoresAreTheSame) {
  EXPECT_EQ(Parse({"--sort-by-time", "--max-items=3"}), "");
  EXPECT_TRUE(sort_);
  EXPECT_EQ(max_items_, 3);
}

TEST_F(FlagSetTest, ShortNames) {
  EXPECT_EQ(Parse({"-k", "5"}), "");
  EXPECT_EQ(max_items_, 5);
  EXPECT_EQ(Parse({"-k6"}), "");
  EXPECT_EQ(max_items_, 6);
  EXPECT_EQ(Parse({"-k=7"}), "");
  EXPECT_EQ(max_items_, 7);
  EXPECT_THAT(Parse({"--k=7"}), HasSubstr("unknown flag --k"));
  EXPECT_THAT(Parse({"-format=csv"}), HasSubstr("unknown flag -format"));
}

TEST_F(FlagSetTest, ArgumentsMayStandAnywhere) {
  EXPECT_EQ(Parse({"a", "--format=csv", "b", "-", "-1", "-.5"}), "");
  EXPECT_THAT(positional_, ElementsAre("a", "b", "-", "-1", "-.5"));
  EXPECT_EQ(Parse({"a", "--", "--format=tab", "--"}), "");
  EXPECT_THAT(positional_, ElementsAre("a", "--format=tab", "--"));
  EXPECT_EQ(format_, "csv");
}

TEST_F(FlagSetTest, AnUnknownFlagIsRefusedWithAHint) {
  EXPECT_EQ(Parse({"--formt=csv"}), "unknown flag --formt; did you mean --format?");
  EXPECT_EQ(Parse({"--sort_bytime"}), "unknown flag --sort_bytime; did you mean --sort_by_time?");
  EXPECT_EQ(Parse({"--colour"}), "unknown flag --colour");
  EXPECT_EQ(Parse({"-x"}), "unknown flag -x");
}

TEST_F(FlagSetTest, MissingAndMalformedValues) {
  EXPECT_EQ(Parse({"--format"}), "--format needs a value: NAME");
  EXPECT_EQ(Parse({"--max_items=ten"}), "--max_items: 'ten' is not a whole number");
  EXPECT_EQ(Parse({"--max_items=1.5"}), "--max_items: '1.5' is not a whole number");
  EXPECT_EQ(Parse({"--pace=fast"}), "--pace: 'fast' is not a number");
  EXPECT_EQ(Parse({"--limit="}), "--limit: '' is not a whole number");
}

TEST_F(FlagSetTest, LeadingFlagsEndAtTheFirstArgument) {
  auto count = flags_.ParseLeading({"--format", "csv", "-k5", "command", "--limit=1"});
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(*count, 3u);
  EXPECT_EQ(format_, "csv");
  EXPECT_FALSE(limit_.has_value());
}

TEST_F(FlagSetTest, HelpNamesEveryFlagWithItsDefault) {
  const std::string help = flags_.Help();
  EXPECT_THAT(help, HasSubstr("--format NAME           how it is written (default: auto)"));
  EXPECT_THAT(help, HasSubstr("-k, --max_items N       how many (default: 10)"));
  EXPECT_THAT(help, HasSubstr("--sort_by_time          oldest first\n"));
  EXPECT_THAT(help, HasSubstr("--limit N               at most\n"));
}

TEST(UsageErrorTest, IsToldApartFromOtherErrors) {
  EXPECT_TRUE(IsUsageError(UsageError("x")));
  EXPECT_FALSE(IsUsageError(absl::InvalidArgumentError("x")));
  EXPECT_FALSE(IsUsageError(absl::OkStatus()));
}

TEST(NearestNameTest, ForgivesTwoMistakes) {
  const std::vector<std::string> names = {"rate", "recommend", "state"};
  EXPECT_EQ(NearestName("recomend", names), "recommend");
  EXPECT_EQ(NearestName("stat", names), "state");
  EXPECT_EQ(NearestName("quit", names), "");
  EXPECT_EQ(NearestName("recordings", names), "");
  EXPECT_THAT(NearestName("xy", names), IsEmpty());
}

TEST(ToInt32Test, RefusesWhatDoesNotFit) {
  EXPECT_EQ(*ToInt32("k", 2147483647), 2147483647);
  EXPECT_TRUE(IsUsageError(ToInt32("k", 2147483648).status()));
  EXPECT_TRUE(IsUsageError(ToInt32("k", -2147483649).status()));
}

}  // namespace
}  // namespace factord
