#include "server/rating_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <thread>

#include "server/test_util.h"

namespace factord {
namespace {

using ::testing::HasSubstr;

class RatingServiceTest : public ::testing::Test {
 protected:
  RatingServiceTest() { server_.WaitUntilServing(); }

  grpc::Status Record() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    response_.Clear();
    return server_.ratings()->RecordRatings(&context, request_, &response_);
  }

  TestServer server_;
  v1::RecordRatingsRequest request_;
  v1::RecordRatingsResponse response_;
};

TEST_F(RatingServiceTest, HandsEventsOverAsTheyAre) {
  server_.engine().HoldRequests();
  v1::Rating* rating = request_.add_events();
  SetRating("user", "item", 3.5f, rating);
  rating->set_event_id("event");
  rating->set_recommendation_id("recommendation");
  rating->mutable_event_time()->set_seconds(-2);
  rating->mutable_event_time()->set_nanos(1'500'999);
  SetRating("user 2", "item 2", 0, request_.add_events());
  std::thread client([&] { EXPECT_TRUE(Record().ok()); });
  server_.engine().WaitForRequests(1);
  const std::vector<Event> events = server_.engine().events(0);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].user_id, "user");
  EXPECT_EQ(events[0].item_id, "item");
  EXPECT_EQ(events[0].rating, 3.5f);
  EXPECT_EQ(events[0].event_id, "event");
  EXPECT_EQ(events[0].recommendation_id, "recommendation");
  EXPECT_EQ(events[0].producer_id, "");
  EXPECT_EQ(events[0].time_micros, -2'000'000 + 1'500);
  EXPECT_FALSE(events[0].time_is_servers);
  EXPECT_EQ(events[1].user_id, "user 2");
  EXPECT_EQ(events[1].rating, 0);
  EXPECT_TRUE(events[1].time_is_servers);
  server_.engine().Complete(0);
  client.join();
  EXPECT_EQ(response_.last_sequence(), 2);
  ASSERT_EQ(response_.results_size(), 2);
  EXPECT_EQ(response_.results(0).outcome(), v1::RatingResult::OUTCOME_APPLIED);
  EXPECT_EQ(response_.results(0).sequence(), 1);
  EXPECT_EQ(response_.results(1).sequence(), 2);
}

TEST_F(RatingServiceTest, ABadEventRefusesTheRequest) {
  SetRating("u", "i", 1, request_.add_events());
  SetRating("u", "i", std::nanf(""), request_.add_events());
  const grpc::Status status = Record();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "events[1].rating: must be a finite float, 0 to 5");
  EXPECT_EQ(server_.engine().requests(), 0u);
}

TEST_F(RatingServiceTest, PartialRequestsApplyTheGoodEventsInOrder) {
  SetRating("u", "1", 1, request_.add_events());
  SetRating("u", "2", 7, request_.add_events());
  SetRating("", "3", std::nanf(""), request_.add_events());
  SetRating("u", "4", 2, request_.add_events());
  request_.set_allow_partial(true);
  ASSERT_TRUE(Record().ok());
  ASSERT_EQ(response_.results_size(), 4);
  EXPECT_EQ(response_.results(0).outcome(), v1::RatingResult::OUTCOME_APPLIED);
  EXPECT_EQ(response_.results(1).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_EQ(response_.results(1).reason(), "rating: must be 0 to 5");
  EXPECT_EQ(response_.results(1).code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(response_.results(2).reason(),
            "user_id: must have 1 to 256 bytes, has 0; rating: must be a finite float, 0 to 5");
  EXPECT_EQ(response_.results(3).outcome(), v1::RatingResult::OUTCOME_APPLIED);
  EXPECT_EQ(response_.results(3).sequence(), 2);
  EXPECT_EQ(response_.last_sequence(), 2);
}

TEST_F(RatingServiceTest, APartialRequestMayBeAllBad) {
  request_.add_events();
  request_.set_allow_partial(true);
  ASSERT_TRUE(Record().ok());
  ASSERT_EQ(response_.results_size(), 1);
  EXPECT_EQ(response_.results(0).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_EQ(response_.last_sequence(), 0);
  EXPECT_EQ(server_.engine().requests(), 0u);
}

TEST_F(RatingServiceTest, TellsDuplicatesAndConflicts) {
  server_.engine().HoldRequests();
  for (const char* item : {"1", "2", "3"}) SetRating("u", item, 1, request_.add_events());
  request_.mutable_events(0)->clear_user_id();  // rejected here: places must not shift
  request_.set_allow_partial(true);
  std::thread client([&] { EXPECT_TRUE(Record().ok()); });
  server_.engine().WaitForRequests(1);
  EXPECT_EQ(server_.engine().events(0).size(), 2u);
  server_.engine().Complete(0, RecordResult{absl::OkStatus(),
                                            41,
                                            {{EventResult::Outcome::kDuplicate, 41},
                                             {EventResult::Outcome::kConflict, 0}}});
  client.join();
  EXPECT_EQ(response_.results(0).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_EQ(response_.results(1).outcome(), v1::RatingResult::OUTCOME_DUPLICATE);
  EXPECT_EQ(response_.results(1).sequence(), 41);
  EXPECT_EQ(response_.results(2).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_THAT(response_.results(2).reason(), HasSubstr("event_id: "));
  EXPECT_EQ(response_.results(2).code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(response_.last_sequence(), 41);
}

TEST_F(RatingServiceTest, AnEventBeyondALimitIsRejectedWithTheReason) {
  server_.engine().HoldRequests();
  SetRating("u", "i", 1, request_.add_events());
  SetRating("new", "i", 1, request_.add_events());
  request_.set_allow_partial(true);
  std::thread client([&] { EXPECT_TRUE(Record().ok()); });
  server_.engine().WaitForRequests(1);
  server_.engine().Complete(0, RecordResult{absl::OkStatus(),
                                            41,
                                            {{EventResult::Outcome::kApplied, 41},
                                             {EventResult::Outcome::kRefused, 0, "user_id: no"}}});
  client.join();
  EXPECT_EQ(response_.results(0).outcome(), v1::RatingResult::OUTCOME_APPLIED);
  EXPECT_EQ(response_.results(1).outcome(), v1::RatingResult::OUTCOME_REJECTED);
  EXPECT_EQ(response_.results(1).reason(), "user_id: no");
  EXPECT_EQ(response_.results(1).code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(RatingServiceTest, PassesTheEnginesErrorsOn) {
  SetRating("u", "i", 1, request_.add_events());
  for (const auto code : {absl::StatusCode::kAlreadyExists, absl::StatusCode::kResourceExhausted,
                          absl::StatusCode::kFailedPrecondition, absl::StatusCode::kUnavailable}) {
    server_.engine().Refuse(absl::Status(code, "why"));
    const grpc::Status status = Record();
    EXPECT_EQ(static_cast<int>(status.error_code()), static_cast<int>(code));
    EXPECT_EQ(status.error_message(), "why");
  }
}

TEST_F(RatingServiceTest, KnowsOneModel) {
  SetRating("u", "i", 1, request_.add_events());
  request_.set_model("default");
  EXPECT_TRUE(Record().ok());
  request_.set_model("other");
  const grpc::Status status = Record();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "model: there is none called \"other\"");
}

TEST_F(RatingServiceTest, ACancelledCallDoesNotDisturbTheEngine) {
  server_.engine().HoldRequests();
  SetRating("user", "item", 1, request_.add_events());
  grpc::ClientContext context;
  std::thread client([&] {
    v1::RecordRatingsResponse response;
    EXPECT_EQ(server_.ratings()->RecordRatings(&context, request_, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  server_.engine().WaitForRequests(1);
  context.TryCancel();
  client.join();
  EXPECT_EQ(server_.engine().events(0)[0].user_id, "user");  // still there
  server_.engine().Complete(0);
}

TEST_F(RatingServiceTest, AMessageAboveTheLimitIsRefused) {
  SetRating(std::string(17 << 20, 'u'), "i", 1, request_.add_events());
  EXPECT_EQ(Record().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace factord
