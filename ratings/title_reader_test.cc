#include "ratings/title_reader.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<Titles> FromText(absl::string_view text) {
  return ReadTitles(LineReader::FromText(text, "titles"));
}

TEST(TitleReaderTest, ReadsMoviesCsv) {
  auto titles = FromText(
      "movieId,title,genres\n"
      "11,\"American President, The (1995)\",Comedy|Drama\r\n"
      "12,Plain,(no genres listed)\n");
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->size(), 2u);
  EXPECT_EQ(titles->at("11").title, "American President, The (1995)");
  EXPECT_THAT(titles->at("11").genres, ElementsAre("Comedy", "Drama"));
  EXPECT_THAT(titles->at("12").genres, IsEmpty());
}

TEST(TitleReaderTest, FindsColumnsByName) {
  auto titles = FromText("genres,year,title,itemId\nDrama,1994,Pulp,x1\n");
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->at("x1").title, "Pulp");
  EXPECT_THAT(titles->at("x1").genres, ElementsAre("Drama"));
}

TEST(TitleReaderTest, ReadsACsvWithoutAHeader) {
  auto titles = FromText("1,Toy Story\n2,Jumanji,Adventure\n");
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->at("1").title, "Toy Story");
  EXPECT_THAT(titles->at("2").genres, ElementsAre("Adventure"));
}

TEST(TitleReaderTest, ReadsMoviesDatAndConvertsLatin1) {
  auto titles = FromText("1::Toy Story (1995)::Animation|Comedy\n2::Mis\xE9rables, Les::Drama\n");
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->at("1").title, "Toy Story (1995)");
  EXPECT_EQ(titles->at("2").title, "Mis\xC3\xA9rables, Les");
}

TEST(TitleReaderTest, ReadsUItem) {
  auto titles =
      FromText("1|Toy Story (1995)|01-Jan-1995||http://x/|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n");
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->at("1").title, "Toy Story (1995)");
  EXPECT_THAT(titles->at("1").genres, ElementsAre("Animation", "Children's", "Comedy"));
}

TEST(TitleReaderTest, NamesTheMalformedLine) {
  for (const auto& [text, reason] : std::vector<std::pair<std::string, std::string>>{
           {"movieId,title\n1,a\n2\n", "titles:3: has 1 field(s)"},
           {"movieId,title\n,a\n", "titles:2: the item id is empty"},
           {"1,a\n\n1,b\n", "titles:3: item '1' has a title already"},
           {"1,a\n2,\"b\n", "titles:2: a quoted field does not end"},
           {"1,a\n2," + std::string(70'000, 'x') + "\n", "titles:2: line is longer than"}}) {
    auto titles = FromText(text);
    EXPECT_TRUE(absl::IsInvalidArgument(titles.status())) << titles.status();
    EXPECT_THAT(std::string(titles.status().message()), HasSubstr(reason));
  }
}

TEST(TitleReaderTest, ReadsMovieLensLatestSmall) {
  auto titles = ReadTitles(FACTORD_SOURCE_DIR "/data/ml-latest-small/movies.csv");
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->size(), 9066u);
  EXPECT_EQ(titles->at("11").title, "American President, The");
}

TEST(TitleReaderTest, ReadsTheOlderMovieLensSets) {
  const char* const data = std::getenv("FACTORD_DATA");
  if (data == nullptr) {
    GTEST_SKIP() << "set FACTORD_DATA to a folder with ml-100k/ and ml-1m-timed/";
  }
  auto titles = ReadTitles(absl::StrCat(data, "/ml-100k/u.item"));
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->size(), 1682u);
  EXPECT_THAT(titles->at("1").genres, ElementsAre("Animation", "Children's", "Comedy"));

  titles = ReadTitles(absl::StrCat(data, "/ml-1m-timed/movies.dat"));
  ASSERT_TRUE(titles.ok()) << titles.status();
  EXPECT_EQ(titles->size(), 3883u);
  EXPECT_EQ(titles->at("73").title, "Mis\xC3\xA9rables, Les (1995)");
}

}  // namespace
}  // namespace factord
