// The store under SIGKILL: a child process creates, appends, takes snapshots and trims, and is
// killed at random moments; what it left must be whole. FACTORD_TEST_SEED chooses other moments.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <thread>

#include "storage/store_test_util.h"

namespace factord {
namespace {

namespace fs = std::filesystem;

// What the child tells its parent, once it is so.
struct Report {
  enum Kind : int64_t { kAcknowledged, kSnapshot };
  int64_t kind;
  int64_t sequence;
};

void Send(int fd, Report::Kind kind, int64_t sequence) {
  const Report report{kind, sequence};
  // Less than PIPE_BUF: whole or not at all.
  if (write(fd, &report, sizeof(report)) != sizeof(report)) _exit(3);
}

[[noreturn]] void FailChild(const absl::Status& status) {
  std::cerr << "child: " << status << std::endl;
  _exit(2);
}

void AppendForever(Store* store, int reports, uint32_t seed) {
  std::mt19937 random(seed);
  while (true) {
    const absl::Status status = AppendTestEvents(store, 1 + random() % 20);
    if (!status.ok()) FailChild(status);
    Send(reports, Report::kAcknowledged, store->log()->range().last);
  }
}

void TakeSnapshotsForever(Store* store, int reports, uint32_t seed) {
  std::mt19937 random(seed);
  while (true) {
    const int64_t last = store->log()->range().last;
    absl::Status status = TakeTestSnapshot(store, last);
    if (!status.ok()) FailChild(status);
    Send(reports, Report::kSnapshot, last);
    if (random() % 2 == 0) status = store->log()->TrimThrough(last);
    if (!status.ok()) FailChild(status);
  }
}

// The child: argv is PROGRAM --child create|sync|async PATH SEED REPORT_FD.
int RunChild(char** argv) {
  const std::string mode = argv[2];
  const std::string path = argv[3];
  const uint32_t seed = static_cast<uint32_t>(std::stoul(argv[4]));
  const int reports = std::stoi(argv[5]);
  if (mode == "create") {
    const absl::Status status = Store::Create(path, TestConfig());
    if (!status.ok()) FailChild(status);
    pause();
  }
  Store::Options options = TestOptions(path);
  options.durability = mode == "sync" ? Durability::kSync : Durability::kAsync;
  const auto store = Store::Open(options);
  if (!store.ok()) FailChild(store.status());
  std::thread appender(AppendForever, store->get(), reports, seed);
  TakeSnapshotsForever(store->get(), reports, seed + 1);
  return 0;
}

// What the killed child had been told.
struct Promises {
  int64_t acknowledged = 0;
  int64_t snapshot = 0;
};

// Starts a child in `mode` on `path`, kills it `delay` later, and returns what it reported.
Promises KillChildAfter(const std::string& mode, const std::string& path, uint32_t seed,
                        std::chrono::microseconds delay) {
  int pipe_fds[2];
  EXPECT_EQ(pipe(pipe_fds), 0);
  // The pipe holds every report, so that the child never waits for its parent.
  fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
  const std::string seed_text = std::to_string(seed);
  const std::string fd_text = std::to_string(pipe_fds[1]);
  // exec, because RocksDB's threads do not survive a fork.
  const pid_t child = fork();
  if (child == 0) {
    close(pipe_fds[0]);
    execl("/proc/self/exe", "child", "--child", mode.c_str(), path.c_str(), seed_text.c_str(),
          fd_text.c_str(), nullptr);
    _exit(4);
  }
  close(pipe_fds[1]);
  std::this_thread::sleep_for(delay);
  kill(child, SIGKILL);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  // Anything else is an error of the child's own.
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself, status " << status;
  Promises promises;
  Report report;
  while (read(pipe_fds[0], &report, sizeof(report)) == sizeof(report)) {
    (report.kind == Report::kSnapshot ? promises.snapshot : promises.acknowledged) =
        report.sequence;
  }
  close(pipe_fds[0]);
  return promises;
}

uint32_t Seed() {
  const char* const seed = std::getenv("FACTORD_TEST_SEED");
  return seed == nullptr ? 1 : static_cast<uint32_t>(std::strtoul(seed, nullptr, 10));
}

// Everything promised is there, and what is there is whole.
void CheckFolder(const Store::Options& options, const Promises& promises, Promises* found) {
  const auto store = Store::Open(options);
  ASSERT_OK(store.status());
  const LogRange range = (*store)->log()->range();
  EXPECT_GE(range.last, promises.acknowledged);
  EXPECT_GE((*store)->snapshot().sequence, promises.snapshot);
  EXPECT_OK(CheckLog(store->get(), range.first));
  EXPECT_OK(CheckSnapshot(store->get()));
  found->acknowledged = range.last;
  found->snapshot = (*store)->snapshot().sequence;
}

void KillAndCheck(const std::string& mode, int kills) {
  const uint32_t seed = Seed();
  std::cout << "seed " << seed << std::endl;
  std::mt19937 random(seed);
  const TempFolder folder;
  const std::string path = folder / "data";
  ASSERT_OK(Store::Create(path, TestConfig()));
  Store::Options read_only = TestOptions(path);
  read_only.read_only = true;
  int with_snapshot = 0;
  Promises kept;
  for (int i = 0; i < kills; ++i) {
    SCOPED_TRACE(absl::StrCat("kill ", i));
    const std::chrono::microseconds delay(random() % 120'000);
    const Promises new_promises = KillChildAfter(mode, path, random(), delay);
    // What was there once stays, too: a round in which the child did not get far promises nothing
    // new.
    kept.acknowledged = std::max(kept.acknowledged, new_promises.acknowledged);
    kept.snapshot = std::max(kept.snapshot, new_promises.snapshot);
    if (new_promises.snapshot > 0) ++with_snapshot;
    // An offline tool sees it first, with the events still in the WAL, and changes nothing.
    Promises seen;
    const std::string before = Listing(path);
    CheckFolder(read_only, kept, &seen);
    EXPECT_EQ(Listing(path), before);
    CheckFolder(TestOptions(path), kept, &kept);
    if (::testing::Test::HasFailure()) return;
    EXPECT_EQ(seen.acknowledged, kept.acknowledged);
    EXPECT_EQ(seen.snapshot, kept.snapshot);
    EXPECT_TRUE(fs::is_empty(path + "/tmp"));
  }
  std::cout << kept.acknowledged << " events, snapshots in " << with_snapshot << " of " << kills
            << " rounds" << std::endl;
  EXPECT_GT(with_snapshot, kills / 4);
}

TEST(RocksStoreCrashTest, KilledWhileWritingSynced) { KillAndCheck("sync", 20); }

TEST(RocksStoreCrashTest, KilledWhileWritingAsync) { KillAndCheck("async", 20); }

TEST(RocksStoreCrashTest, KilledWhileCreating) {
  const uint32_t seed = Seed();
  std::cout << "seed " << seed << std::endl;
  std::mt19937 random(seed);
  int cut_off = 0;
  for (int i = 0; i < 20; ++i) {
    const TempFolder folder;
    const std::string path = folder / "data";
    // Twice: a completion may be cut off as well.
    for (int attempt = 0; attempt < 2 && !Store::Exists(path); ++attempt) {
      KillChildAfter("create", path, 0, std::chrono::microseconds(random() % 40'000));
    }
    if (!Store::Exists(path)) {
      ++cut_off;
      EXPECT_OK(Store::Create(path, TestConfig()));
    }
    const auto store = Store::Open(TestOptions(path));
    ASSERT_OK(store.status());
    EXPECT_EQ((*store)->config(), TestConfig());
    EXPECT_OK(AppendTestEvents(store->get(), 1));
  }
  std::cout << cut_off << " of 20 creations were cut off" << std::endl;
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) {
  if (argc == 6 && std::string(argv[1]) == "--child") return factord::RunChild(argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
