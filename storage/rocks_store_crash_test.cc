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

#include "base/temp_folder.h"
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
    if (last == 0) continue;  // the first append is under way
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
    Send(reports, Report::kSnapshot, 0);
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

// When to kill: once the child has reported so many snapshots, and then so much later. A slow
// machine is thus given the time it needs to get anywhere.
struct Moment {
  int snapshots = 0;
  std::chrono::microseconds delay{0};
};

// A child process and what it reports.
class Child {
 public:
  Child(const std::string& mode, const std::string& path, uint32_t seed) {
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    reports_ = fds[0];
    // The pipe holds every report, so that the child never waits for its parent.
    fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
    const std::string seed_text = std::to_string(seed);
    const std::string fd_text = std::to_string(fds[1]);
    // exec, because RocksDB's threads do not survive a fork.
    pid_ = fork();
    if (pid_ == 0) {
      close(fds[0]);
      execl("/proc/self/exe", "child", "--child", mode.c_str(), path.c_str(), seed_text.c_str(),
            fd_text.c_str(), nullptr);
      _exit(4);
    }
    close(fds[1]);
  }
  ~Child() { close(reports_); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // False: it ended before.
  bool WaitForSnapshots(int snapshots) {
    while (snapshots > 0) {
      Report report;
      if (!Next(&report)) return false;
      if (report.kind == Report::kSnapshot) --snapshots;
    }
    return true;
  }

  // What it had been told until it died.
  Promises Kill() {
    kill(pid_, SIGKILL);
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    // Anything else is an error of the child's own.
    EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself, status " << status;
    Report report;
    while (Next(&report)) {
    }
    return promises_;
  }

 private:
  bool Next(Report* report) {
    if (read(reports_, report, sizeof(*report)) != sizeof(*report)) return false;
    (report->kind == Report::kSnapshot ? promises_.snapshot : promises_.acknowledged) =
        report->sequence;
    return true;
  }

  int reports_ = -1;
  pid_t pid_ = -1;
  Promises promises_;
};

Promises KillChildAt(const std::string& mode, const std::string& path, uint32_t seed,
                     const Moment& moment) {
  Child child(mode, path, seed);
  child.WaitForSnapshots(moment.snapshots);
  std::this_thread::sleep_for(moment.delay);
  return child.Kill();
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
  const TempFolder folder(mode == "sync" ? TempFolder::Place::kDisk : TempFolder::Place::kMemory);
  const std::string path = folder / "data";
  ASSERT_OK(Store::Create(path, TestConfig()));
  Store::Options read_only = TestOptions(path);
  read_only.read_only = true;
  int with_snapshot = 0;
  Promises kept;
  for (int i = 0; i < kills; ++i) {
    SCOPED_TRACE(absl::StrCat("kill ", i));
    // Every other round hits the opening, or what comes soon after.
    Moment moment;
    moment.snapshots = i % 2 == 0 ? 0 : 1 + static_cast<int>(random() % 3);
    moment.delay = std::chrono::microseconds(random() % 40'000);
    const Promises new_promises = KillChildAt(mode, path, random(), moment);
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
  EXPECT_GE(with_snapshot, kills / 2);
}

TEST(RocksStoreCrashTest, KilledWhileWritingSynced) { KillAndCheck("sync", 20); }

TEST(RocksStoreCrashTest, KilledWhileWritingAsync) { KillAndCheck("async", 20); }

TEST(RocksStoreCrashTest, KilledWhileCreating) {
  const uint32_t seed = Seed();
  std::cout << "seed " << seed << std::endl;
  std::mt19937 random(seed);
  // How long a creation takes here; kills are spread over that, and a little beyond.
  const TempFolder whole(TempFolder::Place::kMemory);
  const auto start = std::chrono::steady_clock::now();
  Child creator("create", whole / "data", 0);
  EXPECT_TRUE(creator.WaitForSnapshots(1));
  const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  creator.Kill();
  int cut_off = 0;
  for (int i = 0; i < 20; ++i) {
    const TempFolder folder(TempFolder::Place::kMemory);
    const std::string path = folder / "data";
    // Twice: a completion may be cut off as well.
    for (int attempt = 0; attempt < 2 && !Store::Exists(path); ++attempt) {
      KillChildAt("create", path, 0, {0, duration * (random() % 120) / 100});
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
