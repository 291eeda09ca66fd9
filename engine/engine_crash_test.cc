// SIGKILL of a process that ingests, takes snapshots and, in a test of its own, makes further
// passes, at random instants: nothing acknowledged is lost, nothing is doubled, and the state is
// that of the log.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <iostream>
#include <thread>

#include "base/temp_folder.h"
#include "engine/engine.h"
#include "engine/test_util.h"
#include "engine/verify.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

constexpr int64_t kStream = 10'000'000;  // more than any child gets through
constexpr char kChildFlag[] = "--child";

// The i-th event of the stream, from 1: the same in every process.
OwnedRating StreamEvent(int64_t i) {
  OwnedRating rating = RandomRatings(static_cast<uint32_t>(i), 1, 200, 300)[0];
  rating.producer = "stream";
  rating.number = i;
  return rating;
}

EngineOptions CrashOptions(const std::string& dir, LogRetention retention, Durability durability) {
  EngineOptions options = TestOptions(dir);
  options.log_retention = retention;
  options.durability = durability;
  options.snapshot_log_bytes = 20000;
  return options;
}

// How many events of the stream the engine has.
int64_t StreamLength(Engine& engine) {
  std::promise<int64_t> length;
  engine.LastProducerNumber("stream",
                            [&](const auto& number) { length.set_value(number.value_or(-1)); });
  return length.get_future().get();
}

// What a child does besides.
enum class Passes { kNone, kMany };

// The child: feeds the stream from where the model stands, and writes each acknowledged number to
// `fd`.
[[noreturn]] void RunChild(const EngineOptions& options, Passes passes, int fd) {
  auto engine = Engine::Open(options);
  if (!engine.ok()) _exit(3);
  const int64_t first = StreamLength(**engine) + 1;
  int64_t next = first;
  while (next <= kStream) {
    // Those before may have come to their end.
    if (passes == Passes::kMany) (*engine)->StartPasses(100).IgnoreError();
    const int64_t last = next + 20;
    std::vector<OwnedRating> batch;
    for (int64_t i = next; i < last; ++i) batch.push_back(StreamEvent(i));
    const RecordResult result = Record(**engine, batch, true);
    if (!result.status.ok() || result.last_sequence < last - 1) _exit(4);
    if (passes == Passes::kNone && result.last_sequence > last - 1) _exit(7);
    // One for certain: those of their own accord may come too late.
    if (passes == Passes::kMany && next == first) (*engine)->CreateSnapshot().IgnoreError();
    const int64_t acknowledged = last - 1;
    if (write(fd, &acknowledged, sizeof(acknowledged)) < 0) _exit(5);
    next = last;
  }
  _exit(0);
}

// Runs a child and kills it after about `microseconds`; returns the last acknowledged number, or
// `before`.
int64_t RunAndKill(const EngineOptions& options, Passes passes, int64_t microseconds,
                   int64_t before) {
  int fds[2];
  EXPECT_EQ(pipe(fds), 0);
  fcntl(fds[0], F_SETFD, FD_CLOEXEC);
  // Not a mere fork: RocksDB's threads would not be there in the child.
  const std::string fd = std::to_string(fds[1]);
  const bool keeps_all = options.log_retention == LogRetention::kAll;
  const bool sync = options.durability == Durability::kSync;
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "child", kChildFlag, options.data_dir.c_str(), keeps_all ? "1" : "0",
          sync ? "1" : "0", passes == Passes::kMany ? "1" : "0", fd.c_str(), nullptr);
    _exit(6);
  }
  close(fds[1]);
  // The first acknowledgement, and then a random while: what matters is that the instant is
  // arbitrary.
  int64_t acknowledged = before, value;
  if (read(fds[0], &value, sizeof(value)) == sizeof(value)) acknowledged = value;
  usleep(static_cast<useconds_t>(microseconds));
  kill(child, SIGKILL);
  while (read(fds[0], &value, sizeof(value)) == sizeof(value)) acknowledged = value;
  close(fds[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
  return acknowledged;
}

std::mt19937 RandomBySeed() {
  const char* const text = std::getenv("FACTORD_SEED");
  const uint32_t seed = text != nullptr ? std::strtoul(text, nullptr, 10) : std::random_device()();
  std::cout << "FACTORD_SEED=" << seed << std::endl;
  return std::mt19937(seed);
}

class EngineCrashTest : public ::testing::TestWithParam<Durability> {};

TEST_P(EngineCrashTest, NothingIsLostOrDoubled) {
  std::mt19937 random = RandomBySeed();
  TempFolder dir;
  const EngineOptions all = CrashOptions(dir / "all", LogRetention::kAll, GetParam());
  const EngineOptions trimmed = CrashOptions(dir / "trimmed", LogRetention::kSnapshot, GetParam());
  int64_t acknowledged_all = 0, acknowledged_trimmed = 0;
  for (int kill = 0; kill < 12; ++kill) {
    acknowledged_all = RunAndKill(all, Passes::kNone, random() % 30000, acknowledged_all);
    acknowledged_trimmed =
        RunAndKill(trimmed, Passes::kNone, random() % 30000, acknowledged_trimmed);
    // The offline check needs nothing of a server.
    const auto verified = VerifyFolder(dir / "all");
    ASSERT_TRUE(verified.ok()) << verified.status();
    ASSERT_GE(verified->events, acknowledged_all);
  }
  auto one = OpenOrDie(all), two = OpenOrDie(trimmed);
  ASSERT_NE(one, nullptr);
  ASSERT_NE(two, nullptr);
  EXPECT_GE(one->Info().sequence, acknowledged_all);
  EXPECT_GE(two->Info().sequence, acknowledged_trimmed);
  // The stream's numbers are the sequences: so nothing is missing, doubled or out of order.
  const int64_t end = std::max(one->Info().sequence, two->Info().sequence) + 100;
  for (Engine* engine : {one.get(), two.get()}) {
    for (int64_t i = engine->Info().sequence + 1; i <= end; ++i) {
      ASSERT_EQ(Record(*engine, {StreamEvent(i)}, true).last_sequence, i);
    }
  }
  TempFolder fresh;
  auto reference = OpenOrDie(TestOptions(fresh / "data"));
  std::vector<OwnedRating> stream;
  for (int64_t i = 1; i <= end; ++i) stream.push_back(StreamEvent(i));
  ASSERT_TRUE(Record(*reference, stream, true).status.ok());
  EXPECT_EQ(HashOf(*one), HashOf(*reference));
  EXPECT_EQ(HashOf(*two), HashOf(*reference));
}

// Revisits are events of the log, between those of the stream.
TEST_P(EngineCrashTest, PassesAreAsMuchOfTheLogAsEvents) {
  std::mt19937 random = RandomBySeed();
  TempFolder dir;
  const EngineOptions options = CrashOptions(dir / "data", LogRetention::kAll, GetParam());
  int64_t acknowledged = 0;
  for (int kill = 0; kill < 12; ++kill) {
    acknowledged = RunAndKill(options, Passes::kMany, random() % 60000, acknowledged);
  }
  const auto verified = VerifyFolder(dir / "data");
  ASSERT_TRUE(verified.ok()) << verified.status();
  const auto engine = OpenOrDie(options);
  ASSERT_NE(engine, nullptr);
  EXPECT_EQ(engine->Info().sequence, verified->events);
  EXPECT_EQ(HashOf(*engine), verified->hash.ToHex());
  EXPECT_GE(StreamLength(*engine), acknowledged);
  EXPECT_GT(engine->Info().sequence, StreamLength(*engine)) << "no revisit";
  EXPECT_GT(engine->Info().snapshot_sequence, 0) << "only replays";
}

INSTANTIATE_TEST_SUITE_P(Durability, EngineCrashTest,
                         ::testing::Values(Durability::kSync, Durability::kAsync),
                         [](const auto& info) {
                           return info.param == Durability::kSync ? "Sync" : "Async";
                         });

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  using factord::Durability, factord::LogRetention, factord::Passes;
  if (argc == 7 && std::string(argv[1]) == factord::kChildFlag) {
    factord::RunChild(factord::CrashOptions(
                          argv[2], argv[3][0] == '1' ? LogRetention::kAll : LogRetention::kSnapshot,
                          argv[4][0] == '1' ? Durability::kSync : Durability::kAsync),
                      argv[5][0] == '1' ? Passes::kMany : Passes::kNone, std::atoi(argv[6]));
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
