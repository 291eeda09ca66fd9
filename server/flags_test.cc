#include "server/flags.h"

#include <absl/flags/reflection.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "client/test_certificates.h"
#include "server/byte_size.h"
#include "server/model_overrides.h"

namespace factord {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class FlagsTest : public ::testing::Test {
 protected:
  const TempFolder folder_;
  // A folder that is not there.
  const std::string data_dir_ = "--data_dir=" + folder_ / "data";

  std::string Mistakes(const std::vector<std::string>& arguments) {
    const auto line = ParseCommandLine(arguments, {});
    EXPECT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(line.status().message());
  }

 private:
  absl::FlagSaver saver_;
};

TEST_F(FlagsTest, DefaultsAreThoseOfTheOptions) {
  const auto line = ParseCommandLine({data_dir_}, {});
  ASSERT_TRUE(line.ok()) << line.status();
  const ServerOptions& given = line->server;
  const ServerOptions defaults;
  EXPECT_EQ(given.listen, defaults.listen);
  EXPECT_EQ(given.health_listen, defaults.health_listen);
  EXPECT_EQ(given.metrics_listen, defaults.metrics_listen);
  EXPECT_EQ(given.port_file, defaults.port_file);
  EXPECT_EQ(given.tls.is_on(), defaults.tls.is_on());
  EXPECT_EQ(given.token_file, defaults.token_file);
  EXPECT_EQ(given.reload_interval, defaults.reload_interval);
  EXPECT_EQ(given.reflection, defaults.reflection);
  EXPECT_EQ(given.network.max_connections, defaults.network.max_connections);
  EXPECT_EQ(given.network.max_calls_per_connection, defaults.network.max_calls_per_connection);
  EXPECT_EQ(given.network.max_message_bytes, defaults.network.max_message_bytes);
  EXPECT_EQ(given.network.memory_bytes, defaults.network.memory_bytes);
  EXPECT_EQ(given.network.keepalive_time, defaults.network.keepalive_time);
  EXPECT_EQ(given.network.keepalive_timeout, defaults.network.keepalive_timeout);
  EXPECT_EQ(given.network.min_client_ping_interval, defaults.network.min_client_ping_interval);
  EXPECT_EQ(given.network.max_connection_idle, defaults.network.max_connection_idle);
  EXPECT_EQ(given.network.max_connection_age, defaults.network.max_connection_age);
  EXPECT_EQ(given.network.max_connection_age_grace, defaults.network.max_connection_age_grace);
  EXPECT_EQ(given.calls.max_concurrent_calls, defaults.calls.max_concurrent_calls);
  EXPECT_EQ(given.calls.max_streams, defaults.calls.max_streams);
  EXPECT_EQ(given.calls.max_call_time, defaults.calls.max_call_time);
  EXPECT_EQ(given.calls.max_unread_answer_bytes, defaults.calls.max_unread_answer_bytes);
  EXPECT_EQ(given.calls.client_calls_per_second, defaults.calls.client_calls_per_second);
  EXPECT_EQ(given.calls.client_events_per_second, defaults.calls.client_events_per_second);
  EXPECT_EQ(given.max_sequence_wait, defaults.max_sequence_wait);
  EXPECT_EQ(given.stream_window_events, defaults.stream_window_events);
  EXPECT_EQ(given.drain_timeout, defaults.drain_timeout);
  EXPECT_EQ(line->log_level, log::Level::kInfo);
  EXPECT_EQ(line->log_format, log::Format::kText);
  EXPECT_TRUE(given.open_engine);
}

TEST_F(FlagsTest, TheLimitsOfConnectionsAndOfMemoryReachTheServer) {
  const auto line = ParseCommandLine(
      {data_dir_, "--max_connections=11", "--max_calls_per_connection=12",
       "--max_message_bytes=1300000", "--network_memory_bytes=140000000", "--keepalive_time=15s",
       "--keepalive_timeout=16s", "--min_client_ping_interval=17s", "--max_connection_idle=18s",
       "--max_connection_age=19s", "--max_connection_age_grace=20s", "--memory_limit=21MiB",
       "--max_unread_answer_bytes=22MiB"},
      {});
  ASSERT_TRUE(line.ok()) << line.status();
  const NetworkOptions& network = line->server.network;
  EXPECT_EQ(network.max_connections, 11);
  EXPECT_EQ(network.max_calls_per_connection, 12);
  EXPECT_EQ(network.max_message_bytes, 1'300'000);
  EXPECT_EQ(network.memory_bytes, 140'000'000);
  EXPECT_EQ(network.keepalive_time, std::chrono::seconds(15));
  EXPECT_EQ(network.keepalive_timeout, std::chrono::seconds(16));
  EXPECT_EQ(network.min_client_ping_interval, std::chrono::seconds(17));
  EXPECT_EQ(network.max_connection_idle, std::chrono::seconds(18));
  EXPECT_EQ(network.max_connection_age, std::chrono::seconds(19));
  EXPECT_EQ(network.max_connection_age_grace, std::chrono::seconds(20));
  EXPECT_EQ(line->server.engine_limits.memory_limit, 21 << 20);
  EXPECT_EQ(line->server.calls.max_unread_answer_bytes, 22 << 20);
}

TEST_F(FlagsTest, TakesBothForms) {
  const auto line =
      ParseCommandLine({data_dir_, "--listen", "[::]:0", "--drain_timeout=1500ms", "--variant=pa-2",
                        "--rank", "8", "--seed=-3", "--allow_plaintext", "--allow_anonymous"},
                       {});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->server.listen, "[::]:0");
  EXPECT_EQ(line->server.drain_timeout, std::chrono::milliseconds(1500));
}

TEST_F(FlagsTest, ReportsEveryMistakeAtOnce) {
  const std::string mistakes = Mistakes({"--rnak=3",
                                         "stray",
                                         "--rank=many",
                                         "--durability=maybe",
                                         "--log_retention=some",
                                         "--listen=7070",
                                         "--snapshot_interval=-1s",
                                         "--stream_window_events=9",
                                         "--max_message_bytes=1",
                                         "--max_queued_events=0",
                                         "--min_free_bytes=-1",
                                         "--drain_timeout=0s",
                                         "--log_level=loud",
                                         "--event_types=click:a",
                                         "--solver=quick",
                                         "--max_items=300000000",
                                         "--max_users=-1",
                                         "--client_calls_per_second=nan",
                                         "--client_events_per_second=inf",
                                         "--epsilon=-1",
                                         "--port_file"});
  for (const char* expected :
       {"--rnak: unknown flag",
        "unexpected argument: stray",
        "--rank: cannot be \"many\"",
        "--durability: must be sync or async, is \"maybe\"",
        "--log_retention: must be snapshot or all, is \"some\"",
        "--listen: must be HOST:PORT, is \"7070\"",
        "--snapshot_interval: must be 0 to a year",
        "--stream_window_events: must be at least 10000",
        "--max_message_bytes: must be 64KiB to 1GiB",
        "--max_queued_events: must be at least 1",
        "--min_free_bytes: cannot be \"-1\"",
        "--drain_timeout: must be 1ms to a year",
        "--log_level: must be info or",
        "--event_types: 'click:a' is not name, name:value or name:value:weight",
        "--solver: must be exact or bisection or approximate, is \"quick\"",
        "--max_items: must be 0 to 268435456, is 300000000",
        "--max_users: must be 0 to 268435456, is -1",
        "--client_calls_per_second: must be a number of at least 0, is nan",
        "--client_events_per_second: must be a number of at least 0, is inf",
        "--port_file: needs a value",
        "epsilon must be finite and >= 0",
        "--data_dir: must be given"}) {
    EXPECT_THAT(mistakes, HasSubstr(expected));
  }
}

// Symptom: what was wrong with files came only when the flags were right.
TEST_F(FlagsTest, ReportsBadFilesWithEverythingElse) {
  const std::string tokens = folder_.Write("tokens", "shop read short\n");
  const std::string mistakes =
      Mistakes({"--rank=many", "--tls_cert_file=/no/such/cert", "--tls_key_file=/no/such/key",
                "--token_file=" + tokens, "--port_file=/no/such/port"});
  for (const std::string& expected :
       {std::string("--rank: cannot be"),
        std::string("--tls_cert_file, --tls_key_file, --tls_client_ca_file: open /no/such/cert: No "
                    "such file"),
        std::string("; open /no/such/key: No such file"),
        "--token_file: " + tokens + ":1: the token must have",
        std::string("--port_file: /no/such does not exist"), std::string("--data_dir: must")}) {
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

TEST_F(FlagsTest, BackupsLieOutsideOfTheDataFolder) {
  const std::string data = folder_ / "data";
  for (const std::string& backups : {data, data + "/", data + "/tmp", data + "/../data/backups"}) {
    EXPECT_THAT(Mistakes({data_dir_, "--backup_dir=" + backups}),
                HasSubstr("--backup_dir: must not lie in --data_dir"))
        << backups;
  }
  for (const std::string& backups :
       {folder_ / "backups", data + "-backups", data + "/../backups"}) {
    EXPECT_TRUE(ParseCommandLine({data_dir_, "--backup_dir=" + backups}, {}).ok()) << backups;
  }
}

TEST_F(FlagsTest, HelpAndVersionNeedNothingElse) {
  EXPECT_THAT(ParseCommandLine({"--version"}, {})->text, ::testing::StartsWith("factord "));
  EXPECT_EQ(ParseCommandLine({"--help=markdown"}, {})->text, HelpMarkdown());
  const std::string help = ParseCommandLine({"--help"}, {})->text;
  EXPECT_EQ(ParseCommandLine({"-h"}, {})->text, help);
  for (const char* flag :
       {"--data_dir\n", "--listen=127.0.0.1:7070\n", "--rank\n", "--drain_timeout=30s\n",
        "--durability=sync\n", "--max_message_bytes=16MiB\n"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

TEST_F(FlagsTest, HelpHasEveryFlagOnce) {
  const std::string help = HelpText();
  int flags = 0;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (!absl::StrContains(flag->Filename(), "server/flags.cc")) continue;
    ++flags;
    const std::string line = absl::StrCat("  --", name, flag->DefaultValue().empty() ? "\n" : "=");
    const size_t first = help.find(line);
    EXPECT_NE(first, std::string::npos) << name;
    EXPECT_EQ(help.find(line, first + 1), std::string::npos) << name;
  }
  EXPECT_GT(flags, 40);
}

TEST_F(FlagsTest, TheReferenceIsUpToDate) {
  std::ifstream file(FACTORD_SOURCE_DIR "/docs/configuration.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), HelpMarkdown()) << "run: factord --help=markdown > docs/configuration.md";
}

TEST_F(FlagsTest, WhatOthersCanReachIsSecuredUnlessToldOtherwise) {
  constexpr char kPlaintext[] = "or --allow_plaintext", kAnonymous[] = "or --allow_anonymous";
  TestCa ca("CA");
  const TestCertificate certificate = ca.Issue("server", {});
  const std::vector<std::string> tls = {
      "--tls_cert_file=" + folder_.Write("cert", certificate.certificate),
      "--tls_key_file=" + folder_.Write("key", certificate.key)};
  const std::string client_ca = "--tls_client_ca_file=" + folder_.Write("ca", ca.pem());
  const std::string tokens =
      "--token_file=" + folder_.Write("tokens", "shop read 0123456789abcdef\n");
  // Flags keep their values from call to call.
  const auto parse = [this](const char* address, std::vector<std::string> arguments,
                            const Environment& environment = {}) {
    absl::FlagSaver saver;
    arguments.insert(arguments.begin(), {data_dir_, "--listen", address});
    return ParseCommandLine(arguments, environment).status();
  };
  const auto with_tls = [&tls](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), tls.begin(), tls.end());
    return arguments;
  };
  for (const char* address :
       {"0.0.0.0:7070", "[::]:7070", "10.0.0.1:7070", "example.com:7070", "127.example.com:7070"}) {
    EXPECT_THAT(std::string(parse(address, {}).message()),
                AllOf(HasSubstr(kPlaintext), HasSubstr(kAnonymous)));
    EXPECT_THAT(std::string(parse(address, {tokens}).message()),
                AllOf(HasSubstr(kPlaintext), Not(HasSubstr(kAnonymous))));
    // Symptom: with TLS alone, anybody could make backups.
    EXPECT_THAT(std::string(parse(address, tls).message()),
                AllOf(HasSubstr(kAnonymous), Not(HasSubstr(kPlaintext))));
    EXPECT_THAT(std::string(parse(address, tls, {{"FACTORD_TOKEN_FILE", ""}}).message()),
                HasSubstr(kAnonymous));
    EXPECT_THAT(std::string(parse(address, {"--allow_plaintext"}).message()),
                HasSubstr(kAnonymous));
    for (const auto& good : {with_tls({tokens}),
                             with_tls({client_ca}),
                             with_tls({"--allow_anonymous"}),
                             {"--allow_plaintext", tokens},
                             {"--allow_plaintext", "--allow_anonymous"}}) {
      EXPECT_TRUE(parse(address, good).ok()) << parse(address, good);
    }
  }
  for (const char* address : {"localhost:0", "127.0.0.2:1", "[::1]:7070"}) {
    EXPECT_TRUE(parse(address, {}).ok()) << parse(address, {});
  }
}

TEST_F(FlagsTest, TheMetricsPortDoesNotSpeakIpv6) {
  EXPECT_THAT(Mistakes({data_dir_, "--metrics_listen=[::1]:7071"}),
              HasSubstr("--metrics_listen: must be an IPv4 address or a name that has one, is "
                        "\"[::1]:7071\": this port does not speak IPv6"));
  for (const char* good : {"127.0.0.1:7071", "localhost:7071", "0.0.0.0:7071"}) {
    EXPECT_TRUE(ParseCommandLine({data_dir_, "--metrics_listen", good}, {}).ok());
  }
}

TEST_F(FlagsTest, CertificateAndKeyBelongTogether) {
  EXPECT_THAT(Mistakes({data_dir_, "--tls_cert_file=c"}), HasSubstr("give both or none"));
  EXPECT_THAT(Mistakes({data_dir_, "--tls_cert_file=", "--tls_client_ca_file=ca"}),
              HasSubstr("--tls_client_ca_file: needs"));
}

using FlagSourcesTest = FlagsTest;

TEST_F(FlagSourcesTest, TheCommandLineWinsOverTheEnvironmentAndThatOverTheFile) {
  const std::string file =
      folder_.Write("flagfile",
                    "# a comment\n\n--listen=127.0.0.1:1\n  health_listen = 127.0.0.1:1 \n"
                    "metrics_listen=127.0.0.1:1\nallow_plaintext\n");
  EXPECT_EQ(ParseCommandLine({data_dir_, "--flagfile", file}, {})->server.health_listen,
            "127.0.0.1:1");
  const auto line = ParseCommandLine({data_dir_, "--listen=127.0.0.1:3"},
                                     {{"FACTORD_FLAGFILE", file},
                                      {"FACTORD_LISTEN", "127.0.0.1:2"},
                                      {"FACTORD_HEALTH_LISTEN", "127.0.0.1:2"}});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->server.listen, "127.0.0.1:3");
  EXPECT_EQ(line->server.health_listen, "127.0.0.1:2");
  EXPECT_EQ(line->server.metrics_listen, "127.0.0.1:1");
}

TEST_F(FlagSourcesTest, MistakesNameWhereTheyAre) {
  const std::string file = folder_.Write("flagfile", "rank=many\nnonsense=1\nflagfile=x\nseed\n");
  const auto line =
      ParseCommandLine({data_dir_, "--flagfile=" + file, "--rank=8"},
                       {{"FACTORD_SEED", "none"}, {"FACTORD_SNAPSHOT_LOG_BYTES", "12 apples"}});
  const std::string mistakes(line.status().message());
  for (const std::string& expected :
       {"--rank (" + file + ":1): cannot be \"many\"", "--nonsense (" + file + ":2): unknown flag",
        "--flagfile (" + file + ":3): a flag file cannot name another",
        "--seed (" + file + ":4): needs a value", std::string("FACTORD_SEED: cannot be \"none\""),
        std::string(
            "FACTORD_SNAPSHOT_LOG_BYTES: cannot be \"12 apples\"; must be a number of bytes")}) {
    EXPECT_THAT(mistakes, HasSubstr(expected));
  }
}

TEST_F(FlagSourcesTest, AFlagFileThatCannotBeReadIsAMistake) {
  EXPECT_THAT(Mistakes({data_dir_, "--flagfile=/no/such/file"}),
              HasSubstr("--flagfile: open /no/such/file: No such file"));
  // Symptom: all of its flags were taken for their defaults, without a word.
  EXPECT_THAT(
      std::string(ParseCommandLine({data_dir_}, {{"FACTORD_FLAGFILE", "/"}}).status().message()),
      HasSubstr("FACTORD_FLAGFILE: read /: Is a directory"));
}

TEST_F(FlagSourcesTest, VariablesWithoutAMeaningAreNoted) {
  const auto line = ParseCommandLine({data_dir_}, {{"FACTORD_SERVICE_HOST", "10.0.0.1"},
                                                   {"FACTORD_Rank", "8"},
                                                   {"FACTORD_TOKEN", "a client's"},
                                                   {"PATH", "/bin"}});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_THAT(line->unknown_variables,
              ::testing::ElementsAre("FACTORD_Rank", "FACTORD_SERVICE_HOST"));
  // Where there is a mistake there is no log to note them in, and one may be the cause.
  EXPECT_THAT(
      std::string(ParseCommandLine({"--rank=x"}, {{"FACTORD_DATADIR", "/d"}}).status().message()),
      HasSubstr("FACTORD_DATADIR in the environment is no flag"));
}

TEST(ByteSizeTest, ReadsAndWritesUnits) {
  const auto parse = [](const char* text) {
    ByteSize size{-1};
    std::string error;
    return AbslParseFlag(text, &size, &error) ? size.bytes : -1;
  };
  EXPECT_EQ(parse("0"), 0);
  EXPECT_EQ(parse("1000"), 1000);
  EXPECT_EQ(parse("3 KiB"), 3072);
  EXPECT_EQ(parse("256MiB"), 256 << 20);
  EXPECT_EQ(parse("2TiB"), int64_t{2} << 40);
  for (const char* bad : {"", "MiB", "-1", "1.5GiB", "1MB", "9000000TiB"}) {
    EXPECT_EQ(parse(bad), -1) << bad;
  }
  EXPECT_EQ(AbslUnparseFlag(ByteSize{0}), "0");
  EXPECT_EQ(AbslUnparseFlag(ByteSize{1500}), "1500");
  EXPECT_EQ(AbslUnparseFlag(ByteSize{256 << 20}), "256MiB");
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

TEST(ModelOverridesTest, EventTypesAndReplayCome) {
  ModelOverrides overrides;
  overrides.replay = 3;
  overrides.event_types = {{"click"}};
  EXPECT_EQ(overrides.ForNewFolder().replay, 3);
  EXPECT_EQ(overrides.ForNewFolder().event_types, *overrides.event_types);
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
