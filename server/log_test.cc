#include "server/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace factord {
namespace {

using ::testing::MatchesRegex;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

TEST(LogTest, Text) {
  log::Start(log::Level::kInfo, log::Format::kText);
  CaptureStderr();
  log::Warning(
      "some thing",
      {{"n", 3}, {"on", true}, {"bare", "a/b:c"}, {"quoted", "two words\n"}, {"empty", ""}});
  EXPECT_THAT(GetCapturedStderr(),
              MatchesRegex(R"(20..-..-..T..:..:......Z warning some thing n=3 on=true bare=a/b:c )"
                           "quoted=\"two words\\\\n\" empty=\"\"\n"));
}

TEST(LogTest, JsonIsOneObjectALineWhateverIsInIt) {
  log::Start(log::Level::kInfo, log::Format::kJson);
  CaptureStderr();
  log::Error("failed", {{"reason", "a \"b\"\n\xff {} %v"}, {"seconds", 1.5}});
  const std::string line = GetCapturedStderr();
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["message"], "failed");
  EXPECT_EQ(json["reason"], "a \"b\"\n\uFFFD {} %v");
  EXPECT_EQ(json["seconds"], 1.5);
  EXPECT_TRUE(json["time"].is_string());
}

TEST(LogTest, LevelsBelowAreLeftOut) {
  log::Start(log::Level::kWarning, log::Format::kText);
  EXPECT_FALSE(log::IsOn(log::Level::kInfo));
  EXPECT_TRUE(log::IsOn(log::Level::kError));
  CaptureStderr();
  log::Info("no");
  log::Debug("no");
  EXPECT_EQ(GetCapturedStderr(), "");
}

}  // namespace
}  // namespace factord
