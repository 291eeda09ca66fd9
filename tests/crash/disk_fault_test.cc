// A server on a disk that fails, operation by operation, or that loses what was not synced.
//
// --every=N: every Nth operation of each kind is tried (default 100), at least one. For all of
// them:
//   build/release/tests/crash/disk_fault_test --every=1
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/temp_folder.h"
#include "base/test_every.h"
#include "base/test_socket.h"
#include "server/test_channel.h"
#include "tests/crash/faulty_disk.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

int every = 100;

// What the server is asked to do: some requests, a snapshot, and so on. Every other request is a
// batch in a stream, always of the same producer.
constexpr int kRequests = 12, kEventsARequest = 5, kRequestsBeforeASnapshot = 4;
constexpr char kProducer[] = "p";

bool IsBatch(int request) { return request % 2 == 1; }

template <typename Request>
void AddEvents(int number, Request* request) {
  for (int i = 0; i < kEventsARequest; ++i) {
    v1::Rating* const event = request->add_events();
    const int n = number * kEventsARequest + i;
    SetRating(absl::StrCat("u", n % 7), absl::StrCat("i", n % 11), static_cast<float>(1 + n % 5),
              event);
    if (!IsBatch(number)) event->set_event_id(absl::StrCat("e", n));
  }
}

// In a stream of its own. *last_number: what the server has of the producer, before.
grpc::Status SendBatch(const ServerProcess& server, int number, int64_t* last_number) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
  v1::StreamRatingsRequest message;
  v1::StreamRatingsResponse response;
  message.mutable_start()->set_producer_id(kProducer);
  stream->Write(message);
  if (!stream->Read(&response)) return stream->Finish();
  *last_number = response.started().last_number();
  message.mutable_batch()->set_first_number(number / 2 * kEventsARequest + 1);
  AddEvents(number, message.mutable_batch());
  stream->Write(message);
  stream->WritesDone();
  int64_t acknowledged = 0;
  while (stream->Read(&response)) acknowledged = response.ack().last_number();
  const grpc::Status status = stream->Finish();
  const bool is_acknowledged = acknowledged >= (number / 2 + 1) * kEventsARequest;
  EXPECT_TRUE(is_acknowledged || !status.ok());
  return is_acknowledged ? grpc::Status::OK : status;  // the server may have ended in between
}

grpc::Status Send(const ServerProcess& server, int number, int64_t* last_number) {
  if (IsBatch(number)) return SendBatch(server, number, last_number);
  v1::RecordRatingsRequest request;
  AddEvents(number, &request);
  v1::RecordRatingsResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  return v1::RatingService::NewStub(server.channel())->RecordRatings(&context, request, &response);
}

std::vector<std::string> Flags(const std::string& data, bool is_sync, bool keeps_log) {
  return {"--data_dir=" + data,
          is_sync ? "--durability=sync" : "--durability=async",
          keeps_log ? "--log_retention=all" : "--log_retention=snapshot",
          "--snapshot_interval=0s",
          "--snapshot_log_bytes=0",
          "--rank=8",
          "--metrics_listen=127.0.0.1:0"};
}

bool ServesReads(const ServerProcess& server) {
  v1::RecommendItemsRequest request;
  request.set_user_id("u1");
  v1::RecommendItemsResponse response;
  grpc::ClientContext context;
  return v1::RecommendationService::NewStub(server.channel())
      ->RecommendItems(&context, request, &response)
      .ok();
}

bool MetricsSay(const ServerProcess& server, const std::string& line) {
  return absl::StrContains(HttpGet(server.metrics_port(), "/metrics"),
                           absl::StrCat("\n", line, "\n"));
}

// Until its health says that it takes no more writes.
bool StopsServingWrites(const ServerProcess& server) {
  using grpc::health::v1::HealthCheckResponse;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("factord.v1.RatingService");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto watch = grpc::health::v1::Health::NewStub(server.channel())->Watch(&context, request);
  HealthCheckResponse response;
  while (watch->Read(&response)) {
    if (response.status() == HealthCheckResponse::NOT_SERVING) return true;
  }
  return false;
}

// Of a script.
struct Outcome {
  bool started = false;
  int acknowledged = 0;  // requests, which are the first ones
};

// Runs it, to its end or, unless it `must_live`, to that of the server.
Outcome RunScript(ServerProcess& server, bool must_live) {
  Outcome outcome;
  outcome.started = server.listening() && server.WaitForOutput("serving");
  if (!outcome.started) return outcome;
  WaitForConnection(*server.channel(), kPatience);
  for (int i = 0; i < kRequests; ++i) {
    int64_t last_number = 0;
    const grpc::Status status = Send(server, i, &last_number);
    if (status.ok()) {
      EXPECT_EQ(outcome.acknowledged, i) << "a request was taken after one that failed";
      ++outcome.acknowledged;
    } else if (!must_live) {
      return outcome;
    } else {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
      EXPECT_TRUE(ServesReads(server));
      if (outcome.acknowledged == i) {
        EXPECT_TRUE(StopsServingWrites(server));
        EXPECT_TRUE(MetricsSay(server, "factord_serving{operation=\"writes\"} 0"));
        EXPECT_TRUE(MetricsSay(server, "factord_serving{operation=\"reads\"} 1"));
      }
    }
    if (i % kRequestsBeforeASnapshot == kRequestsBeforeASnapshot - 1) {
      grpc::ClientContext context;
      v1::CreateSnapshotResponse response;  // whether it succeeds is its own affair
      (void)v1::AdminService::NewStub(server.channel())->CreateSnapshot(&context, {}, &response);
    }
  }
  return outcome;
}

// A server on a disk without fault has what was promised, takes everything that was sent once more,
// and ends in the state that it would have had without the failure. How many events were there;
// none if the test has failed.
int64_t CheckAfterwards(const std::vector<std::string>& flags, int promised,
                        const std::string& hash) {
  ServerProcess server(flags);
  server.WaitUntilServing();
  if (::testing::Test::HasFailure()) return 0;
  const int64_t there = GetModel(server).sequence();
  EXPECT_GE(there, promised * kEventsARequest);
  EXPECT_LE(there, kRequests * kEventsARequest);
  EXPECT_EQ(there % kEventsARequest, 0) << "half a request";
  for (int i = 0; i < kRequests; ++i) {
    const int64_t requests_there = std::max<int64_t>(there / kEventsARequest, i);
    const int64_t batches_there = requests_there / 2;
    int64_t last_number = batches_there * kEventsARequest;
    const grpc::Status status = Send(server, i, &last_number);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(last_number, batches_there * kEventsARequest) << i;
    // What was there already is not applied again.
    EXPECT_EQ(GetModel(server).sequence(),
              std::max<int64_t>(requests_there, i + 1) * kEventsARequest)
        << i;
  }
  EXPECT_EQ(ComputeHash(server).hash(), hash);
  EXPECT_EQ(server.Stop(), kExitOk);
  return there;
}

// Without a failure: the state at the end, and what was done to the disk.
struct Reference {
  std::string hash;
  std::array<int, kDiskOperationCount> operations{};
};

Reference RunWithoutFault(bool is_sync, bool keeps_log) {
  Reference reference;
  const TempFolder folder(TempFolder::Place::kMemory);
  FaultyDisk disk(folder / "data");
  std::vector<std::string> environment;
  disk.Prepare(&environment);
  ServerProcess server(Flags(folder / "data", is_sync, keeps_log), environment);
  EXPECT_EQ(RunScript(server, /*must_live=*/true).acknowledged, kRequests);
  reference.hash = ComputeHash(server).hash();
  EXPECT_EQ(server.Stop(), kExitOk);
  for (int i = 0; i < kDiskOperationCount; ++i) {
    reference.operations[static_cast<size_t>(i)] = disk.passed(static_cast<DiskOperation>(i));
  }
  return reference;
}

// The first one to be tried of so many, of which each `step`th is.
int First(int count, int step, std::mt19937& random) {
  return 1 + static_cast<int>(random() % static_cast<unsigned>(std::max(1, std::min(step, count))));
}

// A disk where one operation fails, or all of its kind from there on; in every other run the power
// is lost afterwards.
class DiskFaultTest : public ::testing::TestWithParam<DiskOperation> {
 protected:
  void FailOne(int nth, int error, bool stays, bool is_sync, bool keeps_log,
               const std::string& hash) {
    const TempFolder folder(TempFolder::Place::kMemory);
    const std::vector<std::string> flags = Flags(folder / "data", is_sync, keeps_log);
    FaultyDisk disk(folder / "data");
    std::vector<std::string> environment;
    disk.Prepare(&environment);
    disk.Fail(GetParam(), nth, error, stays);
    const bool loses_power = nth % 2 == 0;
    Outcome outcome;
    {
      ServerProcess server(flags, environment);
      outcome = RunScript(server, /*must_live=*/true);
      if (outcome.started) server.Signal(loses_power ? SIGKILL : SIGTERM);
      const Ended ended = server.Wait();
      EXPECT_TRUE(ended.exit_code == (outcome.started && loses_power ? -SIGKILL : kExitOk) ||
                  ended.exit_code == kExitFailed)
          << ended.exit_code << "\n"
          << ended.output;
      if (!outcome.started) {
        EXPECT_NE(ended.exit_code, kExitOk);
        EXPECT_TRUE(absl::StrContains(ended.output, std::strerror(error))) << ended.output;
      }
    }
    failed_ += disk.failed() > 0;
    refused_ += outcome.started && outcome.acknowledged < kRequests;
    if (loses_power) {
      std::mt19937_64 random(static_cast<uint64_t>(nth));
      disk.LosePower(&random);
    }
    CheckAfterwards(flags, loses_power && !is_sync ? 0 : outcome.acknowledged, hash);
  }

  int failed_ = 0, refused_ = 0;
};

TEST_P(DiskFaultTest, NothingIsLostWhicheverFails) {
  if (!FaultyDisk::IsPossible()) GTEST_SKIP() << "nothing can be preloaded";
  const int kind = GetParam();
  std::mt19937 random(static_cast<uint32_t>(kind));
  int runs = 0;
  Reference reference;
  for (int choice = 0; choice < 16; ++choice) {
    const bool stays = choice & 1, is_sync = choice & 4, keeps_log = choice & 8;
    const int error = choice & 2 ? ENOSPC : EIO;
    if (choice % 4 == 0) reference = RunWithoutFault(is_sync, keeps_log);
    const int count = reference.operations[static_cast<size_t>(kind)];
    for (int nth = First(count, every, random); nth <= count; nth += every) {
      SCOPED_TRACE(absl::StrCat(kDiskOperationNames[kind], " ", nth, " of ", count, ": ",
                                std::strerror(error), stays ? ", and later ones" : "",
                                is_sync ? ", sync" : ", async",
                                keeps_log ? ", keeps its log" : ""));
      FailOne(nth, error, stays, is_sync, keeps_log, reference.hash);
      ++runs;
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(failed_, 0);
  // Or what the script looks at when a running server cannot write was never looked at.
  if (kind == kDiskWrite || kind == kDiskSync) {
    EXPECT_GT(refused_, 0);
  }
  std::printf("%s: %d runs, in %d of them something failed, in %d of them requests were refused\n",
              kDiskOperationNames[kind], runs, failed_, refused_);
}

INSTANTIATE_TEST_SUITE_P(Operation, DiskFaultTest,
                         ::testing::Values(kDiskCreate, kDiskWrite, kDiskSync, kDiskRename,
                                           kDiskLink, kDiskUnlink, kDiskAllocate),
                         [](const auto& info) {
                           return std::string(kDiskOperationNames[info.param]);
                         });

// A start from a folder that cannot be read in one place, or from there on, and what then goes on.
// It is no damage: the folder is as it was, and nobody may be sent to a backup for it.
TEST(DiskReadFaultTest, AReadThatFailsHarmsNothing) {
  if (!FaultyDisk::IsPossible()) GTEST_SKIP() << "nothing can be preloaded";
  const TempFolder folder(TempFolder::Place::kMemory);
  const auto flags_for = [](const std::string& data) {
    return Flags(data, /*is_sync=*/true, /*keeps_log=*/true);
  };
  std::string hash;
  {
    ServerProcess server(flags_for(folder / "written"));
    EXPECT_EQ(RunScript(server, /*must_live=*/true).acknowledged, kRequests);
    hash = ComputeHash(server).hash();
    server.Kill();  // so that there is a log to be replayed
  }
  std::mt19937 random(1);
  int runs = 0, refused = 0;
  for (const bool stays : {false, true}) {
    for (int nth = 0, count = 0; nth <= count;
         nth += nth == 0 ? First(count, every, random) : every) {
      SCOPED_TRACE(absl::StrCat("read ", nth, " of ", count, stays ? ", and later ones" : ""));
      std::filesystem::remove_all(folder / "data");
      std::filesystem::copy(folder / "written", folder / "data",
                            std::filesystem::copy_options::recursive);
      FaultyDisk disk(folder / "data");
      std::vector<std::string> environment;
      disk.Prepare(&environment);
      if (nth > 0) disk.Fail(kDiskRead, nth, EIO, stays);  // else they are counted
      {
        ServerProcess server(flags_for(folder / "data"), environment);
        const Outcome outcome = RunScript(server, /*must_live=*/true);
        if (outcome.started) server.Signal(SIGTERM);
        const Ended ended = server.Wait();
        EXPECT_EQ(ended.exit_code, outcome.started ? kExitOk : kExitFailed) << ended.output;
        EXPECT_TRUE(outcome.started || absl::StrContains(ended.output, std::strerror(EIO)))
            << ended.output;
        refused += !outcome.started;
      }
      if (nth == 0) {
        count = disk.passed(kDiskRead);
        ASSERT_GT(count, 0);
      } else {
        EXPECT_GT(disk.failed(), 0);
      }
      CheckAfterwards(flags_for(folder / "data"), kRequests, hash);
      ++runs;
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(refused, 0);
  std::printf("read: %d runs, in %d of them the server did not start\n", runs, refused);
}

// A power loss in place of an operation. What was promised: with --durability=sync all that was
// acknowledged, else that what is there is a prefix.
class PowerLossTest : public ::testing::TestWithParam<bool> {
 protected:
  void LoseAt(DiskOperation kind, int nth, bool keeps_log, const std::string& hash) {
    const bool is_sync = GetParam();
    const TempFolder folder(TempFolder::Place::kMemory);
    const std::vector<std::string> flags = Flags(folder / "data", is_sync, keeps_log);
    FaultyDisk disk(folder / "data");
    std::vector<std::string> environment;
    disk.Prepare(&environment);
    disk.KillAt(kind, nth);
    Outcome outcome;
    {
      ServerProcess server(flags, environment);
      outcome = RunScript(server, /*must_live=*/false);
      if (outcome.acknowledged == kRequests) server.Signal(SIGTERM);
      ASSERT_TRUE(server.EndsWithin(kPatience)) << "the power was not lost";
      const Ended ended = server.Wait();
      EXPECT_EQ(ended.exit_code, disk.failed() > 0 ? -SIGKILL : kExitOk) << ended.output;
    }
    std::mt19937_64 random(static_cast<uint64_t>(nth));
    disk.LosePower(&random);
    // Where it came after a clean end nothing may be missing either.
    const bool keeps_all = is_sync || disk.failed() == 0;
    const int64_t there = CheckAfterwards(flags, keeps_all ? outcome.acknowledged : 0, hash);
    losses_ += disk.failed() > 0;
    took_acknowledged_ += there < outcome.acknowledged * kEventsARequest;
  }

  int losses_ = 0;
  int took_acknowledged_ = 0;  // of them
};

TEST_P(PowerLossTest, TakesNoMoreThanItMay) {
  if (!FaultyDisk::IsPossible()) GTEST_SKIP() << "nothing can be preloaded";
  std::mt19937 random(GetParam());
  for (const bool keeps_log : {false, true}) {
    const Reference reference = RunWithoutFault(GetParam(), keeps_log);
    for (int kind = 0; kind < kDiskChangeCount; ++kind) {
      const int count = reference.operations[static_cast<size_t>(kind)];
      // Only some writes come between what is acknowledged and its sync.
      const int step = kind == kDiskWrite ? (every + 9) / 10 : every;
      for (int nth = First(count, step, random); nth <= count; nth += step) {
        SCOPED_TRACE(absl::StrCat(kDiskOperationNames[kind], " ", nth, " of ", count,
                                  keeps_log ? ", keeps its log" : ""));
        LoseAt(static_cast<DiskOperation>(kind), nth, keeps_log, reference.hash);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GE(losses_, kDiskChangeCount);
  // Or it would be no power loss, and what is asked of --durability=sync nothing.
  if (!GetParam()) {
    EXPECT_GT(took_acknowledged_, 0);
  }
  std::printf("%d power losses, of which %d took what was acknowledged\n", losses_,
              took_acknowledged_);
}

INSTANTIATE_TEST_SUITE_P(Durability, PowerLossTest, ::testing::Values(true, false),
                         [](const auto& info) {
                           return std::string(info.param ? "Sync" : "Async");
                         });

// A server that was killed had not synced what it acknowledged. The next one says that it is there:
// so it is, whatever happens then.
TEST(PowerLossAfterAKillTest, TakesNothingThatTheNextServerHasFound) {
  if (!FaultyDisk::IsPossible()) GTEST_SKIP() << "nothing can be preloaded";
  int took_acknowledged = 0;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    SCOPED_TRACE(seed);
    const bool is_started_again = seed % 2 == 1;
    const TempFolder folder(TempFolder::Place::kMemory);
    FaultyDisk disk(folder / "data");
    std::string hash;
    const auto run = [&](bool is_sync, bool is_first) {
      std::vector<std::string> environment;
      disk.Prepare(&environment, /*all_is_on_disk=*/is_first);
      ServerProcess server(Flags(folder / "data", is_sync, /*keeps_log=*/true), environment);
      server.WaitUntilServing();
      for (int i = 0; i < kRequests; ++i) {
        int64_t last_number = 0;
        EXPECT_TRUE(Send(server, i, &last_number).ok());
      }
      EXPECT_EQ(GetModel(server).sequence(), kRequests * kEventsARequest);
      hash = ComputeHash(server).hash();
      server.Kill();
    };
    run(/*is_sync=*/false, /*is_first=*/true);
    if (is_started_again) run(/*is_sync=*/seed % 4 == 1, /*is_first=*/false);
    std::mt19937_64 random(seed);
    disk.LosePower(&random);
    ServerProcess server(Flags(folder / "data", /*is_sync=*/true, /*keeps_log=*/true));
    server.WaitUntilServing();
    if (HasFailure()) return;
    const int64_t there = GetModel(server).sequence();
    if (is_started_again) {
      EXPECT_EQ(there, kRequests * kEventsARequest);
      EXPECT_EQ(ComputeHash(server).hash(), hash);
    } else {
      took_acknowledged += there < kRequests * kEventsARequest;
    }
  }
  EXPECT_GT(took_acknowledged, 0);  // or it would be no power loss
}

// A power loss in place of an operation of a backup, or just after it.
class BackupPowerLossTest : public ::testing::Test {
 protected:
  // False if the backup has no `nth` operation of this kind.
  bool LoseAt(DiskOperation kind, int nth) {
    const TempFolder folder(TempFolder::Place::kMemory);
    const std::string backups = folder / "disk/backups";
    std::filesystem::create_directories(backups);
    std::vector<std::string> flags =
        Flags(folder / "disk/data", /*is_sync=*/true, /*keeps_log=*/false);
    flags.push_back("--backup_dir=" + backups);
    FaultyDisk disk(folder / "disk");
    std::vector<std::string> environment;
    disk.Prepare(&environment);
    std::string hash;
    bool is_made = false;
    {
      ServerProcess server(flags, environment);
      EXPECT_EQ(RunScript(server, /*must_live=*/true).acknowledged, kRequests);
      hash = ComputeHash(server).hash();
      disk.KillAt(kind, nth);
      v1::BackupRequest request;
      request.set_name("b");
      v1::BackupResponse response;
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + kPatience);
      const auto stub = v1::AdminService::NewStub(server.channel());
      is_made = stub->Backup(&context, request, &response).ok();
      if (disk.failed() == 0) server.Signal(SIGKILL);
      EXPECT_EQ(server.Wait().exit_code, -SIGKILL) << server.output();
    }
    EXPECT_TRUE(is_made || disk.failed() > 0);
    std::mt19937_64 random(static_cast<uint64_t>(nth));
    disk.LosePower(&random);
    const bool is_there = std::filesystem::exists(backups + "/b/IDENTITY");
    EXPECT_TRUE(is_there || !is_made) << "a backup was made, and is gone";
    ++(is_there ? whole_ : cut_off_);
    CheckHash(folder / "disk/data", hash);
    if (is_there) CheckHash(backups + "/b", hash);
    return disk.failed() > 0;
  }

  static void CheckHash(const std::string& data, const std::string& hash) {
    ServerProcess server(Flags(data, /*is_sync=*/true, /*keeps_log=*/false));
    server.WaitUntilServing();
    if (HasFailure()) return;
    EXPECT_EQ(ComputeHash(server).hash(), hash) << data;
  }

  int whole_ = 0, cut_off_ = 0;
};

TEST_F(BackupPowerLossTest, ABackupIsWholeOrNone) {
  if (!FaultyDisk::IsPossible()) GTEST_SKIP() << "nothing can be preloaded";
  for (int kind = 0; kind < kDiskChangeCount; ++kind) {
    // There are three new names, of which the last makes it a backup.
    const int step = kind == kDiskRename ? 1 : (every + 9) / 10;
    bool goes_on = true;
    for (int nth = 1; goes_on; nth += step) {
      SCOPED_TRACE(absl::StrCat(kDiskOperationNames[kind], " ", nth));
      goes_on = LoseAt(static_cast<DiskOperation>(kind), nth);
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(cut_off_, 0);
  std::printf("%d backups were whole, %d cut off\n", whole_, cut_off_);
}

}  // namespace
}  // namespace factord

int main(int argc, char** argv) { return factord::RunTestsOfEvery(argc, argv, &factord::every); }
