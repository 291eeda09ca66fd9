// What people and scripts read: tables, JSON, the progress line.
#include <sstream>

#include "factorctl/error_budget.h"
#include "factorctl/json.h"
#include "factorctl/progress.h"
#include "factorctl/status_line.h"
#include "factorctl/table.h"
#include "gmock/gmock.h"
#include "google/protobuf/timestamp.pb.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TableTest, AlignsColumnsByCharacters) {
  Table table({{"rank", Table::kRight}, {"title"}, {"year"}});
  table.AddRow({"1", "Am\xC3\xA9lie", "2001"});
  table.AddRow({"10", "Casablanca", "1942"});
  EXPECT_EQ(table.ToString(),
            "rank  title       year\n"
            "   1  Am\xC3\xA9lie      2001\n"
            "  10  Casablanca  1942\n");
}

TEST(TableTest, LeavesNoBlanksAtTheEnd) {
  Table table({{"a"}, {"b"}});
  table.AddRow({"x", ""});
  EXPECT_EQ(table.ToString(), "a  b\nx\n");
}

TEST(WithCommasTest, GroupsByThree) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(999), "999");
  EXPECT_EQ(WithCommas(1000), "1,000");
  EXPECT_EQ(WithCommas(100'004), "100,004");
  EXPECT_EQ(WithCommas(-1'234'567), "-1,234,567");
  EXPECT_EQ(WithCommas(-100), "-100");
}

TEST(JsonTest, NumbersAreNumbersAndEveryFieldIsThere) {
  v1::RecommendItemsResponse response;
  response.set_sequence(int64_t{1} << 53);
  response.add_items()->set_score(0.1F);
  EXPECT_EQ(Dump(ToJson(response)),
            "{\"items\":[{\"item_id\":\"\",\"score\":0.1}],\"sequence\":9007199254740992,"
            "\"cold_start\":false,\"recommendation_id\":\"\",\"user_factors\":[]}");
}

TEST(JsonTest, EnumsOptionalsMessagesAndTimes) {
  v1::ModelConfig config;
  config.set_variant(v1::ModelConfig::VARIANT_PA_I);
  EXPECT_EQ(ToJson(config)["variant"], "VARIANT_PA_I");
  v1::Rating rating;
  EXPECT_TRUE(ToJson(rating)["rating"].is_null());
  EXPECT_TRUE(ToJson(rating)["event_time"].is_null());
  rating.set_rating(0);
  rating.mutable_event_time()->set_seconds(1260759144);
  EXPECT_EQ(ToJson(rating)["rating"], 0);
  EXPECT_EQ(ToJson(rating)["event_time"], "2009-12-14T02:52:24Z");
  v1::GetModelResponse model;
  EXPECT_TRUE(ToJson(model)["config"].is_null());
}

TEST(JsonTest, FloatsAreShort) {
  EXPECT_EQ(FloatToJson(0.1F).dump(), "0.1");
  EXPECT_EQ(FloatToJson(16777216.0F).dump(), "16777216.0");
  EXPECT_EQ(FloatToJson(1.0F / 3).dump(), "0.33333334");
  EXPECT_TRUE(FloatToJson(std::numeric_limits<float>::infinity()).is_null());
}

TEST(JsonTest, DumpSurvivesBytesThatAreNoText) {
  EXPECT_EQ(Dump(Json("caf\xE9")), "\"caf\xEF\xBF\xBD\"");
}

TEST(RenderProgressTest, ShowsHowFarAndHowLong) {
  v1::PrequentialError error;
  error.set_events(1);
  error.set_mae(0.75);
  error.set_fading_mae(0.5);
  EXPECT_EQ(
      RenderProgress(
          {.total = 1000, .acknowledged = 250, .per_second = 10, .reconnects = 2, .error = error}),
      "[======>                 ]  25%  250/1,000  10/s  ETA 1:15  MAE 0.7500 (lately 0.5000)"
      "  reconnects 2");
}

TEST(RenderProgressTest, TheEnds) {
  v1::PrequentialError none;
  EXPECT_EQ(RenderProgress(
                {.total = 10, .acknowledged = 10, .per_second = 5, .reconnects = 0, .error = none}),
            "[========================] 100%  10/10  5/s");
  EXPECT_EQ(RenderProgress(
                {.total = 0, .acknowledged = 0, .per_second = 0, .reconnects = 0, .error = none}),
            "[========================] 100%  0/0  0/s");
  EXPECT_EQ(RenderProgress({.total = std::nullopt,
                            .acknowledged = 1234,
                            .per_second = 9.5,
                            .reconnects = 0,
                            .error = std::nullopt}),
            "1,234 acknowledged  9/s  waiting for the server");
  EXPECT_THAT(
      RenderProgress(
          {.total = 10'000, .acknowledged = 1, .per_second = 1, .reconnects = 0, .error = none}),
      HasSubstr("ETA 2:46:39"));
}

TEST(StatusLineTest, OnATerminalTheLineIsWrittenOver) {
  std::ostringstream out;
  StatusLine line(out, /*is_terminal=*/true);
  line.Show("10%");
  line.PrintAbove("a message");
  line.Show("20%");
  line.Finish();
  EXPECT_EQ(out.str(), "\r\x1b[K10%\r\x1b[Ka message\n10%\r\x1b[K20%\n");
}

TEST(StatusLineTest, ElsewhereEachStateIsALine) {
  std::ostringstream out;
  StatusLine line(out, /*is_terminal=*/false);
  line.Show("10%");
  line.PrintAbove("a message");
  line.Show("20%");
  line.Finish();
  EXPECT_EQ(out.str(), "10%\na message\n20%\n");
}

TEST(ErrorBudgetTest, EndsWithTheFirstErrorBeyond) {
  std::ostringstream out;
  StatusLine line(out, false);
  ErrorBudget errors(2, &line);
  EXPECT_TRUE(errors.Note(absl::InvalidArgumentError("one")).ok());
  EXPECT_TRUE(errors.Note(absl::InvalidArgumentError("two")).ok());
  EXPECT_TRUE(errors.status().ok());
  const absl::Status status = errors.Note(absl::ResourceExhaustedError("three"));
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(status.message(), "three (error 3; --max_errors is 2)");
  EXPECT_EQ(errors.Note(absl::InvalidArgumentError("four")), status);
  EXPECT_EQ(errors.status(), status);
  EXPECT_EQ(out.str(), "one\ntwo\n");
}

TEST(ErrorBudgetTest, PrintsTheFirstFew) {
  std::ostringstream out;
  StatusLine line(out, false);
  ErrorBudget errors(1000, &line);
  for (int i = 1; i <= 500; ++i) {
    EXPECT_TRUE(errors.Note(absl::InvalidArgumentError(absl::StrCat("e", i))).ok());
  }
  EXPECT_THAT(out.str(), HasSubstr("\ne20\nfurther errors are only counted\n"));
  EXPECT_THAT(out.str(), Not(HasSubstr("e21")));
}

}  // namespace
}  // namespace factord
