// Starting, stopping, backing up: what an operator does, with real processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/hash128.h"
#include "base/temp_folder.h"
#include "base/test_file.h"
#include "base/test_mount.h"
#include "engine/verify.h"
#include "tests/e2e/server_process.h"

namespace factord {
namespace {

using grpc::health::v1::HealthCheckResponse;
using ::testing::AllOf;
using ::testing::HasSubstr;

// `n` ratings by as many requests as it takes.
void RecordMany(const ServerProcess& server, int n) {
  constexpr int kEventsPerRequest = 10'000;
  for (int first = 0; first < n; first += kEventsPerRequest) {
    v1::RecordRatingsRequest request;
    for (int i = first; i < std::min(n, first + kEventsPerRequest); ++i) {
      SetRating("user " + std::to_string(i % 997), "item " + std::to_string(i % 1009),
                static_cast<float>(i % 11) / 2, request.add_events());
    }
    RecordRatings(server, request);
  }
}

HealthCheckResponse::ServingStatus HealthOf(const ServerProcess& server,
                                            const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(server.channel())->Check(&context, request, &response);
  EXPECT_TRUE(status.ok()) << service << ": " << status.error_message();
  return response.status();
}

TEST(LifeTest, SigtermDrainsAndARestartGoesOn) {
  TempFolder dir;
  const std::vector<std::string> flags = {"--data_dir=" + (dir / "data")};
  std::string hash;
  {
    ServerProcess server(flags);
    server.WaitUntilServing();
    for (const char* service :
         {"", "liveness", "factord.v1.RatingService", "factord.v1.RecommendationService",
          "factord.v1.ModelService", "factord.v1.AdminService"}) {
      EXPECT_EQ(HealthOf(server, service), HealthCheckResponse::SERVING) << service;
    }
    RecordMany(server, 1000);

    // An open stream gets its acknowledgement, then UNAVAILABLE.
    grpc::ClientContext context;
    auto stream = v1::RatingService::NewStub(server.channel())->StreamRatings(&context);
    v1::StreamRatingsRequest message;
    message.mutable_start()->set_producer_id("p");
    stream->Write(message);
    v1::StreamRatingsResponse response;
    ASSERT_TRUE(stream->Read(&response));
    message.mutable_batch()->set_first_number(1);
    SetRating("u", "i", 1, message.mutable_batch()->add_events());
    stream->Write(message);
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.ack().last_number(), 1);
    EXPECT_EQ(response.ack().last_sequence(), 1001);
    hash = ComputeHash(server).hash();

    server.Signal(SIGTERM);
    server.Signal(SIGTERM);  // no harm
    EXPECT_FALSE(stream->Read(&response));
    const grpc::Status end = stream->Finish();
    EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_THAT(end.error_message(), HasSubstr("draining"));
    const Ended ended = server.Wait();
    EXPECT_EQ(ended.exit_code, kExitOk);
    EXPECT_THAT(ended.output, HasSubstr("stopped cleanly"));
  }
  ServerProcess server(flags);
  server.WaitUntilServing();
  const v1::GetModelResponse model = GetModel(server);
  EXPECT_EQ(model.sequence(), 1001);
  EXPECT_EQ(model.snapshot_sequence(), 1001);  // the final one
  EXPECT_EQ(ComputeHash(server).hash(), hash);
  server.Signal(SIGINT);
  EXPECT_EQ(server.Wait().exit_code, kExitOk);
}

TEST(LifeTest, ADrainThatTakesTooLongIsCutOffAndLosesNothing) {
  TempFolder dir;
  const std::string data = "--data_dir=" + (dir / "data");
  {
    ServerProcess server({data, "--drain_timeout=1ms"});  // no snapshot is that fast
    server.WaitUntilServing();
    for (int i = 0; i < 10; ++i) RecordMany(server, 5000);
    server.Signal(SIGTERM);
    const Ended ended = server.Wait();
    EXPECT_EQ(ended.exit_code, kExitDrainTimeout);
    EXPECT_THAT(ended.output, HasSubstr("--drain_timeout"));
  }
  ServerProcess server({data});
  server.WaitUntilServing();
  EXPECT_EQ(GetModel(server).sequence(), 50'000);
}

// Symptom: exit code 5, and a long recovery, of a server whose last snapshot was held back so that
// it would not disturb the writes that it refused.
TEST(LifeTest, TheLastSnapshotIsNotHeldBack) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data"), "--snapshot_bytes_per_second=1KiB",
                        "--drain_timeout=1m"});  // by which time there would be 60 kB of it
  server.WaitUntilServing();
  RecordMany(server, 5000);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait().exit_code, kExitOk);
}

TEST(LifeTest, IsUnavailableWhileRecovering) {
  TempFolder dir;
  const std::vector<std::string> flags = {"--data_dir=" + (dir / "data"), "--durability=async",
                                          "--snapshot_interval=0", "--snapshot_log_bytes=0"};
  std::string hash;
  {
    ServerProcess server(flags);
    server.WaitUntilServing();
    RecordMany(server, 300'000);
    hash = ComputeHash(server).hash();
    server.Kill();  // so that all of the log is replayed
  }
  ServerProcess server(flags);
  const auto model = v1::ModelService::NewStub(server.channel());
  int unavailable = 0;
  grpc::Status status;
  do {
    const auto health = HealthOf(server, "factord.v1.RatingService");
    const auto liveness = HealthOf(server, "liveness");
    grpc::ClientContext context;
    v1::GetModelResponse response;
    status = model->GetModel(&context, {}, &response);
    EXPECT_EQ(liveness, HealthCheckResponse::SERVING);
    if (status.ok()) break;
    ASSERT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("recovering"));
    EXPECT_EQ(health, HealthCheckResponse::NOT_SERVING);
    ++unavailable;
  } while (unavailable < 1'000'000);
  EXPECT_GT(unavailable, 0);
  server.WaitUntilServing();
  EXPECT_EQ(GetModel(server).sequence(), 300'000);
  EXPECT_EQ(ComputeHash(server).hash(), hash);
}

// Ratings come in and are read while passes go on; a SIGKILL in the middle loses none of what was
// acknowledged, and the log alone gives the same model.
TEST(PassesTest, GoOnBesideLiveTrafficAndAreInTheLog) {
  TempFolder dir;
  const std::string data = dir / "data";
  const std::vector<std::string> flags = {"--data_dir=" + data, "--log_retention=all"};
  int64_t acknowledged = 0;
  {
    ServerProcess server(flags);
    server.WaitUntilServing();
    RecordMany(server, 20'000);
    const auto admin = v1::AdminService::NewStub(server.channel());
    v1::StartPassesRequest request;
    request.set_passes(100);
    {
      grpc::ClientContext context;
      v1::StartPassesResponse response;
      ASSERT_TRUE(admin->StartPasses(&context, request, &response).ok());
    }
    {
      grpc::ClientContext context;
      v1::StartPassesResponse response;
      EXPECT_EQ(admin->StartPasses(&context, request, &response).error_code(),
                grpc::StatusCode::FAILED_PRECONDITION);
    }
    v1::PassesProgress progress;
    while (progress.events_done() < 100'000) {
      v1::RecordRatingsRequest record;
      SetRating("live", absl::StrFormat("item %d", acknowledged % 50), 4, record.add_events());
      acknowledged = RecordRatings(server, record).last_sequence();
      grpc::ClientContext context;
      v1::GetPassesResponse response;
      ASSERT_TRUE(admin->GetPasses(&context, {}, &response).ok());
      progress = response.progress();
      ASSERT_EQ(progress.state(), v1::PassesProgress::STATE_RUNNING);
    }
    EXPECT_LT(progress.events_done(), progress.events_total());
    server.Kill();
  }
  ServerProcess server(flags);
  server.WaitUntilServing();
  EXPECT_GE(GetModel(server).sequence(), acknowledged);
  const std::string hash = ComputeHash(server).hash();
  EXPECT_EQ(server.Stop(), kExitOk);
  const absl::StatusOr<VerifyResult> verified = VerifyFolder(data);
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->hash.ToHex(), hash);
}

TEST(BackupTest, TakenWhileEventsStreamInStartsWithItsHash) {
  TempFolder dir;
  const std::string backups = dir / "backups";
  std::filesystem::create_directory(backups);
  ServerProcess server(
      {"--data_dir=" + (dir / "data"), "--durability=async", "--backup_dir=" + backups});
  server.WaitUntilServing();
  std::atomic<bool> stop{false};
  std::atomic<int64_t> acknowledged{0};
  std::thread writer([&] {
    grpc::ClientContext context;
    auto stream = v1::RatingService::NewStub(server.NewChannel())->StreamRatings(&context);
    v1::StreamRatingsRequest message;
    message.mutable_start()->set_producer_id("p");
    stream->Write(message);
    v1::StreamRatingsResponse response;
    EXPECT_TRUE(stream->Read(&response));
    for (int64_t number = 1; !stop; number += 10) {
      message.mutable_batch()->Clear();
      message.mutable_batch()->set_first_number(number);
      for (int i = 0; i < 10; ++i) {
        SetRating("user " + std::to_string(number % 101), "item " + std::to_string(i * 7), 3,
                  message.mutable_batch()->add_events());
        message.mutable_batch()->mutable_events(i)->set_event_id("e" + std::to_string(number + i));
      }
      EXPECT_TRUE(stream->Write(message));
      EXPECT_TRUE(stream->Read(&response));
      acknowledged = response.ack().last_sequence();
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  });
  const auto admin = v1::AdminService::NewStub(server.channel());
  std::vector<v1::BackupResponse> made;
  for (int i = 0; i < 3; ++i) {
    const int64_t before = acknowledged;
    while (acknowledged < before + 100) std::this_thread::yield();
    v1::BackupRequest request;
    request.set_name("b" + std::to_string(i));
    v1::BackupResponse response;
    grpc::ClientContext context;
    const grpc::Status status = admin->Backup(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_GE(response.sequence(), before + 100);
    made.push_back(response);
  }
  v1::BackupRequest again;
  again.set_name("b0");
  v1::BackupResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(admin->Backup(&context, again, &response).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  stop = true;
  writer.join();
  server.Kill();

  for (const v1::BackupResponse& backup : made) {
    EXPECT_EQ(std::filesystem::path(backup.path()).parent_path(), backups);
    ServerProcess restored({"--data_dir=" + backup.path()});
    restored.WaitUntilServing();
    const v1::ComputeHashResponse hash = ComputeHash(restored);
    EXPECT_EQ(hash.hash(), backup.hash());
    EXPECT_EQ(hash.sequence(), backup.sequence());
    RecordMany(restored, 10);  // it goes on
    EXPECT_EQ(GetModel(restored).sequence(), backup.sequence() + 10);
    EXPECT_EQ(restored.Stop(), kExitOk);
  }
}

// Symptom: every user of the machine could read the ratings, in the folder and in its backups.
TEST(BackupTest, NobodyElseCanReadTheFolderOrABackup) {
  TempFolder dir;
  const mode_t before = umask(022);
  ServerProcess server({"--data_dir=" + (dir / "data"), "--backup_dir=" + (dir / "backups")});
  umask(before);
  server.WaitUntilServing();
  RecordMany(server, 10);
  v1::BackupRequest request;
  request.set_name("b");
  v1::BackupResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(
      v1::AdminService::NewStub(server.channel())->Backup(&context, request, &response).ok());
  ASSERT_EQ(server.Stop(), kExitOk);
  namespace fs = std::filesystem;
  std::vector<std::string> readable;
  for (const char* folder : {"data", "backups"}) {
    std::vector<fs::path> paths = {dir / folder};
    for (const auto& entry : fs::recursive_directory_iterator(dir / folder)) {
      paths.push_back(entry.path());
    }
    EXPECT_GT(paths.size(), 5u);
    for (const fs::path& path : paths) {
      constexpr auto kOthers = fs::perms::group_all | fs::perms::others_all;
      if ((fs::status(path).permissions() & kOthers) != fs::perms::none) readable.push_back(path);
    }
  }
  EXPECT_THAT(readable, ::testing::IsEmpty());
}

TEST(BackupTest, NeedsABackupDirAndAPlainName) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  server.WaitUntilServing();
  const auto admin = v1::AdminService::NewStub(server.channel());
  for (const auto& [name, code] : std::vector<std::pair<std::string, grpc::StatusCode>>{
           {"b", grpc::StatusCode::FAILED_PRECONDITION},
           {"../b", grpc::StatusCode::INVALID_ARGUMENT},
           {"", grpc::StatusCode::INVALID_ARGUMENT}}) {
    v1::BackupRequest request;
    request.set_name(name);
    v1::BackupResponse response;
    grpc::ClientContext context;
    EXPECT_EQ(admin->Backup(&context, request, &response).error_code(), code) << name;
  }
}

// --- What a server refuses to start with
// -----------------------------------------------------------

// Starts a server that is expected to end by itself.
Ended Refused(const std::vector<std::string>& flags) {
  ServerProcess server(flags);
  return server.Wait();
}

TEST(RefusalTest, BadFlagsAreToldAllAtOnce) {
  TempFolder dir;
  const Ended ended = Refused(
      {"--data_dir=" + (dir / "data"), "--rank=x", "--no_such_flag=1", "--durability=perhaps"});
  EXPECT_EQ(ended.exit_code, kExitUsage);
  EXPECT_THAT(ended.output,
              AllOf(HasSubstr("--rank"), HasSubstr("--no_such_flag"), HasSubstr("--durability")));
  EXPECT_FALSE(std::filesystem::exists(dir / "data"));
}

TEST(RefusalTest, AnotherConfiguration) {
  TempFolder dir;
  std::string hash;
  const std::string data = "--data_dir=" + (dir / "data");
  {
    ServerProcess server({data, "--rank=8", "--max_rating=10"});
    server.WaitUntilServing();
    RecordMany(server, 10);
    hash = ComputeHash(server).hash();
    EXPECT_EQ(server.Stop(), kExitOk);
  }
  const Ended ended = Refused({data, "--rank=9", "--max_rating=10", "--epsilon=0.5"});
  EXPECT_EQ(ended.exit_code, kExitDataRefused);
  EXPECT_THAT(ended.output,
              AllOf(HasSubstr("rank is 8, not 9"), HasSubstr("epsilon is 0, not 0.5")));
  EXPECT_THAT(ended.output, ::testing::Not(HasSubstr("max_rating is")));
  {
    ServerProcess server({data, "--rank=8"});  // what is not given is the folder's
    server.WaitUntilServing();
    const v1::GetModelResponse model = GetModel(server);
    EXPECT_EQ(model.config().rank(), 8);
    EXPECT_EQ(model.config().max_rating(), 10);
    EXPECT_EQ(model.config().initial_rating(), 7);
    EXPECT_EQ(ComputeHash(server).hash(), hash);
  }
}

TEST(RefusalTest, AFolderInUse) {
  TempFolder dir;
  const std::string data = "--data_dir=" + (dir / "data");
  ServerProcess server({data});
  server.WaitUntilServing();
  const Ended ended = Refused({data});
  EXPECT_EQ(ended.exit_code, kExitDataRefused);
  EXPECT_THAT(ended.output, HasSubstr("in use"));
  RecordMany(server, 10);  // the first one is not disturbed
  EXPECT_EQ(server.Stop(), kExitOk);
}

TEST(RefusalTest, APortInUse) {
  TempFolder dir;
  ServerProcess server({"--data_dir=" + (dir / "data")});
  const Ended ended = Refused(
      {"--data_dir=" + (dir / "other"), "--listen=127.0.0.1:" + std::to_string(server.port())});
  EXPECT_EQ(ended.exit_code, kExitCannotListen);
  EXPECT_THAT(ended.output, HasSubstr("cannot listen on 127.0.0.1:"));
  EXPECT_FALSE(std::filesystem::exists(dir / "other"));
}

TEST(RefusalTest, AForeignFolder) {
  TempFolder dir;
  std::filesystem::create_directory(dir / "data");
  std::ofstream(dir / "data/letter.txt") << "mine";
  const Ended ended = Refused({"--data_dir=" + (dir / "data")});
  EXPECT_EQ(ended.exit_code, kExitDataRefused);
  EXPECT_THAT(ended.output, HasSubstr(dir / "data"));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir / "data")) {
    EXPECT_EQ(entry.path().filename(), "letter.txt");
    ++files;
  }
  EXPECT_EQ(files, 1);
}

TEST(RefusalTest, AnotherFormatVersionAndADamagedIdentity) {
  TempFolder dir;
  const std::string data = "--data_dir=" + (dir / "data");
  {
    ServerProcess server({data});
    server.WaitUntilServing();
    EXPECT_EQ(server.Stop(), kExitOk);
  }
  const std::string identity = ReadAll(dir / "data/IDENTITY");
  const auto others = [&] {  // all files but IDENTITY
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir / "data")) {
      if (!entry.is_regular_file() || entry.path().filename() == "IDENTITY") continue;
      files[entry.path()] = ReadAll(entry.path());
    }
    return files;
  };
  const auto before = others();
  const auto start_with = [&](const std::string& text) {
    std::ofstream(dir / "data/IDENTITY") << text;
    return Refused({data});
  };
  std::string newer = identity.substr(0, identity.find("checksum "));
  newer.replace(newer.find("format 1"), 8, "format 2");
  newer += absl::StrFormat("checksum %016x\n", HashBytes64(newer));
  Ended ended = start_with(newer);
  EXPECT_EQ(ended.exit_code, kExitDataRefused) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("has format version 2, this program reads format version 1"));

  std::string damaged = identity;
  damaged[damaged.find("rank=32") + 5] = '4';
  ended = start_with(damaged);
  EXPECT_EQ(ended.exit_code, kExitDataLoss) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("IDENTITY"));

  const auto after = others();
  EXPECT_EQ(after.size(), before.size());
  for (const auto& [file, content] : before) {
    EXPECT_TRUE(after.contains(file) && after.at(file) == content) << file << " was written to";
  }
  std::ofstream(dir / "data/IDENTITY") << identity;
  ServerProcess server({data});
  server.WaitUntilServing();
}

TEST(DiskTest, ANearlyFullOneRefusesWritesAndLosesNothing) {
  TempFolder dir;
  std::filesystem::create_directory(dir / "disk");
  const TestMount disk(dir / "disk", "size=64m");
  if (!disk.ok()) GTEST_SKIP() << "this process may not mount";
  const std::vector<std::string> flags = {"--data_dir=" + (dir / "disk/data"),
                                          "--min_free_bytes=30000000"};
  ServerProcess server(flags);
  server.WaitUntilServing();
  RecordMany(server, 100);
  {
    std::ofstream filler(dir / "disk/filler");
    filler << std::string(40 << 20, 'x');
  }
  const std::string hash = ComputeHash(server).hash();
  const auto ratings = v1::RatingService::NewStub(server.channel());
  v1::RecordRatingsRequest request;
  SetRating("u", "i", 1, request.add_events());
  const auto record = [&] {
    v1::RecordRatingsResponse response;
    grpc::ClientContext context;
    return ratings->RecordRatings(&context, request, &response);
  };
  // The free space is looked up now and then: some writes may still be taken.
  grpc::Status status;
  int64_t taken = 0;
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while ((status = record()).ok() && std::chrono::steady_clock::now() < until) ++taken;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("min_free_bytes"));
  EXPECT_EQ(GetModel(server).sequence(), 100 + taken);
  EXPECT_TRUE(GetModel(server).accepts_writes());  // not sticky
  EXPECT_EQ(HealthOf(server, "factord.v1.RatingService"), HealthCheckResponse::SERVING);
  if (taken == 0) {
    EXPECT_EQ(ComputeHash(server).hash(), hash);
  }
  std::filesystem::remove(dir / "disk/filler");
  while (!(status = record()).ok() && std::chrono::steady_clock::now() < until) {
    ASSERT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  }
  EXPECT_EQ(GetModel(server).sequence(), 101 + taken);
  EXPECT_EQ(server.Stop(), kExitOk);
}

TEST(DiskTest, AFullOneTakesWritesDownReadsGoOnAndARestartHasAllThatWasAcknowledged) {
  TempFolder dir;
  std::filesystem::create_directory(dir / "disk");
  const TestMount disk(dir / "disk", "size=24m");
  if (!disk.ok()) GTEST_SKIP() << "this process may not mount";
  const std::vector<std::string> flags = {"--data_dir=" + (dir / "disk/data"), "--min_free_bytes=0",
                                          "--snapshot_interval=0", "--snapshot_log_bytes=0"};
  int64_t acknowledged = 0;
  {
    ServerProcess server(flags);
    server.WaitUntilServing();
    const auto ratings = v1::RatingService::NewStub(server.channel());
    grpc::Status status;
    for (int i = 0; i < 10'000 && status.ok(); ++i) {
      v1::RecordRatingsRequest request;
      for (int k = 0; k < 1000; ++k) {
        SetRating("user " + std::to_string(k), "item " + std::string(200, 'a' + k % 26), 3,
                  request.add_events());
        request.mutable_events(k)->set_recommendation_id(std::string(64, 'r'));
      }
      v1::RecordRatingsResponse response;
      grpc::ClientContext context;
      status = ratings->RecordRatings(&context, request, &response);
      if (status.ok()) acknowledged = response.last_sequence();
    }
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
    // Reads go on; health says which is which.
    EXPECT_EQ(GetModel(server).sequence(), acknowledged);
    EXPECT_FALSE(GetModel(server).accepts_writes());
    v1::RecommendItemsRequest read;
    read.set_user_id("user 1");
    v1::RecommendItemsResponse answer;
    grpc::ClientContext context;
    EXPECT_TRUE(v1::RecommendationService::NewStub(server.channel())
                    ->RecommendItems(&context, read, &answer)
                    .ok());
    grpc::ClientContext watch_context;
    grpc::health::v1::HealthCheckRequest watch_request;
    watch_request.set_service("factord.v1.RatingService");
    auto watch =
        grpc::health::v1::Health::NewStub(server.channel())->Watch(&watch_context, watch_request);
    HealthCheckResponse health;
    do {
      ASSERT_TRUE(watch->Read(&health));
    } while (health.status() != HealthCheckResponse::NOT_SERVING);
    watch_context.TryCancel();
    EXPECT_EQ(HealthOf(server, ""), HealthCheckResponse::SERVING);
    server.Kill();
  }
  // With more room, everything acknowledged is there.
  ASSERT_GT(acknowledged, 0);
  ASSERT_EQ(mount("tmpfs", (dir / "disk").c_str(), "tmpfs", MS_REMOUNT, "size=256m"), 0);
  ServerProcess server(flags);
  server.WaitUntilServing();
  EXPECT_GE(GetModel(server).sequence(), acknowledged);
  EXPECT_LE(GetModel(server).sequence(), acknowledged + 1000);  // the one of unknown outcome
  EXPECT_TRUE(GetModel(server).accepts_writes());
}

TEST(DiskTest, AReadOnlyOneIsRefused) {
  TempFolder dir;
  std::filesystem::create_directory(dir / "disk");
  const TestMount disk(dir / "disk", "size=64m");
  if (!disk.ok()) GTEST_SKIP() << "this process may not mount";
  const std::string data = "--data_dir=" + (dir / "disk/data");
  {
    ServerProcess server({data});
    server.WaitUntilServing();
    RecordMany(server, 10);
    EXPECT_EQ(server.Stop(), kExitOk);
  }
  ASSERT_TRUE(disk.Remount(MS_RDONLY));
  for (const std::string& flag : {data, "--data_dir=" + (dir / "disk/new")}) {
    const Ended ended = Refused({flag});
    EXPECT_EQ(ended.exit_code, kExitDataRefused) << ended.output;
    EXPECT_THAT(ended.output, HasSubstr("ead-only"));
  }
}

}  // namespace
}  // namespace factord
