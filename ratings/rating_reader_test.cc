#include "ratings/rating_reader.h"

#include <cstdlib>

#include "absl/container/flat_hash_set.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// "line user item rating time", or the message of a malformed line.
std::vector<std::string> Read(absl::string_view text, RatingFormat format = RatingFormat::kAuto) {
  RatingReader reader(LineReader::FromText(text, "in"), {.format = format});
  std::vector<std::string> result;
  RatingRecord record;
  while (true) {
    const absl::Status status = reader.Next(&record);
    if (absl::IsOutOfRange(status)) return result;
    if (!status.ok()) {
      result.emplace_back(status.message());
      if (!absl::IsInvalidArgument(status)) return result;
      continue;
    }
    result.push_back(
        absl::StrCat(record.line, " ", record.user_id, " ", record.item_id, " ", record.rating, " ",
                     record.time_micros.has_value() ? absl::StrCat(*record.time_micros) : "none"));
  }
}

// The message for one malformed line that stands between two good ones; both must survive it.
std::string Malformed(absl::string_view line) {
  const auto result = Read(absl::StrCat("u,i,1,5\n", line, "\nv,j,2,6\n"));
  if (result.size() != 3 || result[0] != "1 u i 1 5000000" || result[2] != "3 v j 2 6000000") {
    return "the lines around it were lost: " + testing::PrintToString(result);
  }
  return result[1];
}

TEST(RatingReaderTest, ReadsMovieLensCsv) {
  EXPECT_THAT(Read("userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n2,x,5,0\n"),
              ElementsAre("2 1 31 2.5 1260759144000000", "3 2 x 5 0"));
}

TEST(RatingReaderTest, ReadsMovieLensDat) {
  EXPECT_THAT(Read("1::1193::5::978300760\n1::661::3::978302109\n"),
              ElementsAre("1 1 1193 5 978300760000000", "2 1 661 3 978302109000000"));
}

TEST(RatingReaderTest, ReadsMovieLensTab) {
  EXPECT_THAT(Read("196\t242\t3\t881250949\n"), ElementsAre("1 196 242 3 881250949000000"));
}

TEST(RatingReaderTest, ReadsPlainTriples) {
  EXPECT_THAT(Read("u,i,3.5\n"), ElementsAre("1 u i 3.5 none"));
  EXPECT_THAT(Read("u,i,3.5,\n"), ElementsAre("1 u i 3.5 none"));
  EXPECT_THAT(Read("u::i::3.5\n"), ElementsAre("1 u i 3.5 none"));
}

TEST(RatingReaderTest, HeaderDecidesByName) {
  EXPECT_THAT(Read("Timestamp,Movie ID,comment,Rating,User_Id\n9,m,\"a, b\",4,u\n"),
              ElementsAre("2 u m 4 9000000"));
  EXPECT_THAT(Read("item\tuser\tscore\ni\tu\t4\n"), ElementsAre("2 u i 4 none"));
}

TEST(RatingReaderTest, ALineWithARatingIsNoHeader) {
  EXPECT_THAT(Read("user,item,4\n"), ElementsAre("1 user item 4 none"));
}

TEST(RatingReaderTest, RefusesAHeaderWithoutAColumnItNeeds) {
  EXPECT_THAT(Read("userId,rating,title\n1,2,3\n"),
              ElementsAre("in:1: the header names no column for the item"));
  EXPECT_THAT(Read("userId,rating,item,movieId\n1,2,3,4\n"),
              ElementsAre("in:1: the header names the column 'movieId' twice"));
}

TEST(RatingReaderTest, AFirstLineThatIsNeitherIsToldSo) {
  EXPECT_THAT(Read("movieId,title,genres\nu,i,3\n"),
              ElementsAre("in:1: rating 'genres' is not a number (nor does a header name user, "
                          "item and rating)",
                          "2 u i 3 none"));
}

TEST(RatingReaderTest, FormatCanBeForced) {
  // By its content this would be taken for tabs.
  EXPECT_THAT(Read("a\tb\tc,i,3\n", RatingFormat::kCsv), ElementsAre("1 a\tb\tc i 3 none"));
  EXPECT_THAT(Read("u,i,3\n", RatingFormat::kTab), ElementsAre(HasSubstr("1 field(s), too few")));
}

TEST(RatingReaderTest, FormatNames) {
  EXPECT_EQ(*ParseRatingFormat("dat"), RatingFormat::kDoubleColon);
  EXPECT_EQ(*ParseRatingFormat("csv"), RatingFormat::kCsv);
  EXPECT_EQ(*ParseRatingFormat("tab"), RatingFormat::kTab);
  EXPECT_EQ(*ParseRatingFormat("auto"), RatingFormat::kAuto);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRatingFormat("xml").status()));
}

TEST(RatingReaderTest, ToleratesWhatEditorsAndSystemsLeave) {
  EXPECT_THAT(Read("\xEF\xBB\xBFuserId,movieId,rating\r\n\r\n1,2,3\r\n   \r\n4,5, 6 "),
              ElementsAre("3 1 2 3 none", "5 4 5 6 none"));
  EXPECT_THAT(Read(""), IsEmpty());
  EXPECT_THAT(Read("userId,movieId,rating\n"), IsEmpty());
}

TEST(RatingReaderTest, QuotedFields) {
  EXPECT_THAT(Read("\"Doe, Jane\",\"a \"\"b\"\"\",\"4\",\"7\"\n"),
              ElementsAre("1 Doe, Jane a \"b\" 4 7000000"));
}

TEST(RatingReaderTest, IdsAreUtf8) {
  EXPECT_THAT(Read("caf\xC3\xA9,\xF0\x9F\x98\x80,3\n"),
              ElementsAre("1 caf\xC3\xA9 \xF0\x9F\x98\x80 3 none"));
  EXPECT_EQ(Malformed("caf\xE9,i,3"), "in:2: the user id 'caf\\xe9' is not valid UTF-8");
  EXPECT_EQ(Malformed("u,\xC3,3"), "in:2: the item id '\\xc3' is not valid UTF-8");
}

TEST(RatingReaderTest, IdsHaveALength) {
  const std::string longest(256, 'x');
  EXPECT_THAT(Read(longest + "," + longest + ",3\n"),
              ElementsAre("1 " + longest + " " + longest + " 3 none"));
  EXPECT_EQ(Malformed(longest + "x,i,3"),
            "in:2: the user id has 257 bytes; at most 256 are allowed");
  EXPECT_EQ(Malformed(",i,3"), "in:2: the user id is empty");
  EXPECT_EQ(Malformed("u,\"\",3"), "in:2: the item id is empty");
}

TEST(RatingReaderTest, RatingsAreFiniteNumbers) {
  EXPECT_EQ(Malformed("u,i,abc"), "in:2: rating 'abc' is not a number");
  EXPECT_EQ(Malformed("u,i,3.5x"), "in:2: rating '3.5x' is not a number");
  EXPECT_EQ(Malformed("u,i,3 5"), "in:2: rating '3 5' is not a number");
  EXPECT_EQ(Malformed("u,i,1e999"), "in:2: rating '1e999' is not a number");
  EXPECT_EQ(Malformed("u,i,"), "in:2: the rating is empty");
  EXPECT_EQ(Malformed("u,i,NaN"), "in:2: rating 'NaN' is not finite");
  EXPECT_EQ(Malformed("u,i,-inf"), "in:2: rating '-inf' is not finite");
  // The range is the model's business.
  EXPECT_THAT(Read("u,i,-1e3\n"), ElementsAre("1 u i -1000 none"));
}

TEST(RatingReaderTest, TimesAreSeconds) {
  EXPECT_THAT(
      Read("u,i,3,1.5\nu,i,3,-0.25\nu,i,3,12.1234567\nu,i,3,7.\n"),
      ElementsAre("1 u i 3 1500000", "2 u i 3 -250000", "3 u i 3 12123456", "4 u i 3 7000000"));
  // The first and the last second that can be told.
  EXPECT_THAT(Read("u,i,3,-62135596800\nu,i,3,253402300799.999999\n"),
              ElementsAre("1 u i 3 -62135596800000000", "2 u i 3 253402300799999999"));
  for (const absl::string_view time :
       {"x", "1e9", "1.5.", ".5", "-", "1 2", "0x10", "+5", "-62135596801", "253402300800",
        "1260759144000", "18446744073709", "99999999999999999999"}) {
    EXPECT_EQ(Malformed(absl::StrCat("u,i,3,", time)),
              absl::StrCat("in:2: time '", time, "' is not a number of seconds since 1970"));
  }
}

TEST(RatingReaderTest, FieldsAreCounted) {
  EXPECT_EQ(Malformed("u,i"),
            "in:2: has 2 field(s), too few: expected user, item, rating and perhaps time");
  EXPECT_EQ(Malformed("u,i,3,4,5"),
            "in:2: has 5 fields, too many: expected user, item, rating and perhaps time");
  EXPECT_THAT(Read("rating,user,item\n3,u\n"),
              ElementsAre("in:2: has 2 fields; the header asks for 3"));
}

TEST(RatingReaderTest, OtherMalformedLines) {
  // Two files, one behind the other.
  EXPECT_EQ(Malformed("userId,movieId,rating,timestamp"), "in:2: rating 'rating' is not a number");
  EXPECT_EQ(Malformed("\"u,i,3"), "in:2: a quoted field does not end");
  EXPECT_EQ(Malformed("u,i,3," + std::string(100'000, '1')),
            "in:2: line is longer than 65536 bytes");
}

TEST(RatingReaderTest, GarbageBeforeTheFirstRatingDoesNotSettleTheFormat) {
  EXPECT_THAT(Read("# exported today, by hand\nu\ti\t3\n"),
              ElementsAre(HasSubstr("in:1: is no rating"), "2 u i 3 none"));
}

TEST(RatingReaderTest, ABinaryFileIsRefusedLineByLine) {
  std::string noise;
  uint32_t state = 1;
  for (int i = 0; i < 300'000; ++i) {
    state = state * 1664525 + 1013904223;
    noise.push_back(static_cast<char>(state >> 24));
  }
  for (const std::string& message : Read(noise)) EXPECT_THAT(message, HasSubstr("in:"));
}

// How many ratings a file holds, and of how many users and items; fails at a malformed line.
void ExpectCounts(const std::string& path, int ratings, size_t users, size_t items) {
  auto reader = RatingReader::Open(path, {});
  ASSERT_TRUE(reader.ok()) << reader.status();
  absl::flat_hash_set<std::string> seen_users, seen_items;
  RatingRecord record;
  int count = 0;
  while (true) {
    const absl::Status status = (*reader)->Next(&record);
    if (absl::IsOutOfRange(status)) break;
    ASSERT_TRUE(status.ok()) << status;
    ++count;
    seen_users.emplace(record.user_id);
    seen_items.emplace(record.item_id);
    ASSERT_GE(record.rating, 0.5);
    ASSERT_LE(record.rating, 5);
    ASSERT_TRUE(record.time_micros.has_value());
  }
  EXPECT_EQ(count, ratings) << path;
  EXPECT_EQ(seen_users.size(), users) << path;
  EXPECT_EQ(seen_items.size(), items) << path;
}

TEST(RatingReaderTest, ReadsMovieLensLatestSmall) {
  ExpectCounts(FACTORD_SOURCE_DIR "/data/ml-latest-small/ratings.csv", 100'004, 671, 9'066);
}

TEST(RatingReaderTest, ReadsTheOlderMovieLensSets) {
  const char* const data = std::getenv("FACTORD_DATA");
  if (data == nullptr) {
    GTEST_SKIP() << "set FACTORD_DATA to a folder with ml-100k/ and ml-1m-timed/";
  }
  ExpectCounts(absl::StrCat(data, "/ml-100k/u.data"), 100'000, 943, 1'682);
  ExpectCounts(absl::StrCat(data, "/ml-1m-timed/ratings.dat"), 487'650, 2'999, 3'615);
}

}  // namespace
}  // namespace factord
