#include "server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/test_socket.h"
#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::HasSubstr;

TEST(MetricsTest, AreServedByHttp) {
  TestServer server([](ServerOptions* options) { options->metrics_listen = "127.0.0.1:0"; });
  server.WaitUntilServing();
  const int port = server.server().metrics_port();
  const std::string answer = HttpGet(port, "/metrics");
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  EXPECT_THAT(answer, HasSubstr("\nfactord_serving{operation=\"writes\"} 1"));
  EXPECT_THAT(answer, HasSubstr("\nfactord_build_info{version=\""));
  EXPECT_THAT(HttpGet(port, "/"), HasSubstr("404"));
}

// Symptom: a few connections that ask for nothing kept Prometheus out for as long as they liked.
TEST(MetricsTest, AreServedBesideClientsThatDoNotFinishTheirRequest) {
  TestServer server([](ServerOptions* options) { options->metrics_listen = "127.0.0.1:0"; });
  server.WaitUntilServing();
  const int port = server.server().metrics_port();
  std::vector<std::unique_ptr<TestSocket>> half_open;
  for (int i = 0; i < 30; ++i) {
    half_open.push_back(std::make_unique<TestSocket>(port));
    half_open.back()->Send("GET /metr");
  }
  const absl::Time start = absl::Now();
  EXPECT_THAT(HttpGet(port, "/metrics"), HasSubstr("200 OK"));
  // What Prometheus waits for, deploy/ says.
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST(MetricsTest, APortInUseIsTold) {
  TestServer first([](ServerOptions* options) { options->metrics_listen = "127.0.0.1:0"; });
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "127.0.0.1:" + std::to_string(first.server().metrics_port());
  const auto second = Server::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(second.status().message(), "cannot listen on " + options.metrics_listen +
                                           ": Address already in use (--metrics_listen)");
}

TEST(MetricsTest, CountCallsByMethodAndCode) {
  TestServer server;
  server.WaitUntilServing();
  v1::RecordRatingsRequest request;
  SetRating("u", "i", 1, request.add_events());
  SetRating("u", "", 1, request.add_events());
  const auto record = [&](bool allow_partial) {
    request.set_allow_partial(allow_partial);
    grpc::ClientContext context;
    v1::RecordRatingsResponse response;
    return server.ratings()->RecordRatings(&context, request, &response).error_code();
  };
  EXPECT_EQ(record(true), grpc::StatusCode::OK);
  EXPECT_EQ(record(true), grpc::StatusCode::OK);
  EXPECT_EQ(record(false), grpc::StatusCode::INVALID_ARGUMENT);
  const auto calls = [&](const std::string& code) {
    return server.Metric(
        "factord_rpc_duration_seconds_count{service=\"factord.v1.RatingService\",method="
        "\"RecordRatings\",code=\"" +
        code + "\"}");
  };
  EXPECT_EQ(calls("OK"), "2");
  EXPECT_EQ(calls("INVALID_ARGUMENT"), "1");
  EXPECT_EQ(calls("UNAVAILABLE"), "");
  EXPECT_EQ(server.Metric("factord_events_total{outcome=\"rejected\"}"), "2");
}

TEST(MetricsTest, WritesGoDownAlone) {
  TestServer server;
  server.WaitUntilServing();
  server.engine().SetWriteHealth(absl::UnavailableError("the disk"));
  server.WaitFor("factord.v1.RatingService", grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(server.Metric("factord_serving{operation=\"reads\"}"), "1");
  EXPECT_EQ(server.Metric("factord_serving{operation=\"writes\"}"), "0");
}

}  // namespace
}  // namespace factord
