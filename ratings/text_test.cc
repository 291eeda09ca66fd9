#include "ratings/text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;

TEST(Latin1Test, ConvertsEveryByte) {
  EXPECT_EQ(Latin1ToUtf8("Mis\xE9rables, Les (1995) \x80\xFF"),
            "Mis\xC3\xA9rables, Les (1995) \xC2\x80\xC3\xBF");
}

TEST(QuoteTest, EscapesAndShortens) {
  EXPECT_EQ(QuoteForMessage("a\x01\xE9"), "'a\\x01\\xe9'");
  EXPECT_EQ(QuoteForMessage(std::string(100, 'a')), "'" + std::string(40, 'a') + "...'");
}

TEST(CsvFieldTest, QuotesWhatWouldEndTheField) {
  for (const char* plain : {"", "15", "Heat (1995)", " a::b\t'c' "}) {
    EXPECT_EQ(CsvField(plain), plain);
  }
  EXPECT_EQ(CsvField("Saint, The"), "\"Saint, The\"");
  EXPECT_EQ(CsvField("5\" disk"), "\"5\"\" disk\"");
  EXPECT_EQ(CsvField("a\nb"), "\"a\nb\"");
  EXPECT_EQ(CsvField("a\rb"), "\"a\rb\"");
}

std::vector<std::string> Split(absl::string_view separator, absl::string_view line) {
  FieldSplitter splitter(separator);
  auto fields = splitter.Split(line);
  if (!fields.ok()) return {std::string("error: ") + std::string(fields.status().message())};
  return {(*fields)->begin(), (*fields)->end()};
}

TEST(FieldSplitterTest, SplitsBySeparator) {
  EXPECT_THAT(Split("::", "1::a:b::3"), ElementsAre("1", "a:b", "3"));
  EXPECT_THAT(Split("\t", "1\t\t3\t"), ElementsAre("1", "", "3", ""));
  EXPECT_THAT(Split(",", "1,,3"), ElementsAre("1", "", "3"));
  EXPECT_THAT(Split(",", ""), ElementsAre(""));
}

TEST(FieldSplitterTest, TakesQuotesOffCsvFields) {
  EXPECT_THAT(Split(",", R"(1,"American President, The",x)"),
              ElementsAre("1", "American President, The", "x"));
  EXPECT_THAT(Split(",", R"("say ""hi""","",)"), ElementsAre(R"(say "hi")", "", ""));
  // A quote within a field is text, and so is any quote between other separators.
  EXPECT_THAT(Split(",", R"(5" disk,2)"), ElementsAre(R"(5" disk)", "2"));
  EXPECT_THAT(Split("\t", "\"a\tb\""), ElementsAre("\"a", "b\""));
}

TEST(FieldSplitterTest, RefusesBrokenQuotes) {
  EXPECT_THAT(Split(",", R"(1,"abc)"), ElementsAre("error: a quoted field does not end"));
  EXPECT_THAT(Split(",", R"(1,"abc"d,2)"), ElementsAre("error: text stands behind a quoted field"));
}

TEST(FieldSplitterTest, FieldsOfALineWithManyQuotedFieldsStayValid) {
  std::string line;
  for (int i = 0; i < 1000; ++i) line += absl::StrCat(i == 0 ? "" : ",", "\"", i, "\"");
  const std::vector<std::string> fields = Split(",", line);
  ASSERT_EQ(fields.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(fields[i], std::to_string(i));
}

}  // namespace
}  // namespace factord
