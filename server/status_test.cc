#include "server/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(BadRequestTest, NamesEachFieldInMessageAndDetails) {
  const absl::Status status = BadRequest({{"events[3].rating", "must be finite"}, {"a", "b"}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "events[3].rating: must be finite; a: b");
  grpc::CallbackServerContext context;
  const grpc::Status wire = ToGrpc(&context, status);
  EXPECT_EQ(wire.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(wire.error_message(), status.message());

  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(wire.error_details()));
  EXPECT_EQ(details.code(), 3);
  EXPECT_EQ(details.message(), status.message());
  ASSERT_EQ(details.details_size(), 1);
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  ASSERT_EQ(bad_request.field_violations_size(), 2);
  EXPECT_EQ(bad_request.field_violations(0).field(), "events[3].rating");
  EXPECT_EQ(bad_request.field_violations(0).description(), "must be finite");
  EXPECT_EQ(bad_request.field_violations(1).field(), "a");
}

// A model's name of a megabyte came back as metadata, which no client accepts.
TEST(ToGrpcTest, CutsALongMessageBetweenTwoCharacters) {
  grpc::CallbackServerContext context;
  std::string umlauts = "x";
  for (int i = 0; i < 3'000; ++i) umlauts += "ü";
  const std::string message = ToGrpc(&context, absl::NotFoundError(umlauts)).error_message();
  EXPECT_THAT(message, EndsWith("ü..."));
  EXPECT_LE(message.size(), 2'003u);
  EXPECT_EQ(ToGrpc(&context, absl::NotFoundError("short")).error_message(), "short");
}

TEST(BadRequestTest, CutsALongListAndSaysSo) {
  Violations violations;
  for (int i = 0; i < 10'000; ++i) {
    violations.push_back({absl::StrCat("events[", i, "].rating"), "must be finite"});
  }
  const absl::Status status = BadRequest(violations);
  EXPECT_LT(status.message().size(), 1'100u);
  EXPECT_THAT(std::string(status.message()), EndsWith(" more"));
  grpc::CallbackServerContext context;
  EXPECT_LT(ToGrpc(&context, status).error_details().size(), 4'500u);
}

TEST(ToGrpcTest, KeepsCodesAndMessages) {
  for (int code = 0; code <= 16; ++code) {
    grpc::CallbackServerContext context;
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const grpc::Status wire = ToGrpc(&context, status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    EXPECT_EQ(wire.error_message(), code == 0 ? "" : "why");
    EXPECT_EQ(wire.error_details(), "");
  }
}

// The rest goes over the wire, where metadata has its limits.

TEST(StatusOverTheWireTest, ALongListArrives) {
  TestServer server(
      [](ServerOptions* options) { options->limits.max_events_per_request = 10'000; });
  server.WaitUntilServing();
  v1::RecordRatingsRequest request;
  for (int i = 0; i < 10'000; ++i) request.add_events();
  grpc::ClientContext context;
  v1::RecordRatingsResponse response;
  const grpc::Status status = server.ratings()->RecordRatings(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("events[0].user_id: must have 1 to 256 bytes"));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::BadRequest bad_request;
  ASSERT_TRUE(details.details(0).UnpackTo(&bad_request));
  EXPECT_GT(bad_request.field_violations_size(), 20);
}

TEST(StatusOverTheWireTest, OverloadPushesBack) {
  TestServer server;
  server.WaitUntilServing();
  const auto pushback = [&server](const absl::Status& refusal) {
    server.engine().Refuse(refusal);
    v1::RecordRatingsRequest request;
    SetRating("u", "i", 1, request.add_events());
    grpc::ClientContext context;
    v1::RecordRatingsResponse response;
    const grpc::Status status = server.ratings()->RecordRatings(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "full");
    const auto found = context.GetServerTrailingMetadata().find("grpc-retry-pushback-ms");
    return found == context.GetServerTrailingMetadata().end()
               ? ""
               : std::string(found->second.data(), found->second.size());
  };
  EXPECT_EQ(pushback(RetryAfter(std::chrono::microseconds(99'001), "full")), "100");
  // What does not pass: a client would repeat in vain until its deadline.
  EXPECT_EQ(pushback(absl::ResourceExhaustedError("full")), "-1");
}

}  // namespace
}  // namespace factord
