#include "server/reloadable.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

// What is logged meanwhile.
std::string LogOfReload(Reloadable<int>& reloadable) {
  CaptureStderr();
  reloadable.Reload();
  return GetCapturedStderr();
}

// Symptom: when a bad file was put back as it was, the error stayed the last word on it.
TEST(ReloadableTest, LogsEachChangeOnce) {
  log::Start(log::Level::kInfo, log::Format::kText);
  absl::StatusOr<int> in_the_files = 1;
  Reloadable<int> reloadable("tokens", [&] { return in_the_files; });
  ASSERT_TRUE(reloadable.Load().ok());
  EXPECT_EQ(LogOfReload(reloadable), "");
  in_the_files = absl::InvalidArgumentError("line 1 is bad");
  EXPECT_THAT(LogOfReload(reloadable), HasSubstr("not reloaded, the former ones stay"));
  EXPECT_EQ(LogOfReload(reloadable), "");
  in_the_files = 1;
  EXPECT_THAT(LogOfReload(reloadable), HasSubstr(" info good again, and as before "));
  EXPECT_EQ(LogOfReload(reloadable), "");
  in_the_files = absl::InvalidArgumentError("line 1 is bad");
  EXPECT_THAT(LogOfReload(reloadable), HasSubstr("not reloaded, the former ones stay"));
  in_the_files = 2;
  EXPECT_THAT(LogOfReload(reloadable), HasSubstr(" info reloaded "));
  EXPECT_EQ(*reloadable.Get(), 2);
  EXPECT_EQ(reloadable.reloads(), 1);
  EXPECT_EQ(reloadable.failures(), 3);
}

}  // namespace
}  // namespace factord
