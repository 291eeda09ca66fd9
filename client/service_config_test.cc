// client/service_config.json, as a client of another language uses it: given to a bare channel.
#include <fstream>
#include <iterator>
#include <thread>

#include "client/event_ids.h"
#include "client/fake_server.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "gtest/gtest.h"

namespace factord {
namespace {

using ::testing::SizeIs;

class ServiceConfigTest : public testing::Test {
 protected:
  ServiceConfigTest() {
    std::ifstream in(FACTORD_SOURCE_DIR "/client/service_config.json");
    grpc::ChannelArguments arguments;
    arguments.SetServiceConfigJSON({std::istreambuf_iterator<char>(in), {}});
    channel_ =
        grpc::CreateCustomChannel(server_.target(), grpc::InsecureChannelCredentials(), arguments);
  }

  void FailFirst(int failures, grpc::StatusCode code = grpc::StatusCode::UNAVAILABLE) {
    auto left = std::make_shared<std::atomic<int>>(failures);
    server_.on_call = [left, code](const std::string&) {
      return left->fetch_sub(1) > 0 ? grpc::Status(code, "injected") : grpc::Status::OK;
    };
  }
  grpc::Status Record() {
    v1::RecordRatingsRequest request;
    request.add_events();
    StampEventIds(&ids_, &request);
    v1::RecordRatingsResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return v1::RatingService::NewStub(channel_)->RecordRatings(&context, request, &response);
  }

  FakeServer server_;
  EventIdSource ids_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(ServiceConfigTest, FiveAttempts) {
  for (const auto code : {grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    FailFirst(4, code);
    EXPECT_TRUE(Record().ok());
    FailFirst(5, code);
    EXPECT_EQ(Record().error_code(), code);
  }
  EXPECT_THAT(server_.calls(), SizeIs(20));
}

TEST_F(ServiceConfigTest, StopsRepeatingWhileMostCallsFail) {
  FailFirst(1'000'000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) threads.emplace_back([&] { (void)Record(); });
  for (std::thread& thread : threads) thread.join();
  const size_t before = server_.calls().size();
  EXPECT_LT(before, 100u);
  (void)Record();
  EXPECT_EQ(server_.calls().size(), before + 1);
}

TEST_F(ServiceConfigTest, WaitsForAServer) {
  server_.Stop();
  std::thread starter([&] { server_.Start(); });
  const grpc::Status status = Record();
  EXPECT_TRUE(status.ok()) << status.error_message();
  starter.join();
}

}  // namespace
}  // namespace factord
