#include "server/flags.h"

#include <absl/flags/reflection.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/model_overrides.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FlagsTest : public ::testing::Test {
 protected:
  // A folder that is not there.
  const std::string data_dir_ = "--data_dir=" + ::testing::TempDir() + "flags_test_no_such_folder";

  std::string Mistakes(const std::vector<std::string>& arguments) {
    const auto line = ParseCommandLine(arguments);
    EXPECT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(line.status().message());
  }

 private:
  absl::FlagSaver saver_;
};

TEST_F(FlagsTest, DefaultsAreThoseOfTheOptions) {
  const auto line = ParseCommandLine({data_dir_});
  ASSERT_TRUE(line.ok()) << line.status();
  const ServerOptions defaults;
  EXPECT_EQ(line->server.listen, defaults.listen);
  EXPECT_EQ(line->server.port_file, defaults.port_file);
  EXPECT_EQ(line->server.max_sequence_wait, defaults.max_sequence_wait);
  EXPECT_EQ(line->server.stream_window_events, defaults.stream_window_events);
  EXPECT_EQ(line->server.max_message_bytes, defaults.max_message_bytes);
  EXPECT_EQ(line->server.drain_timeout, defaults.drain_timeout);
  EXPECT_EQ(line->log_level, "info");
  EXPECT_TRUE(line->server.open_engine);
}

TEST_F(FlagsTest, TakesBothForms) {
  const auto line = ParseCommandLine({data_dir_, "--listen", "[::]:0", "--drain_timeout=1500ms",
                                      "--variant=pa-2", "--rank", "8", "--seed=-3"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->server.listen, "[::]:0");
  EXPECT_EQ(line->server.drain_timeout, std::chrono::milliseconds(1500));
}

TEST_F(FlagsTest, ReportsEveryMistakeAtOnce) {
  const std::string mistakes =
      Mistakes({"--rnak=3", "stray", "--rank=many", "--durability=maybe", "--log_retention=some",
                "--listen=7070", "--snapshot_interval=-1s", "--stream_window_events=9",
                "--max_message_bytes=1", "--max_queued_events=0", "--min_free_bytes=-1",
                "--drain_timeout=0s", "--log_level=loud", "--solver=quick", "--port_file"});
  for (const char* expected :
       {"--rnak: unknown flag", "unexpected argument: stray", "--rank: cannot be \"many\"",
        "--durability: must be sync or async, is \"maybe\"",
        "--log_retention: must be snapshot or all, is \"some\"",
        "--listen: must be HOST:PORT, is \"7070\"", "--snapshot_interval: must be 0 to a year",
        "--stream_window_events: must be at least 10000", "--max_message_bytes: must be at least",
        "--max_queued_events: must be at least 1", "--min_free_bytes: must be at least 0",
        "--drain_timeout: must be 1ms to a year", "--log_level: must be info or",
        "--solver: must be exact or bisection or approximate, is \"quick\"",
        "--port_file: needs a value", "--data_dir: must be given"}) {
    EXPECT_THAT(mistakes, HasSubstr(expected));
  }
}

TEST_F(FlagsTest, ChecksTheConfigurationOfANewFolder) {
  const std::string mistakes =
      Mistakes({data_dir_, "--rank=0", "--min_rating=3", "--max_rating=2", "--epsilon=-1"});
  EXPECT_THAT(mistakes, HasSubstr("rank"));
  EXPECT_THAT(mistakes, HasSubstr("max_rating"));
  EXPECT_THAT(mistakes, HasSubstr("epsilon"));
  EXPECT_THAT(mistakes, Not(HasSubstr("dedupe_window")));
}

TEST_F(FlagsTest, HelpAndVersionNeedNothingElse) {
  EXPECT_TRUE(ParseCommandLine({"--help"})->help);
  EXPECT_TRUE(ParseCommandLine({"--version"})->version);
  const std::string help = HelpText();
  for (const char* flag : {"--data_dir\n", "--listen=127.0.0.1:7070\n", "--rank\n",
                           "--drain_timeout=30s\n", "--durability=sync\n"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

TEST(ModelOverridesTest, UnsetFieldsAreLeftAlone) {
  ModelConfig folder;
  folder.rank = 8;
  folder.max_rating = 10;
  EXPECT_EQ(ModelOverrides().Over(folder), folder);
  ModelOverrides overrides;
  overrides.seed = 99;
  const ModelConfig over = overrides.Over(folder);
  EXPECT_EQ(over.seed, 99);
  EXPECT_EQ(over.rank, 8);
  EXPECT_EQ(over.max_rating, 10);
}

TEST(ModelOverridesTest, ANewFolderStartsInTheUpperHalfOfItsRange) {
  EXPECT_EQ(ModelOverrides().ForNewFolder(), ModelConfig());
  ModelOverrides overrides;
  overrides.max_rating = 10.0f;
  EXPECT_EQ(overrides.ForNewFolder().initial_rating, 7.0f);
  overrides.max_rating = 5.0f;
  EXPECT_EQ(overrides.ForNewFolder(), ModelConfig());
  overrides.initial_rating = 1.0f;
  EXPECT_EQ(overrides.ForNewFolder().initial_rating, 1.0f);
}

}  // namespace
}  // namespace factord
