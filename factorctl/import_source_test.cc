#include "factorctl/import_source.h"

#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "base/temp_folder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ImportSourceTest : public testing::Test {
 protected:
  const TempFolder folder_;

  std::string Write(absl::string_view text, const std::string& name = "in.csv") const {
    return folder_.Write(name, text);
  }

  // "number user item rating seconds" of each rating.
  std::vector<std::string> All(ImportSource& source) {
    std::vector<std::string> all;
    int64_t number;
    v1::Rating rating;
    while (true) {
      auto more = source.Next(&number, &rating);
      if (!more.ok()) {
        all.push_back("error");
        break;
      }
      if (!*more) break;
      all.push_back(absl::StrCat(
          number, " ", rating.user_id(), " ", rating.item_id(), " ", rating.rating(), " ",
          rating.has_event_time() ? absl::StrCat(rating.event_time().seconds()) : "none"));
    }
    return all;
  }

  std::vector<std::string> All(const ImportSource::Options& options) {
    auto source = ImportSource::Open(options, &errors_);
    if (!source.ok()) return {std::string(source.status().message())};
    return All(**source);
  }

  std::string Fingerprint(const ImportSource::Options& options) {
    auto source = ImportSource::Open(options, &errors_);
    EXPECT_TRUE(source.ok()) << source.status();
    return (*source)->fingerprint();
  }

  std::ostringstream out_;
  StatusLine line_{out_, false};
  ErrorBudget errors_{0, &line_};
};

TEST_F(ImportSourceTest, NumbersAreLines) {
  const std::string path = Write("userId,movieId,rating,timestamp\na,x,3,30\n\nb,y,4,20\n");
  EXPECT_THAT(All({.path = path}), ElementsAre("2 a x 3 30", "4 b y 4 20"));
}

TEST_F(ImportSourceTest, InOrderOfTimeNumbersArePlaces) {
  const std::string path = Write("a,x,3,30\nb,y,4,20\nc,z,5,30\nd,w,1,-5\n");
  EXPECT_THAT(All({.path = path, .sort_by_time = true}),
              ElementsAre("1 d w 1 -5", "2 b y 4 20", "3 a x 3 30", "4 c z 5 30"));
}

TEST_F(ImportSourceTest, SortingNeedsTimes) {
  const std::string path = Write("a,x,3,30\nb,y,4\n");
  EXPECT_THAT(All({.path = path, .sort_by_time = true}),
              ElementsAre(HasSubstr(path + ":2: has no time, by which")));
}

TEST_F(ImportSourceTest, KeepsFractionsOfTimesBefore1970) {
  auto source = ImportSource::Open({.path = Write("a,x,3,-1.25\n")}, &errors_);
  ASSERT_TRUE(source.ok());
  int64_t number;
  v1::Rating rating;
  ASSERT_TRUE(*(*source)->Next(&number, &rating));
  EXPECT_EQ(rating.event_time().seconds(), -2);
  EXPECT_EQ(rating.event_time().nanos(), 750'000'000);
}

TEST_F(ImportSourceTest, AFileIsCheckedBeforeItsFirstRatingIsGiven) {
  const std::string path = Write("a,x,3\nb,y,bad\nc,z,5\n");
  EXPECT_THAT(All({.path = path}),
              ElementsAre(path + ":2: rating 'bad' is not a number (error 1; --max_errors is 0)"));
}

TEST_F(ImportSourceTest, MalformedLinesWithinTheBudgetAreLeftOutAndCountedOnce) {
  ErrorBudget errors(1, &line_);
  const std::string path = Write("a,x,3\nb,y,bad\nc,z,5\n");
  auto source = ImportSource::Open({.path = path}, &errors);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_THAT(All(**source), ElementsAre("1 a x 3 none", "3 c z 5 none"));
  EXPECT_EQ((*source)->malformed(), 1);
  EXPECT_EQ((*source)->total(), 2);
  EXPECT_EQ(out_.str(), path + ":2: rating 'bad' is not a number\n");
}

TEST_F(ImportSourceTest, LeavesOutAndLimits) {
  const std::string path = Write("a,x,1\nb,y,2\nc,z,3\nd,w,4\ne,v,5\n");
  auto source = ImportSource::Open({.path = path, .min_rating = 2, .max_rating = 4}, &errors_);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->total(), 3);
  EXPECT_THAT(All(**source), ElementsAre("2 b y 2 none", "3 c z 3 none", "4 d w 4 none"));
  EXPECT_EQ((*source)->filtered(), 2);
  source = ImportSource::Open({.path = path, .limit = 2}, &errors_);
  EXPECT_EQ((*source)->total(), 2);
  EXPECT_THAT(All(**source), ElementsAre("1 a x 1 none", "2 b y 2 none"));
}

TEST_F(ImportSourceTest, TheFingerprintIsThatOfContentAndNumbering) {
  const std::string text = "a,x,3,30\nb,y,4,20\n";
  const std::string path = Write(text);
  std::set<std::string> fingerprints;
  const std::string one = Fingerprint({.path = path});
  EXPECT_EQ(one.size(), 32u);
  EXPECT_EQ(Fingerprint({.path = Write(text, "copy.csv")}), one);
  EXPECT_EQ(Fingerprint({.path = path, .limit = 1}), one);  // the same numbers, fewer of them
  fingerprints.insert(one);
  fingerprints.insert(Fingerprint({.path = path, .sort_by_time = true}));
  fingerprints.insert(Fingerprint({.path = path, .min_rating = 4}));
  fingerprints.insert(Fingerprint({.path = path, .max_rating = 4}));
  fingerprints.insert(Fingerprint({.path = path, .format = RatingFormat::kCsv}));
  fingerprints.insert(Fingerprint({.path = path, .event_type = "click"}));
  fingerprints.insert(Fingerprint({.path = Write("a,x,3,30\nb,y,4,21\n", "other.csv")}));
  EXPECT_EQ(fingerprints.size(), 7u);
}

TEST_F(ImportSourceTest, TheFingerprintSeesTheWholeOfALargeFile) {
  std::string text;
  while (text.size() < (size_t{3} << 20)) absl::StrAppend(&text, "user,item,3,", text.size(), "\n");
  const std::string one = Fingerprint({.path = Write(text, "one.csv")});
  text[0] = 'x';
  EXPECT_NE(Fingerprint({.path = Write(text, "two.csv")}), one);
}

TEST_F(ImportSourceTest, WhatCanBeReadOnlyOnceIsCheckedAsItIsGiven) {
  const std::string path = folder_ / "fifo";
  for (const std::optional<int64_t> limit : {std::optional<int64_t>(), std::optional<int64_t>(1)}) {
    std::remove(path.c_str());
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    std::thread writer([&] { std::ofstream(path) << "a,x,3\nb,y,4\nc,z,bad\nd,w,5\n"; });
    auto source = ImportSource::Open({.path = path, .limit = limit}, &errors_);
    writer.join();
    ASSERT_TRUE(source.ok()) << source.status();
    EXPECT_FALSE((*source)->total().has_value());
    EXPECT_THAT((*source)->fingerprint(), IsEmpty());
    if (limit.has_value()) {
      EXPECT_THAT(All(**source), ElementsAre("1 a x 3 none"));
    } else {
      EXPECT_THAT(All(**source), ElementsAre("1 a x 3 none", "2 b y 4 none", "error"));
      EXPECT_THAT(std::string(errors_.status().message()), HasSubstr(":3: rating 'bad'"));
    }
  }
  std::remove(path.c_str());
}

TEST_F(ImportSourceTest, FilesThatCannotBeRead) {
  EXPECT_THAT(All({.path = "/nonexistent"}), ElementsAre(HasSubstr("/nonexistent: cannot open")));
  EXPECT_THAT(All({.path = folder_.path()}), ElementsAre(HasSubstr("is a folder")));
  EXPECT_THAT(All({.path = Write("")}), IsEmpty());
}

}  // namespace
}  // namespace factord
