#include "server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/temp_folder.h"
#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::HasSubstr;
using HealthStatus = grpc::health::v1::HealthCheckResponse::ServingStatus;
using grpc::health::v1::HealthCheckResponse;

constexpr char kReads[] = "factord.v1.RecommendationService";
constexpr char kWrites[] = "factord.v1.RatingService";

grpc::Status CheckHealth(const TestServer& server, const std::string& service,
                         HealthStatus* status) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  grpc::ClientContext context;
  const grpc::Status code =
      grpc::health::v1::Health::NewStub(server.channel())->Check(&context, request, &response);
  *status = response.status();
  return code;
}

HealthStatus HealthOf(const TestServer& server, const std::string& service) {
  HealthStatus status = HealthCheckResponse::UNKNOWN;
  EXPECT_TRUE(CheckHealth(server, service, &status).ok()) << service;
  return status;
}

// Calls every RPC, and returns the codes.
std::vector<grpc::StatusCode> CallEverything(const TestServer& server) {
  std::vector<grpc::StatusCode> codes;
  const auto call = [&](auto* stub, auto method, auto request, auto response) {
    grpc::ClientContext context;
    codes.push_back((stub->*method)(&context, request, &response).error_code());
  };
  v1::RecordRatingsRequest record;
  SetRating("u", "i", 1, record.add_events());
  v1::RecommendItemsRequest recommend;
  recommend.set_user_id("u");
  v1::PredictRatingsRequest predict;
  predict.add_pairs()->set_user_id("u");
  predict.mutable_pairs(0)->set_item_id("i");
  v1::GetFactorsRequest factors;
  factors.set_side(v1::GetFactorsRequest::SIDE_USERS);
  v1::BackupRequest backup;
  backup.set_name("b");
  const auto ratings = server.ratings();
  const auto recommendations = server.recommendations();
  const auto model = server.model();
  const auto admin = server.admin();
  call(ratings.get(), &v1::RatingService::Stub::RecordRatings, record, v1::RecordRatingsResponse());
  call(recommendations.get(), &v1::RecommendationService::Stub::RecommendItems, recommend,
       v1::RecommendItemsResponse());
  call(recommendations.get(), &v1::RecommendationService::Stub::PredictRatings, predict,
       v1::PredictRatingsResponse());
  call(model.get(), &v1::ModelService::Stub::GetModel, v1::GetModelRequest(),
       v1::GetModelResponse());
  call(model.get(), &v1::ModelService::Stub::ListTopics, v1::ListTopicsRequest(),
       v1::ListTopicsResponse());
  call(model.get(), &v1::ModelService::Stub::GetFactors, factors, v1::GetFactorsResponse());
  call(admin.get(), &v1::AdminService::Stub::CreateSnapshot, v1::CreateSnapshotRequest(),
       v1::CreateSnapshotResponse());
  call(admin.get(), &v1::AdminService::Stub::ComputeHash, v1::ComputeHashRequest(),
       v1::ComputeHashResponse());
  call(admin.get(), &v1::AdminService::Stub::Backup, backup, v1::BackupResponse());
  v1::StartPassesRequest passes;
  passes.set_passes(2);
  call(admin.get(), &v1::AdminService::Stub::StartPasses, passes, v1::StartPassesResponse());
  call(admin.get(), &v1::AdminService::Stub::GetPasses, v1::GetPassesRequest(),
       v1::GetPassesResponse());
  call(admin.get(), &v1::AdminService::Stub::StopPasses, v1::StopPassesRequest(),
       v1::StopPassesResponse());
  {
    grpc::ClientContext context;
    auto stream = ratings->StreamRatings(&context);
    v1::StreamRatingsRequest start;
    start.mutable_start();
    stream->Write(start);
    stream->WritesDone();
    v1::StreamRatingsResponse response;
    while (stream->Read(&response)) {
    }
    codes.push_back(stream->Finish().error_code());
  }
  return codes;
}

TEST(ServerTest, ServesEverything) {
  TestServer server;
  server.WaitUntilServing();
  EXPECT_THAT(CallEverything(server), ::testing::Each(grpc::StatusCode::OK));
  for (const char* service :
       {"", kReads, kWrites, "factord.v1.ModelService", "factord.v1.AdminService", "liveness"}) {
    EXPECT_EQ(HealthOf(server, service), HealthCheckResponse::SERVING) << service;
  }
  EXPECT_EQ(server.Stop(), kExitOk);
}

TEST(ServerTest, IsUnavailableWhileItRecovers) {
  std::promise<void> recovered;
  TestServer server([&](ServerOptions* options) {
    options->open_engine = [&, open = options->open_engine] {
      recovered.get_future().wait();
      return open();
    };
  });
  EXPECT_THAT(CallEverything(server), ::testing::Each(grpc::StatusCode::UNAVAILABLE));
  for (const char* service :
       {"", kReads, kWrites, "factord.v1.ModelService", "factord.v1.AdminService"}) {
    EXPECT_EQ(HealthOf(server, service), HealthCheckResponse::NOT_SERVING) << service;
  }
  EXPECT_EQ(HealthOf(server, "liveness"), HealthCheckResponse::SERVING);
  // A watcher hears of the change.
  std::thread watcher([&] { server.WaitFor("", HealthCheckResponse::SERVING); });
  recovered.set_value();
  watcher.join();
}

TEST(ServerTest, StopsWhileItRecovers) {
  std::promise<void> recovered;
  std::atomic<bool> closed{false};
  TestServer server([&](ServerOptions* options) {
    options->open_engine = [&, open = options->open_engine] {
      recovered.get_future().wait();
      return open();
    };
  });
  server.engine().on_close = [&] {
    closed = true;
    return absl::OkStatus();
  };
  server.server().Stop();
  recovered.set_value();
  EXPECT_EQ(server.Join(), kExitOk);
  EXPECT_TRUE(closed);
}

TEST(ServerTest, AFolderThatCannotBeOpenedEndsTheServer) {
  const std::vector<std::pair<absl::StatusCode, ExitCode>> cases = {
      {absl::StatusCode::kFailedPrecondition, kExitDataRefused},
      {absl::StatusCode::kPermissionDenied, kExitDataRefused},
      {absl::StatusCode::kDataLoss, kExitDataLoss},
      {absl::StatusCode::kInvalidArgument, kExitUsage},
      {absl::StatusCode::kUnknown, kExitFailed}};
  for (const auto& [code, exit_code] : cases) {
    TestServer server([code = code](ServerOptions* options) {
      options->open_engine = [code] { return absl::Status(code, "why"); };
    });
    EXPECT_EQ(server.Join(), exit_code);
  }
}

TEST(ServerTest, TellsHowFarItHasRecovered) {
  std::promise<void> recovered;
  const auto progress = std::make_shared<RecoveryProgress>();
  TestServer server([&](ServerOptions* options) {
    options->recovery_progress = progress;
    options->open_engine = [&, open = options->open_engine] {
      recovered.get_future().wait();
      progress->Finish();
      return open();
    };
  });
  const std::string ratio = "factord_recovery_progress_ratio";
  EXPECT_EQ(server.Metric(ratio), "0");
  progress->Begin(8);
  EXPECT_EQ(server.Metric(ratio), "0");
  progress->Advance(2);
  EXPECT_EQ(server.Metric(ratio), "0.25");
  progress->Advance(4);
  EXPECT_EQ(server.Metric(ratio), "0.75");
  EXPECT_EQ(server.Metric("factord_recovery_duration_seconds"), "0");
  recovered.set_value();
  server.WaitUntilServing();
  EXPECT_EQ(server.Metric(ratio), "1");
  EXPECT_NE(server.Metric("factord_recovery_duration_seconds"), "0");
}

// It looks once a second, and sees what the test has prepared for each look.
TEST(ServerTest, WarnsOnceEachTimeThatMemoryComesNearItsLimit) {
  const std::vector<int64_t> used = {799, 800, 801, 900, 800, 990};
  std::atomic<size_t> looks{0};
  std::promise<void> seen;
  const auto look = [&] {
    const size_t number = looks++;
    if (number == used.size()) seen.set_value();
    EngineMetrics metrics;
    metrics.memory.users = used[std::min(number, used.size() - 1)];
    return metrics;
  };
  ::testing::internal::CaptureStderr();
  {
    TestServer server([&](ServerOptions* options) {
      options->engine_limits.memory_limit = 1000;
      options->open_engine = [&, open = options->open_engine] {
        auto engine = open();
        static_cast<FakeEngine&>(**engine).on_metrics = look;
        return engine;
      };
    });
    seen.get_future().wait();
  }
  const std::string log = ::testing::internal::GetCapturedStderr();
  std::vector<std::string> warnings;
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    const size_t start = line.find("warning memory comes near --memory_limit");
    if (start != absl::string_view::npos) warnings.push_back(std::string(line.substr(start)));
  }
  EXPECT_THAT(warnings, ::testing::ElementsAre(::testing::EndsWith(" bytes=801 limit=1000"),
                                               ::testing::EndsWith(" bytes=990 limit=1000")));
}

TEST(ServerTest, UnknownServicesHaveNoHealth) {
  TestServer server;
  HealthStatus status;
  EXPECT_EQ(CheckHealth(server, "other", &status).error_code(), grpc::StatusCode::NOT_FOUND);
  server.WaitFor("other", HealthCheckResponse::SERVICE_UNKNOWN);
}

TEST(ServerTest, AStoreThatFailedTakesWritesDownOnly) {
  TestServer server;
  server.WaitUntilServing();
  server.engine().SetWriteHealth(absl::UnavailableError("fsync failed"));
  server.WaitFor(kWrites, HealthCheckResponse::NOT_SERVING);
  for (const char* service : {"", kReads, "factord.v1.ModelService", "liveness"}) {
    EXPECT_EQ(HealthOf(server, service), HealthCheckResponse::SERVING) << service;
  }
}

TEST(ServerTest, DrainLetsRunningCallsEnd) {
  TestServer server;
  server.WaitUntilServing();
  std::atomic<bool> closed{false};
  server.engine().on_close = [&] {
    closed = true;
    return absl::OkStatus();
  };
  server.engine().HoldRequests();
  std::thread client([&] {
    v1::RecordRatingsRequest request;
    SetRating("u", "i", 1, request.add_events());
    v1::RecordRatingsResponse response;
    grpc::ClientContext context;
    const grpc::Status status = server.ratings()->RecordRatings(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  server.engine().WaitForRequests(1);
  std::promise<void> watching;
  std::thread watcher([&] {
    grpc::ClientContext context;
    auto reader = grpc::health::v1::Health::NewStub(server.NewChannel())->Watch(&context, {});
    HealthCheckResponse response;
    EXPECT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
    watching.set_value();
    EXPECT_TRUE(reader->Read(&response));
    EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
    EXPECT_FALSE(reader->Read(&response));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  });
  watching.get_future().wait();
  server.server().Stop();
  server.server().Stop();  // again is no harm
  watcher.join();
  EXPECT_FALSE(closed);  // not before the last call
  server.engine().Complete(0);
  client.join();
  EXPECT_EQ(server.Join(), kExitOk);
  EXPECT_TRUE(closed);
}

TEST(ServerTest, CallsAreUnavailableWhileItClosesTheEngine) {
  TestServer server;
  server.WaitUntilServing();
  std::promise<void> closing, go_on;
  server.engine().on_close = [&] {
    closing.set_value();
    go_on.get_future().wait();
    return absl::OkStatus();
  };
  server.server().Stop();
  closing.get_future().wait();
  EXPECT_THAT(CallEverything(server), ::testing::Each(grpc::StatusCode::UNAVAILABLE));
  go_on.set_value();
  EXPECT_EQ(server.Join(), kExitOk);
}

// A call whose search ends only when it is cancelled, and has begun.
std::thread SearchUntilCancelled(TestServer& server) {
  const auto scanning = std::make_shared<std::promise<void>>();
  server.engine().on_recommend =
      [scanning](const RecommendQuery& query) -> absl::StatusOr<Recommendation> {
    scanning->set_value();
    while (query.keep_going()) std::this_thread::yield();
    return absl::CancelledError("");
  };
  std::thread client([&server] {
    v1::RecommendItemsRequest request;
    request.set_user_id("u");
    v1::RecommendItemsResponse response;
    grpc::ClientContext context;
    EXPECT_FALSE(server.recommendations()->RecommendItems(&context, request, &response).ok());
  });
  scanning->get_future().wait();
  return client;
}

TEST(ServerTest, DrainCancelsWhatTakesTooLong) {
  TestServer server(
      [](ServerOptions* options) { options->drain_timeout = std::chrono::seconds(2); });
  server.WaitUntilServing();
  std::thread client = SearchUntilCancelled(server);
  server.server().Stop();
  client.join();
  EXPECT_EQ(server.Join(), kExitOk);
}

// Such a connection was neither served nor closed.
TEST(ServerTest, NobodyIsKeptWaitingByADrainThatTakesTooLong) {
  TestServer server(
      [](ServerOptions* options) { options->drain_timeout = std::chrono::seconds(4); });
  server.WaitUntilServing();
  std::promise<void> closing, go_on;
  server.engine().on_close = [&] {
    closing.set_value();
    go_on.get_future().wait();
    return absl::OkStatus();
  };
  std::thread client = SearchUntilCancelled(server);
  server.server().Stop();
  client.join();  // cancelled
  closing.get_future().wait();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1500));
  v1::GetModelResponse response;
  const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server.server().port()),
                                           grpc::InsecureChannelCredentials());
  EXPECT_EQ(v1::ModelService::NewStub(channel)->GetModel(&context, {}, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  go_on.set_value();
  EXPECT_EQ(server.Join(), kExitOk);
}

TEST(ServerTest, AFailedCloseIsTold) {
  TestServer server;
  server.WaitUntilServing();
  server.engine().on_close = [] { return absl::UnavailableError("the disk"); };
  EXPECT_EQ(server.Stop(), kExitFailed);
}

TEST(ServerTest, TwoServersCannotShareAPort) {
  TestServer first;
  ServerOptions options;
  options.listen = "127.0.0.1:" + std::to_string(first.server().port());
  const auto second = Server::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("cannot listen on " + options.listen));
}

TEST(ServerTest, WritesThePortFile) {
  const TempFolder folder;
  const std::string path = folder / "port";
  TestServer server([&](ServerOptions* options) { options->port_file = path; });
  std::ifstream file(path);
  int port = 0;
  file >> port;
  EXPECT_EQ(port, server.server().port());
}

}  // namespace
}  // namespace factord
